import * as v from 'valibot'
import { crossCheck, shapeProblemsIn, unknownKeysIn, warningsFor } from './checks.ts'
import type { Config, ConfigFile } from './config.ts'
import {
  byPosition,
  finding,
  problemAt,
  substitute,
  type ConfigProblem,
  type Environment,
  type Finding,
  type Path,
  type Substituted,
} from './problem.ts'
import { configSchema } from './schema.ts'
import { readSource, type Source } from './source.ts'

/** A configuration that can be served, or everything that keeps it from being served, in the order of the file. */
type CheckedConfig =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] }
type ReadConfig = CheckedConfig & { readonly substituted?: Substituted }

/** What became of a configuration text; warnings stand in the order of the file too. */
export type LoadedConfig = CheckedConfig & { readonly warnings: readonly ConfigProblem[] }

/**
 * Reads and checks a configuration as `readConfig` does, and warns of what is allowed but not meant.
 * With `config.authToken === ''` the caller makes a token (start) or refuses (reload).
 */
export function loadConfig(text: string, env: Environment, fileName: string): LoadedConfig {
  const source = readSource(text)
  const { substituted, ...read } = readConfig(source, env, fileName)
  if (substituted === undefined) return { ...read, warnings: [] }
  const duplicates = source.duplicates.map(({ path, position }) => {
    const message = 'stands here a second time, the last one counts'
    return problemAt(fileName, position, finding(path, message, 'keep one of them'))
  })
  const { value, emptied } = substituted
  const odd = [
    ...unknownKeysIn(value),
    ...(read.ok ? warningsFor(value as ConfigFile, read.config, emptied) : []),
  ]
  return { ...read, warnings: byPosition([...duplicates, ...odd.map(locatorIn(source, fileName))]) }
}

/**
 * Reads and checks a configuration as a whole, and warns of nothing (`loadConfig` does). Pure, and never throws for what
 * the text contains. Problems repeat no value of it, nor one of `env`. `fileName` is for messages; `substituted` is
 * absent where the text can't be read as JSON.
 */
export function readConfig(source: Source, env: Environment, fileName: string): ReadConfig {
  if (source.syntaxErrors.length > 0) {
    const hint = 'the file is JSON; comments and trailing commas are allowed'
    const problems = source.syntaxErrors.map(({ position, message }) =>
      problemAt(fileName, position, finding([], message, hint)),
    )
    return { ok: false, problems }
  }
  const substituted = substitute(source.value, env)
  const { value: document, emptied } = substituted
  const { config, findings: unfit } = checkAgainstSchema(document)
  const findings = withoutConsequences([
    ...substituted.findings,
    ...(emptied.has('auth_token') ? [emptyToken] : []),
    ...shapeProblemsIn(document),
    ...unfit,
    ...crossCheck(document),
  ])
  if (config !== undefined && findings.length === 0) return { ok: true, config, substituted }
  return { ok: false, problems: byPosition(findings.map(locatorIn(source, fileName))), substituted }
}

const locatorIn = (source: Source, file: string) => (what: Finding) =>
  problemAt(file, source.positionOf(what.path), what)

/** A token would be made and written over the reference. */
const emptyTokenHint = 'set it, or write "" to have a token made'
const emptyToken = finding(['auth_token'], 'its environment variable is empty', emptyTokenHint)

/** One problem for each place: what is wrong inside something that is wrong itself only follows from it. */
function withoutConsequences(findings: readonly Finding[]): Finding[] {
  const kept: Finding[] = []
  for (const finding of findings)
    if (!kept.some(({ path }) => path.every((step, at) => finding.path[at] === step))) kept.push(finding)
  return kept
}

/** Checks a document against the schema, every rule of it, without ever repeating a value. */
export function checkAgainstSchema(document: unknown): { config?: Config; findings: Finding[] } {
  const result = v.safeParse(configSchema, document)
  return result.success
    ? { config: result.output, findings: [] }
    : { findings: result.issues.flatMap((issue) => findingsOf(issue)) }
}

function findingsOf(issue: v.BaseIssue<unknown>, above: Path = []): Finding[] {
  const steps = (issue.path ?? []).map(({ key }) => (typeof key === 'number' ? key : String(key)))
  const path = [...above, ...steps]
  // A list where a string or a list may stand: what is wrong in the list says more than "neither of them".
  const inside = issue.type === 'union' ? (issue.issues ?? []).filter((inner) => inner.path) : []
  if (inside.length > 0) return inside.flatMap((inner) => findingsOf(inner, path))
  const [message = '', hint = ''] = issue.message.split('\n')
  return [finding(path, message, hint)]
}
