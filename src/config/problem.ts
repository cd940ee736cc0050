import { emptyBag } from '../lib/headers.ts'

/** Where in a document something stands: keys and list positions from the top. */
export type Path = readonly (string | number)[]

/** Line and column as editors count them, from 1; a column is a UTF-16 unit. */
export interface TextPosition {
  readonly line: number
  readonly column: number
}

/** One thing that is wrong with a document. Holds no value of it: any of them may be a secret. */
export interface Finding {
  readonly path: Path
  /** What is wrong. */
  readonly message: string
  /** What would be right. */
  readonly hint: string
}

export const finding = (path: Path, message: string, hint: string): Finding => ({ path, message, hint })

/** A finding and its place in a configuration file. */
export interface ConfigProblem extends TextPosition, Omit<Finding, 'path'> {
  readonly file: string
  /** JSON path such as `models[0].api_key`; empty for the file as a whole. */
  readonly path: string
}

export const problemAt = (file: string, position: TextPosition, what: Finding): ConfigProblem => ({
  file,
  ...position,
  ...what,
  path: pathText(what.path),
})

/** A problem of a file as a whole. */
export const fileProblem = (file: string, message: string, hint: string): ConfigProblem =>
  problemAt(file, { line: 1, column: 1 }, finding([], message, hint))

/** A JSON path as people write it: `models[0].headers["x-team"]`. One line whatever the keys contain. */
export const pathText = (path: Path): string =>
  path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`
    if (!/^[\w$]+$/.test(step)) return `${text}[${JSON.stringify(step)}]`
    return text === '' ? step : `${text}.${step}`
  }, '')

/** A problem as one line: `file:line:column: path: what is wrong; what would be right`. What has no lines has line 0. */
export const problemLine = ({ file, line, column, path, message, hint }: ConfigProblem): string =>
  `${file}${line === 0 ? '' : `:${line}:${column}`}: ${path === '' ? '' : `${path}: `}${message}; ${hint}`

/** `"a", "b" or "c"`. */
export const quoted = (options: readonly string[]): string => {
  const all = options.map((option) => JSON.stringify(option))
  return all.length < 2 ? all.join('') : `${all.slice(0, -1).join(', ')} or ${all.at(-1)}`
}

/** As they stand in the file. */
export const byPosition = (problems: readonly ConfigProblem[]): ConfigProblem[] =>
  problems.toSorted((a, b) => a.line - b.line || a.column - b.column)

/** The text without its byte order mark. */
export const withoutByteOrderMark = (text: string): string => text.replace(/^\uFEFF/, '')

/** Levels of a document. A configuration has five; some thousand would end the stack of those who walk through it. */
export const DEEPEST = 100

/** An object of a document; an empty one for anything else. */
export const recordOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : {}

/** Looks up places in one text, whose lines are found once, when the first is asked for. */
export function positionsIn(text: string): (offset: number) => TextPosition {
  let found: readonly number[] | undefined
  return (offset) => {
    const starts = (found ??= lineStartsIn(text))
    let [line, above] = [0, starts.length]
    while (above - line > 1) {
      const middle = (line + above) >> 1
      if ((starts[middle] ?? 0) <= offset) line = middle
      else above = middle
    }
    return { line: line + 1, column: offset - (starts[line] ?? 0) + 1 }
  }
}

const lineStartsIn = (text: string): number[] => [
  0,
  ...Array.from(text.matchAll(/\r\n|\r|\n/g), (end) => end.index + end[0].length),
]

/** What is wrong with the syntax at an offset: people who know YAML and shells write comments with `#`. */
export function syntaxMessage(text: string, offset: number, message: string): string {
  const lineStart = text.lastIndexOf('\n', offset - 1) + 1
  const isComment = text[offset] === '#' || /^\s*#/.test(text.slice(lineStart, offset + 1))
  return isComment ? '# begins no comment here: write // before a comment, or /* and */ around it' : message
}

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>

/** A value with its references replaced. */
export interface Substituted {
  readonly value: unknown
  /** References that can't be replaced: the variable is not set, or it is not a name. Their strings stay as written. */
  readonly findings: readonly Finding[]
  /** `pathText` of all strings that refer to a variable which is set but empty. */
  readonly emptied: Set<string>
  /** The first variable of each string that refers to some, by the string's `pathText`. */
  readonly variables: ReadonlyMap<string, string>
}

const reference = /\$\$\{|\$\{[^}]*\}?/g
const wellFormed = /^\$\{([A-Za-z_]\w*)\}$/

/**
 * Replaces `${NAME}` in every string of a document, list items included; `$${` is a literal `${`. What a
 * variable holds is taken as it is: not split, not read for further references. Keys are left alone.
 */
export function substitute(document: unknown, env: Environment): Substituted {
  const findings: Finding[] = []
  const emptied = new Set<string>()
  const variables = new Map<string, string>()

  const inString = (text: string, path: Path): string => {
    const before = findings.length
    const replaced = text.replaceAll(reference, (whole) => {
      if (whole === '$${') return '${'
      const name = wellFormed.exec(whole)?.[1]
      const value = name !== undefined && Object.hasOwn(env, name) ? env[name] : undefined
      if (value === '') emptied.add(pathText(path))
      if (value === undefined) findings.push(missingVariable(path, name))
      else if (name !== undefined && !variables.has(pathText(path))) variables.set(pathText(path), name)
      return value ?? whole
    })
    return findings.length === before ? replaced : text
  }
  const inValue = (value: unknown, path: Path): unknown => {
    if (typeof value === 'string') return inString(value, path)
    if (Array.isArray(value)) return value.map((item, at) => inValue(item, [...path, at]))
    if (typeof value !== 'object' || value === null) return value
    const object = emptyBag<unknown>()
    for (const [key, item] of Object.entries(value)) object[key] = inValue(item, [...path, key])
    return object
  }
  return { value: inValue(document, []), findings, emptied, variables }
}

/** What is no name may be a secret that was pasted in the wrong place, so only names are repeated. */
function missingVariable(path: Path, name: string | undefined): Finding {
  if (name !== undefined)
    return finding(path, `the environment variable ${name} is not set`, 'set it, or write the value here')
  const hint = 'write ${NAME} with letters, digits and _; a literal ${ is written $${'
  return finding(path, 'a ${…} that names no environment variable', hint)
}
