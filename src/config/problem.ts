import type { Place } from './place.ts'
import type { Path } from './source.ts'

/** One thing that is wrong with a configuration file. Holds no value of the file: any of them may be a secret. */
export interface ConfigProblem extends Place {
  readonly file: string
  /** JSON path such as `models[0].api_key`; empty for the file as a whole. */
  readonly path: string
  /** What is wrong. */
  readonly message: string
  /** What would be right. */
  readonly hint: string
}

/** A problem before its place in the text is looked up. */
export interface Finding {
  readonly path: Path
  readonly message: string
  readonly hint: string
}

/** A JSON path as people write it: `models[0].headers["x-team"]`. One line whatever the keys contain. */
export const pathText = (path: Path): string =>
  path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`
    if (!/^[\w$]+$/.test(step)) return `${text}[${JSON.stringify(step)}]`
    return text === '' ? step : `${text}.${step}`
  }, '')

/** A problem as one line: `file:line:column: path: what is wrong; what would be right`. */
export const problemLine = ({ file, line, column, path, message, hint }: ConfigProblem): string =>
  `${file}:${line}:${column}: ${path === '' ? '' : `${path}: `}${message}; ${hint}`

/** As they stand in the file. */
export const inOrder = (problems: readonly ConfigProblem[]): ConfigProblem[] =>
  problems.toSorted((a, b) => a.line - b.line || a.column - b.column)
