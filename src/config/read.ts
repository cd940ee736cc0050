import type { Accepted } from './advice.ts'
import { checkAgainstSchema } from './check.ts'
import type { Config } from './config.ts'
import { crossCheck } from './cross-check.ts'
import { pathKey, substitute, type Environment, type Substituted } from './environment.ts'
import { misshapenIn } from './misshapen.ts'
import { configOf } from './normalise.ts'
import { inOrder, pathText, type ConfigProblem, type Finding } from './problem.ts'
import type { Source } from './source.ts'

/** A configuration that can be served, or everything that keeps it from being served. */
export type ReadConfig =
  | { readonly ok: true; readonly config: Config; readonly accepted: Accepted; readonly seen: SeenText }
  | {
      readonly ok: false
      readonly problems: readonly ConfigProblem[]
      /** Absent where the text can't be read as JSON. */
      readonly seen?: SeenText
    }

/** What a text was found to hold, for those who look at it further. */
export interface SeenText {
  /** Its value, references to variables replaced. */
  readonly document: unknown
  readonly duplicates: Source['duplicates']
  /** A finding with its place in the text. */
  readonly told: (finding: Finding) => ConfigProblem
}

/**
 * Reads and checks a configuration as a whole, and warns of nothing (`loadConfig` does). Pure, and never throws
 * for what the text contains. Problems stand in the order of the file and repeat no value of it, nor one of `env`.
 */
export function readConfig(source: Source, env: Environment, fileName: string): ReadConfig {
  if (source.syntaxErrors.length > 0) return { ok: false, problems: syntaxProblems(source, fileName) }

  const substituted = substitute(source.value, env)
  const document = substituted.value
  const seen = { document, duplicates: source.duplicates, told: teller(source, fileName) }
  const checked = checkAgainstSchema(document)
  const findings = withoutConsequences([
    ...substituted.findings,
    ...emptyToken(substituted),
    ...misshapenIn(document),
    ...('findings' in checked ? checked.findings : []),
    ...crossCheck(document),
  ])
  if (findings.length > 0 || 'findings' in checked)
    return { ok: false, problems: inOrder(findings.map(seen.told)), seen }

  const config = configOf(checked.file)
  return { ok: true, config, accepted: { file: checked.file, config, emptied: substituted.emptied }, seen }
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
