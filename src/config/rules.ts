import * as v from 'valibot'
import { quoted, type Finding } from './problem.ts'

/**
 * A message of the schema: what is wrong and, after a line break, what would be right. The values that
 * valibot would quote by itself may be secrets, so every rule brings its own words.
 */
export const message = (wrong: string, right: string): string => `${wrong}\n${right}`

/** A rule on a value that already has its type. */
export const check = <T>(holds: (value: T) => boolean, wrong: string, right: string) =>
  v.check<T, string>(holds, message(wrong, right))

export const booleanFlag = () =>
  v.boolean(message('must be true or false', 'write true or false without quotes'))

export const text = (right: string) => v.string(message('must be a string', right))

/** A string with something visible in it. */
export const nonEmptyText = (right: string) => v.pipe(text(right), v.regex(/\S/, message('is empty', right)))

// oxlint-disable-next-line no-control-regex
export const withoutControls = /^[^\u0000-\u001f\u007f]*$/

/** A string that is shown on one line and goes into headers, so without control characters. */
export const singleLineText = (right: string) =>
  v.pipe(nonEmptyText(right), v.regex(withoutControls, message('has a control character in it', right)))

/** A list; `right` says what belongs into it. */
export const listOf = <Item extends v.GenericSchema>(item: Item, right: string) =>
  v.array(item, message('must be a list', right))

/**
 * A name or a list of names; becomes a list. Neither may transform its value: valibot tells what is wrong inside one of
 * several only while that one still has its type.
 */
export const oneOrMany = (one: v.GenericSchema<string>, many: v.GenericSchema<string[]>, right: string) =>
  v.pipe(
    v.union([one, many], message('must be a string or a list of strings', right)),
    v.transform((written) => [written].flat()),
  )

export const oneOf = <const Options extends readonly string[]>(options: Options) =>
  v.picklist(options, message('is not a known value', `write one of ${quoted(options)}`))

export const wholeNumber = (right: string, from: number, to = Number.MAX_SAFE_INTEGER) => {
  const range = to === Number.MAX_SAFE_INTEGER ? `of at least ${from}` : `from ${from} to ${to}`
  const wrong = message(`must be a whole number ${range}`, right)
  return v.pipe(v.number(wrong), v.integer(wrong), v.minValue(from, wrong), v.maxValue(to, wrong))
}

/** Longest duration of the configuration. A timer holds 2^31 − 1 ms, a bit more than 24 days. */
const DAY_SECONDS = 86_400
export const WEEK_SECONDS = 7 * DAY_SECONDS

/** A duration in seconds that becomes ms. It is never 0: as a time-out that would be no time at all, or none. */
export const positiveSeconds = (example: number, to = DAY_SECONDS) => {
  const wrong = message(`must be a number of seconds above 0 and up to ${to}`, `write for example ${example}`)
  return v.pipe(v.number(wrong), v.gtValue(0, wrong), v.maxValue(to, wrong), v.transform(msOf))
}

/** A duration in seconds that becomes ms; it may be 0. */
export const seconds = (example: number) => {
  const wrong = message(
    `must be a number of seconds from 0 to ${DAY_SECONDS}`,
    `write for example ${example}`,
  )
  return v.pipe(v.number(wrong), v.minValue(0, wrong), v.maxValue(DAY_SECONDS, wrong), v.transform(msOf))
}

/** Whole ms, so that what is not 0 never becomes 0. */
const msOf = (duration: number): number => Math.ceil(duration * 1000)

/** Each item once, where it stands first. */
export const unique = <T>(items: readonly T[]): readonly T[] => [...new Set(items)]

/** A key that may be missing: then `default` is read in its place, or, where there is none, it stays absent. */
export const optional = v.exactOptional

/** An entry of a `section` whose name in the program is not just the one of the file in camelCase. */
export const renamed = <const Name extends string, Schema extends v.GenericSchema>(
  nameInProgram: Name,
  schema: Schema,
): Schema & { readonly nameInProgram: Name } => ({ ...schema, nameInProgram })

/** An object of the file. `derive` makes of its values, named as the program names them, what the program sees. */
export const section = <const Entries extends v.ObjectEntries, Derived extends object>(
  entries: Entries,
  wrong: ReturnType<typeof objectMessage>,
  derive: (values: ProgramValues<Entries>) => Derived,
) => {
  const names = new Map(Object.keys(entries).map((key) => [key, programName(key, entries[key])]))
  return v.pipe(
    v.object(entries, wrong),
    v.transform((values): Readonly<Derived> => {
      const named: Record<string, unknown> = {}
      for (const [key, value] of Object.entries(values)) named[names.get(key) ?? key] = value
      return derive(named as ProgramValues<Entries>)
    }),
  )
}

type ProgramValues<
  Entries extends v.ObjectEntries,
  Values = v.InferOutput<v.ObjectSchema<Entries, undefined>>,
