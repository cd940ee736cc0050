import * as v from 'valibot'
import { warningsFor, crossCheck, shapeProblemsIn, unknownKeysIn, type Accepted } from './checks.ts'
import type { Config, ConfigFile } from './config.ts'
import {
  byPosition,
  pathKey,
  pathText,
  substitute,
  type ConfigProblem,
  type Environment,
  type Finding,
  type Path,
  type Substituted,
} from './problem.ts'
import { configSchema } from './schema.ts'
import { readSource, type Source } from './source.ts'

/** What became of a configuration text: a whole configuration, or everything that is wrong with it. */
export type LoadedConfig =
  | { readonly ok: true; readonly config: Config; readonly warnings: readonly ConfigProblem[] }
  | {
      readonly ok: false
      readonly problems: readonly ConfigProblem[]
      readonly warnings: readonly ConfigProblem[]
    }

/**
 * Reads and checks a configuration as `readConfig` does, and warns of what is allowed but not meant. Warnings stand
 * in the order of the file too. With `config.authToken === ''` the caller makes a token (start) or refuses (reload).
 * `fileName` is for messages.
 */
export function loadConfig(text: string, env: Environment, fileName: string): LoadedConfig {
  const read = readConfig(readSource(text), env, fileName)
  const odd = read.parsedText ? oddKeys(read.parsedText, fileName) : []
  if (!read.ok) return { ok: false, problems: read.problems, warnings: byPosition(odd) }
  const unintended = warningsFor(read.accepted).map(read.parsedText.problemOf)
  return { ok: true, config: read.config, warnings: byPosition([...odd, ...unintended]) }
}

const oddKeys = ({ document, duplicates, problemOf }: ParsedText, file: string): ConfigProblem[] => [
  ...duplicates.map(({ path, position }) => ({
    file,
    ...position,
    path: pathText(path),
    message: 'stands here a second time, the last one counts',
    hint: 'keep one of them',
  })),
  ...unknownKeysIn(document).map(problemOf),
]

/** A configuration that can be served, or everything that keeps it from being served. */
type ReadConfig =
  | {
      readonly ok: true
      readonly config: Config
      readonly accepted: Accepted
      readonly parsedText: ParsedText
    }
  | {
      readonly ok: false
      readonly problems: readonly ConfigProblem[]
      /** Absent where the text can't be read as JSON. */
      readonly parsedText?: ParsedText
    }

/** What a text was found to hold, for those who look at it further. */
interface ParsedText {
  /** Its value, references to variables replaced. */
  readonly document: unknown
  readonly duplicates: Source['duplicates']
  /** A finding with its place in the text. */
  readonly problemOf: (finding: Finding) => ConfigProblem
}

/**
 * Reads and checks a configuration as a whole, and warns of nothing (`loadConfig` does). Pure, and never throws
 * for what the text contains. Problems stand in the order of the file and repeat no value of it, nor one of `env`.
 */
export function readConfig(source: Source, env: Environment, fileName: string): ReadConfig {
  if (source.syntaxErrors.length > 0) return { ok: false, problems: syntaxProblems(source, fileName) }

  const substituted = substitute(source.value, env)
  const document = substituted.value
  const parsedText = { document, duplicates: source.duplicates, problemOf: locator(source, fileName) }
  const checked = checkAgainstSchema(document)
  const findings = withoutConsequences([
    ...substituted.findings,
    ...emptyToken(substituted),
    ...shapeProblemsIn(document),
    ...('findings' in checked ? checked.findings : []),
    ...crossCheck(document),
  ])
  if (findings.length > 0 || 'findings' in checked)
    return { ok: false, problems: byPosition(findings.map(parsedText.problemOf)), parsedText }

  const { file, config } = checked
  return { ok: true, config, accepted: { file, config, emptied: substituted.emptied }, parsedText }
}

const locator =
  (source: Source, file: string) =>
  ({ path, message, hint }: Finding): ConfigProblem => ({
    file,
    ...source.positionOf(path),
    path: pathText(path),
    message,
    hint,
  })

const syntaxProblems = ({ syntaxErrors }: Source, file: string): ConfigProblem[] =>
  syntaxErrors.map(({ position, message }) => ({
    file,
    ...position,
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

/** A document that fits the schema and what it means, or all that does not fit. */
type Checked =
  | { readonly file: ConfigFile; readonly config: Config }
  | { readonly findings: readonly Finding[] }

/** Checks a document against the schema, every rule of it, without ever repeating a value. */
export function checkAgainstSchema(document: unknown): Checked {
  const result = v.safeParse(configSchema, document)
  return result.success
    ? { file: document as ConfigFile, config: result.output }
    : { findings: result.issues.flatMap((issue) => findingsOf(issue)) }
}

function findingsOf(issue: v.BaseIssue<unknown>, above: Path = []): Finding[] {
  const path = [...above, ...(issue.path ?? []).map(({ key }) => stepOf(key))]
  // A list where a string or a list may stand: what is wrong in the list says more than "neither of them".
  const inside = issue.type === 'union' ? (issue.issues ?? []).filter((inner) => inner.path) : []
  if (inside.length > 0) return inside.flatMap((inner) => findingsOf(inner, path))
  const [message = '', hint = ''] = issue.message.split('\n')
  return [{ path, message, hint }]
}

const stepOf = (key: unknown): string | number => (typeof key === 'number' ? key : String(key))
