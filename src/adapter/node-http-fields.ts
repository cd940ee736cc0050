import { emptyBag } from '../lib/headers.ts'

/** RFC 9110 §5.6.2 and §5.5. */
export const IS_TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const IS_FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
/** Anything but field values and the ends of their lines. */
export const HAS_JUNK = /[^\t\r\n\x20-\x7e\x80-\xff]|\r(?!\n)|(?<!\r)\n/
/** A `content-length` (RFC 9110 §8.6): digits alone, and no more than a number can hold. */
export const IS_LENGTH = /^\d{1,15}$/
/** Names that are remembered with their spelling; both sides use the same few again and again. */
const MOST_NAMES = 256

/** A head with more fields is malformed: nobody sends so many, and each of them costs more than its bytes. */
export const MOST_FIELDS = 1_000

/** What is done with a folded line (RFC 9112 §5.2): its value goes on with the one before, or the head is malformed. */
export type Folds = 'joined' | 'refused'

/**
 * Reads the fields of a head behind its first line, whose end is at `at` (-1: there are none); undefined where one is
 * malformed. The text has passed `HAS_JUNK`.
 */
export type ReadFields = (text: string, at: number) => Record<string, string> | undefined

export function createFieldReader(folds: Folds): ReadFields {
  const names = new Map<string, string>()

  function nameOf(spelt: string): string | undefined {
    const known = names.get(spelt)
    if (known !== undefined) return known
    if (!IS_TOKEN.test(spelt)) return undefined
    const name = spelt.toLowerCase()
    if (names.size < MOST_NAMES) names.set(spelt, name)
    return name
  }

  return (text, at) => {
    const headers = emptyBag()
    let name: string | undefined
    let lines = 0
    for (let next = at; next >= 0;) {
      if (++lines > MOST_FIELDS) return undefined
      const start = next + 2
      next = text.indexOf('\r\n', start)
      const end = next < 0 ? text.length : next
      if (name !== undefined && folds === 'joined' && isBlank(text.charCodeAt(start))) {
        headers[name] = `${headers[name]} ${trimmed(text, start, end)}`
        continue
      }
      const colon = text.indexOf(':', start)
      name = colon < 0 || colon > end ? undefined : nameOf(text.slice(start, colon))
      if (name === undefined) return undefined
      const before = headers[name]
      const value = trimmed(text, colon + 1, end)
      headers[name] = before === undefined ? value : `${before}, ${value}`
    }
    return headers
  }
}

/**
 * Whether names and values that are to be written are such as HTTP allows; given all at once, since a test by itself
 * takes longer than to look at some characters more.
 */
export const areFields = (names: string, values: string): boolean =>
  names === '' ? values === '' : IS_TOKEN.test(names) && IS_FIELD_VALUE.test(values)

/** Without the blanks that HTTP allows around a value; `trim` takes more than those. */
function trimmed(text: string, from: number, to: number): string {
  let start = from
  let end = to
  while (start < end && isBlank(text.charCodeAt(start))) start++
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09

/** RFC 9112 §9.3: whether a message leaves its connection open; `minor` is that of its HTTP version. */
export function isKept(connection: string | undefined, minor: string): boolean {
  if (connection === undefined) return minor === '1'
  const said = connection.toLowerCase()
  if (said.includes('close')) return false
  return minor === '1' || said.includes('keep-alive')
}
