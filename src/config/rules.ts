import * as v from 'valibot'

/**
 * A message of the schema: what is wrong and, after a line break, what would be right. The values that
 * valibot would quote by itself may be secrets, so every rule brings its own words.
 */
export const message = (wrong: string, right: string): string => `${wrong}\n${right}`

/** A rule on a value that already has its type. */
export const check = <T>(holds: (value: T) => boolean, otherwise: string) =>
  v.check<T, string>(holds, otherwise)

export const booleanFlag = () =>
  v.boolean(message('must be true or false', 'write true or false without quotes'))

/** A string with something visible in it. */
export const nonEmptyText = (right: string) =>
  v.pipe(v.string(message('must be a string', right)), v.regex(/\S/, message('is empty', right)))

/** A string that is shown on one line and goes into headers, so without control characters. */
export const singleLineText = (right: string) =>
  v.pipe(
    nonEmptyText(right),
    // oxlint-disable-next-line no-control-regex
    v.regex(/^[^\u0000-\u001f\u007f]*$/, message('has a control character in it', right)),
  )

/** A list; `right` says what belongs into it. */
export const listOf = <Item extends v.GenericSchema>(item: Item, right: string) =>
  v.array(item, message('must be a list', right))

/**
 * A name or a list of names. Neither may transform its value: valibot tells what is wrong inside one of several
 * only while that one still has its type.
 */
export const oneOrMany = <One extends v.GenericSchema, Many extends v.GenericSchema>(
  one: One,
  many: Many,
  right: string,
) => v.union([one, many], message('must be a string or a list of strings', right))

export const oneOf = <const Options extends readonly string[]>(options: Options) =>
  v.picklist(options, message('is not a known value', `write one of ${quoted(options)}`))

export const wholeNumber = (from: number, to: number, right: string) => {
  const wrong = message(`must be a whole number ${range(from, to)}`, right)
  return v.pipe(v.number(wrong), v.integer(wrong), v.minValue(from, wrong), v.maxValue(to, wrong))
}

/** Longest duration of the configuration. A timer holds 2^31 − 1 ms, a bit more than 24 days. */
export const daySeconds = 86_400
export const weekSeconds = 7 * daySeconds

/** A duration in seconds that becomes ms. It is never 0: as a time-out that would be no time at all, or none. */
export const positiveSeconds = (to: number, example: number) => {
  const wrong = message(`must be a number of seconds above 0 and up to ${to}`, `write for example ${example}`)
  return v.pipe(v.number(wrong), v.gtValue(0, wrong), v.maxValue(to, wrong), v.transform(msOf))
}

/** A duration in seconds that becomes ms; it may be 0. */
export const seconds = (to: number, example: number) => {
  const wrong = message(`must be a number of seconds from 0 to ${to}`, `write for example ${example}`)
  return v.pipe(v.number(wrong), v.minValue(0, wrong), v.maxValue(to, wrong), v.transform(msOf))
}

/** Whole ms, so that what is not 0 never becomes 0. */
const msOf = (duration: number): number => Math.ceil(duration * 1000)

/** Each item once, where it stands first. */
export const unique = <T>(items: readonly T[]): readonly T[] => [...new Set(items)]

/** A key that may be missing: then `default` is read in its place, or, where there is none, it stays absent. */
export const optional = v.exactOptional

/** An entry of a `section` that the program knows by another name than the file. */
export const renamed = <const Name extends string, Schema extends v.GenericSchema>(
  nameInProgram: Name,
  schema: Schema,
): Schema & { readonly nameInProgram: Name } => ({ ...schema, nameInProgram })

/** An object of the file. `derive` makes of its values, named as the program names them, what the program sees. */
export const section = <const Entries extends v.ObjectEntries, Derived extends object>(
  entries: Entries,
  wrong: ReturnType<typeof objectMessage>,
  derive: (values: ProgramValues<Entries>) => Derived,
) =>
  v.pipe(
    v.object(entries, wrong),
    v.transform((values): Readonly<Derived> => derive(withProgramNames(entries, values))),
  )

type ProgramValues<Entries extends v.ObjectEntries> = WithProgramNames<
  Entries,
  v.InferOutput<v.ObjectSchema<Entries, undefined>>
>
type WithProgramNames<Entries, Values> = {
  readonly [
    Key in keyof Values as Key extends keyof Entries ? NameInProgram<Entries[Key], Key> : never
  ]: Values[Key]
}
type NameInProgram<Entry, Key> = Entry extends { readonly nameInProgram: infer Name extends string }
  ? Name
  : Key