> = {
  readonly [Key in keyof Values as ProgramName<Key, Entries>]: Values[Key]
}
type ProgramName<Key, Entries> = Key extends keyof Entries
  ? Entries[Key] extends { readonly nameInProgram: infer Name extends string }
    ? Name
    : CamelCase<Key>
  : never
type CamelCase<Key> = Key extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Key

const programName = (key: string, entry: object = {}): string =>
  'nameInProgram' in entry
    ? String(entry.nameInProgram)
    : key.replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase())

/** The message of an object: for something that is no object, or for a key that it lacks. */
export const objectMessage =
  (right: string, rightByKey: Readonly<Record<string, string>> = {}) =>
  ({ expected }: { readonly expected: string | null }): string => {
    const missing = Object.entries(rightByKey).find(([key]) => expected === `"${key}"`)
    return missing ? message('is missing', missing[1]) : message('must be an object', right)
  }

/**
 * What may stand in a request header. Names are tokens (RFC 9110 §5.6.2), values are visible Latin-1 with
 * blanks and tabs (§5.5): anything else makes a transport throw with the value in its message.
 */
export const headerName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
export const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/

/**
 * Names that belong to the connection or to the transport and are never configured: hop-by-hop fields
 * (RFC 9110 §7.6.1 and their historic kin), the framing, and `expect`, which fetch refuses.
 */
export const transportHeader =
  /^(?:connection|content-length|expect|host|keep-alive|proxy-(?:authenticate|authorization|connection)|te|trailer|transfer-encoding|upgrade)$/i

/** Where an upstream is called. */
export interface BaseUrl {
  /** Scheme, host, port and path without `/chat/completions` and without a trailing slash. */
  readonly root: string
  /** Without `?`; absent where the URL has none. */
  readonly query?: string
}

/** Why a URL can't be used, in words that do not repeat it: it may hold credentials. */
type UrlProblem = Pick<Finding, 'message' | 'hint'>

export const baseUrlHint =
  'write the root such as https://api.openai.com/v1, or the full address …/v1/chat/completions'

/**
 * Reads `models[].base_url` in either form that people write: the root of the API or the full address of
 * its chat endpoint, with or without trailing slashes. A query is kept, a fragment dropped.
 */
export function parseBaseUrl(written: string): BaseUrl | UrlProblem {
  const refused = (message: string, hint = baseUrlHint): UrlProblem => ({ message, hint })
  const trimmed = written.trim()
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(trimmed)?.[1]?.toLowerCase()
  if (trimmed === '') return refused('is empty')
  if (scheme === undefined) return refused('is not a URL with http:// or https://')
  if (scheme !== 'http' && scheme !== 'https') return refused('has a scheme that is neither http nor https')
  // White space and control characters would be cut out or escaped silently by the URL parser.
  // oxlint-disable-next-line no-control-regex
  const url = /[\s\u0000-\u001f\\]/.test(trimmed) ? undefined : parseUrl(trimmed)
  if (url === undefined) return refused('is not a URL')
  if (url.username !== '' || url.password !== '')
    return refused('has credentials in it', 'put the key into api_key, other credentials into headers')
  if (refusedPorts.has(url.port))
    return refused('has a port that fetch refuses to call', 'let the server listen on another port')
  const path = url.pathname.replace(/\/*(?:\/chat\/completions\/*)?$/i, '')
  return { root: url.origin + path, ...(url.search.length > 1 && { query: url.search.slice(1) }) }
}

/** True for what can't be used. */
export const isUrlProblem = (url: BaseUrl | UrlProblem): url is UrlProblem => 'message' in url

/** Undefined for what is no URL. `URL.canParse` can't be asked: once Node 20 has optimised it, it denies non-ASCII hosts. */
export function parseUrl(written: string): URL | undefined {
  try {
    return new URL(written)
  } catch {
    return undefined
  }
}

/** WHATWG Fetch, "bad port" (2.9 Port blocking). The default ports are an empty string here. */
const refusedPorts: ReadonlySet<string> = new Set(
  (
    '0 1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 ' +
    '123 135 137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 ' +
    '990 993 995 1719 1720 1723 2049 3659 4045 4190 5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080'
  ).split(' '),
)

/**
 * A browser origin as it stands in `Origin` (RFC 6454 §7), or undefined when the text is none. A trailing
 * slash and an upper-case host are put right. Schemes of apps and extensions (`tauri://localhost`) count.
 */
export function parseOrigin(written: string): string | undefined {
  const [whole = '', scheme = ''] = /^([a-z][a-z0-9+.-]*):\/\/[^\s/?#@\\]+(?=\/?$)/i.exec(written) ?? []
  const url = parseUrl(whole)
  return url && (/^https?$/i.test(scheme) ? url.origin : whole.toLowerCase())
}
