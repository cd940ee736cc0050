import { adviceOn } from './advice.ts'
import { checkAgainstSchema } from './check.ts'
import type { Config } from './config.ts'
import { crossCheck } from './cross-check.ts'
import { pathKey, substitute } from './environment.ts'
import type { Environment, Substituted } from './environment.ts'
import { configOf } from './normalise.ts'
import { pathText } from './problem.ts'
import type { ConfigProblem, Finding } from './problem.ts'
import { readSource } from './source.ts'
import type { Place, Source } from './source.ts'
import { structureOf } from './structure.ts'

/** What became of a configuration text: a whole configuration, or everything that is wrong with it. */
export type LoadedConfig =
  | { readonly ok: true; readonly config: Config; readonly warnings: readonly ConfigProblem[] }
  | {
      readonly ok: false
      readonly problems: readonly ConfigProblem[]
      readonly warnings: readonly ConfigProblem[]
    }

/**
 * Reads and checks a configuration as a whole. Pure, and never throws for what the text contains. Problems
 * and warnings stand in the order of the file and repeat no value of it, nor one of `env`. With
 * `config.authToken === ''` the caller makes a token (start) or refuses (reload). `fileName` is for messages.
 */
export function loadConfig(text: string, env: Environment, fileName: string): LoadedConfig {
  const source = readSource(text)
  const told = teller(source, fileName)
  if (source.syntaxErrors.length > 0)
    return { ok: false, problems: syntaxProblems(source, fileName), warnings: [] }

  const substituted = substitute(source.value, env)
  const document = substituted.value
  const structure = structureOf(document)
  const doubled = source.duplicates.map((duplicate) => doubledKey(duplicate, fileName))
  const unknown = structure.unknown.map(told)

  const checked = checkAgainstSchema(document)
  const findings = withoutConsequences([
    ...substituted.findings,
    ...emptyToken(substituted),
    ...structure.misshapen,
    ...('findings' in checked ? checked.findings : []),
    ...crossCheck(document),
  ])
  if (findings.length > 0 || 'findings' in checked)
    return { ok: false, problems: inOrder(findings.map(told)), warnings: inOrder([...doubled, ...unknown]) }

  const config = configOf(checked.file)
  const advice = adviceOn({ file: checked.file, config, emptied: substituted.emptied }).map(told)
  return { ok: true, config, warnings: inOrder([...doubled, ...unknown, ...advice]) }
}

const teller =
  (source: Source, file: string) =>
  ({ path, message, hint }: Finding): ConfigProblem => ({
    file,
    ...source.placeOf(path),
    path: pathText(path),
    message,
    hint,
  })

const syntaxProblems = ({ syntaxErrors }: Source, file: string): ConfigProblem[] =>
  syntaxErrors.map(({ place, message }) => ({
    file,
    ...place,
    path: '',
    message,
    hint: 'the file is JSON; comments and trailing commas are allowed',
  }))

const doubledKey = ({ path, place }: Source['duplicates'][number], file: string): ConfigProblem => ({
  file,
  ...place,
  path: pathText(path),
  message: 'stands here a second time, the last one counts',
  hint: 'keep one of them',
})

/** An empty variable would have a token made and written over the reference. */
function emptyToken({ emptied }: Substituted): Finding[] {
  const path = ['auth_token']
  if (!emptied.has(pathKey(path))) return []
  return [
    { path, message: 'its environment variable is empty', hint: 'set it, or write "" to have a token made' },
  ]
}

/** One problem for each place: what is wrong inside something that is wrong itself only follows from it. */
function withoutConsequences(findings: readonly Finding[]): Finding[] {
  const kept: Finding[] = []
  for (const finding of findings)
    if (!kept.some(({ path }) => path.every((step, at) => finding.path[at] === step))) kept.push(finding)
  return kept
}

const inOrder = (problems: readonly (ConfigProblem & Place)[]): ConfigProblem[] =>
  problems.toSorted((a, b) => a.line - b.line || a.column - b.column)