function withProgramNames<Entries extends v.ObjectEntries, Values extends object>(
  entries: Entries,
  values: Values,
) {
  const named = Object.entries(values).map(([key, value]) => {
    const entry = entries[key]
    return [entry && 'nameInProgram' in entry ? entry.nameInProgram : key, value] as const
  })
  return Object.fromEntries(named) as WithProgramNames<Entries, Values>
}

/** The message of an object: for something that is no object, or for a key that it lacks. */
export const objectMessage =
  (right: string, rightByKey: Readonly<Record<string, string>> = {}) =>
  (issue: { readonly expected: string | null; readonly path?: unknown }): string => {
    const missing = Object.keys(rightByKey).find((key) => issue.expected === `"${key}"`)
    if (missing === undefined) return message('must be an object', right)
    return message('is missing', rightByKey[missing] ?? right)
  }

/** `"a", "b" or "c"`. */
export const quoted = (options: readonly string[]): string => {
  const all = options.map((option) => JSON.stringify(option))
  return all.length < 2 ? all.join('') : `${all.slice(0, -1).join(', ')} or ${all.at(-1)}`
}

const range = (from: number, to: number): string =>
  to === Number.MAX_SAFE_INTEGER ? `of at least ${from}` : `from ${from} to ${to}`

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
export const isTransportHeader = (name: string): boolean => transportHeaders.has(name.toLowerCase())

const transportHeaders: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Where an upstream is called. */
export interface BaseUrl {
  /** Scheme, host, port and path without `/chat/completions` and without a trailing slash. */
  readonly root: string
  /** Without `?`; absent where the URL has none. */
  readonly query?: string
}

/** Why a URL can't be used, in words that do not repeat it: it may hold credentials. */
interface UrlProblem {
  readonly message: string
  readonly hint: string
}

const example = 'write the root such as https://api.openai.com/v1, or the full address …/v1/chat/completions'

/**
 * Reads `models[].base_url` in either form that people write: the root of the API or the full address of
 * its chat endpoint, with or without trailing slashes. A query is kept, a fragment dropped.
 */
export function parseBaseUrl(text: string): BaseUrl | UrlProblem {
  const trimmed = text.trim()
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(trimmed)?.[1]?.toLowerCase()
  if (trimmed === '') return { message: 'is empty', hint: example }
  if (scheme === undefined) return { message: 'is not a URL with http:// or https://', hint: example }
  if (scheme !== 'http' && scheme !== 'https')
    return { message: 'has a scheme that is neither http nor https', hint: example }
  const url = parsedUrl(trimmed)
  if (url === undefined) return { message: 'is not a URL', hint: example }
  if (url.username !== '' || url.password !== '')
    return {
      message: 'has credentials in it',
      hint: 'put the key into api_key, other credentials into headers',
    }
  if (refusedPorts.has(url.port))
    return { message: 'has a port that fetch refuses to call', hint: 'let the server listen on another port' }
  const path = url.pathname
    .replace(/\/+$/, '')
    .replace(/\/chat\/completions$/i, '')
    .replace(/\/+$/, '')
  const query = url.search.slice(1)
  return { root: `${url.origin}${path}`, ...(query === '' ? {} : { query }) }
}

/** True for what can't be used. */
export const isUrlProblem = (url: BaseUrl | UrlProblem): url is UrlProblem => 'message' in url

// White space and control characters would be cut out or escaped silently by the URL parser.
const parsedUrl = (text: string): URL | undefined =>
  // oxlint-disable-next-line no-control-regex
  /[\s\u0000-\u001f\\]/.test(text) ? undefined : parseUrl(text)

/** Undefined for what is no URL. `URL.canParse` can't be asked: once Node 20 has optimised it, it denies non-ASCII hosts. */
export function parseUrl(text: string): URL | undefined {
  try {
    return new URL(text)
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
export function parseOrigin(text: string): string | undefined {
  const [whole, scheme] = /^([a-z][a-z0-9+.-]*):\/\/[^\s/?#@\\]+(?=\/?$)/i.exec(text) ?? []
  const url = whole === undefined ? undefined : parseUrl(whole)
  if (whole === undefined || scheme === undefined || url === undefined) return undefined
  return /^https?$/i.test(scheme) ? url.origin : whole.toLowerCase()
}
