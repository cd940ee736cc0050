import * as v from 'valibot'

/**
 * A message of the schema: what is wrong and, after a line break, what would be right. The values that
 * valibot would quote by itself may be secrets, so every rule brings its own words.
 */
export const told = (wrong: string, right: string): string => `${wrong}\n${right}`

/** A rule on a value that already has its type. */
export const must = <T>(holds: (value: T) => boolean, message: string) => v.check<T, string>(holds, message)

export const flag = () => v.boolean(told('must be true or false', 'write true or false without quotes'))

/** A string with something visible in it. */
export const words = (right: string) =>
  v.pipe(v.string(told('must be a string', right)), v.regex(/\S/, told('is empty', right)))

/** A string that is shown on one line and goes into headers, so without control characters. */
export const name = (right: string) =>
  v.pipe(
    words(right),
    // oxlint-disable-next-line no-control-regex
    v.regex(/^[^\u0000-\u001f\u007f]*$/, told('has a control character in it', right)),
  )

/** A list; `right` says what belongs into it. */
export const listOf = <Item extends v.GenericSchema>(item: Item, right: string) =>
  v.array(item, told('must be a list', right))

/** A name or a list of names. */
export const oneOrMany = <One extends v.GenericSchema, Many extends v.GenericSchema>(
  one: One,
  many: Many,
  right: string,
) => v.union([one, many], told('must be a string or a list of strings', right))

export const oneOf = <const Options extends readonly string[]>(options: Options) =>
  v.picklist(options, told('is not a known value', `write one of ${quoted(options)}`))

export const wholeNumber = (from: number, to: number, right: string) => {
  const message = told(`must be a whole number ${range(from, to)}`, right)
  return v.pipe(v.number(message), v.integer(message), v.minValue(from, message), v.maxValue(to, message))
}

/** Longest duration of the configuration. A timer holds 2^31 − 1 ms, a bit more than 24 days. */
export const daySeconds = 86_400
export const weekSeconds = 7 * daySeconds

/** A duration that is never 0: as a time-out that would be no time at all, or none. */
export const positiveSeconds = (to: number, right: string) => {
  const message = told(`must be a number of seconds above 0 and up to ${to}`, right)
  return v.pipe(v.number(message), v.gtValue(0, message), v.maxValue(to, message))
}

/** A duration that may be 0. */
export const seconds = (to: number, right: string) => {
  const message = told(`must be a number of seconds from 0 to ${to}`, right)
  return v.pipe(v.number(message), v.minValue(0, message), v.maxValue(to, message))
}

/** The message of an object: for something that is no object, or for a key that it lacks. */
export const objectMessage =
  (right: string, rightByKey: Readonly<Record<string, string>> = {}) =>
  (issue: { readonly expected: string | null; readonly path?: unknown }): string => {
    const missing = Object.keys(rightByKey).find((key) => issue.expected === `"${key}"`)
    if (missing === undefined) return told('must be an object', right)
    return told('is missing', rightByKey[missing] ?? right)
  }

/** `"a", "b" or "c"`. */
export const quoted = (options: readonly string[]): string => {
  const all = options.map((option) => JSON.stringify(option))
  return all.length < 2 ? all.join('') : `${all.slice(0, -1).join(', ')} or ${all.at(-1)}`
}

const range = (from: number, to: number): string =>
  to === Number.MAX_SAFE_INTEGER ? `of at least ${from}` : `from ${from} to ${to}`
