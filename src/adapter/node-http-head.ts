import { emptyBag, type HeaderBag } from '../lib/headers.ts'

/** How the end of a body is told: a number of bytes, or one of these. */
export const CHUNKED = -1
export const UNTIL_CLOSE = -2

/** The head of an answer. */
export interface AnswerHead {
  readonly status: number
  readonly headers: HeaderBag
  /** Bytes of the body, `CHUNKED` or `UNTIL_CLOSE`; 0 where HTTP allows none. */
  readonly length: number
  /** Whether the connection serves another request after this answer. */
  readonly isPersistent: boolean
}

/** Reads the text of a head without its blank line; undefined for what is no head of HTTP/1. */
export type ReadHead = (text: string, method: string) => AnswerHead | undefined

const STATUS_LINE = /^HTTP\/1\.([01]) (\d{3})(?: [\t\x20-\x7e\x80-\xff]*)?$/
/** RFC 9110 §5.6.2 and §5.5. */
export const IS_TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
export const IS_FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
const IS_LENGTH = /^\d{1,15}$/
/** Anything but field values and the ends of their lines. */
const HAS_JUNK = /[^\t\r\n\x20-\x7e\x80-\xff]|\r(?!\n)|(?<!\r)\n/
/** Names that are remembered with their spelling; upstreams use the same few again and again. */
const MOST_NAMES = 256

/**
 * Makes a reader of heads, as strict as RFC 9112 asks a client to be: two lengths, a length beside chunks, a coding of
 * transfers other than chunks, a name with a blank, or a control character make an answer junk.
 */
export function createHeadReader(): ReadHead {
  const names = new Map<string, string>()

  function nameOf(spelt: string): string | undefined {
    const known = names.get(spelt)
    if (known !== undefined) return known
    if (!IS_TOKEN.test(spelt)) return undefined
    const name = spelt.toLowerCase()
    if (names.size < MOST_NAMES) names.set(spelt, name)
    return name
  }

  /** The fields behind the first line, whose end is at `at`; undefined where one is malformed. */
  function fieldsIn(text: string, at: number): Record<string, string> | undefined {
    const headers = emptyBag()
    let name: string | undefined
    for (let next = at; next >= 0;) {
      const start = next + 2
      next = text.indexOf('\r\n', start)
      const end = next < 0 ? text.length : next
      if (name !== undefined && isBlank(text.charCodeAt(start))) {
        // RFC 9112 §5.2: a folded line goes on with the value before it.
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

  return (text, method) => {
    if (HAS_JUNK.test(text)) return undefined
    const at = text.indexOf('\r\n')
    const [, minor, digits] = STATUS_LINE.exec(at < 0 ? text : text.slice(0, at)) ?? []
    const headers = fieldsIn(text, at)
    if (minor === undefined || headers === undefined) return undefined
    const status = Number(digits)
    const length = lengthOf(headers, method, status)
    if (length === undefined) return undefined
    return { status, headers, length, isPersistent: length !== UNTIL_CLOSE && isKept(headers, minor) }
  }
}

/** RFC 9112 §6.3; undefined where the head contradicts itself or asks for what nobody sends. */
function lengthOf(headers: HeaderBag, method: string, status: number): number | undefined {
  const coding = headers['transfer-encoding']
  const announced = headers['content-length']
  if (coding !== undefined && (announced !== undefined || coding.toLowerCase() !== 'chunked'))
    return undefined
  if (announced !== undefined && !IS_LENGTH.test(announced)) return undefined
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304) return 0
  if (coding !== undefined) return CHUNKED
  return announced === undefined ? UNTIL_CLOSE : Number(announced)
}

/** RFC 9112 §9.3. */
function isKept(headers: HeaderBag, minor: string): boolean {
  const connection = headers['connection']?.toLowerCase() ?? ''
  if (connection.includes('close')) return false
  return minor === '1' || connection.includes('keep-alive')
}

/** Without the blanks that HTTP allows around a value; `trim` takes more than those. */
function trimmed(text: string, from: number, to: number): string {
  let start = from
  let end = to
  while (start < end && isBlank(text.charCodeAt(start))) start++
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09
