import { createByteSearch, matchesAt } from './byte-search.ts'
import type { ByteSearch } from './byte-search.ts'
import { headerParameters } from './header-parameters.ts'

/** What is wrong with a multipart body, in words that quote nothing of it. */
export class MultipartError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'MultipartError'
  }
}

/** A line that separates parts (RFC 2046 §5.1.1). */
interface Delimiter {
  /** Offset of its two dashes. */
  readonly start: number
  /** Offset behind its line break; of a closing one, behind the last dashes. */
  readonly end: number
  readonly closes: boolean
}

/**
 * The boundary that a content type names, quoted or not.
 * @throws MultipartError when it is no `multipart/form-data` or names none, two, or one that RFC 2046 §5.1.1 does
 * not allow in length (1 to 70) or characters (visible ASCII, blanks inside)
 */
export function boundaryOf(contentType: string): string {
  if (!/^\s*multipart\/form-data\s*(;|$)/i.test(contentType)) {
    throw new MultipartError('the content type is not multipart/form-data')
  }
  const boundaries = headerParameters(contentType)?.get('boundary') ?? []
  const [boundary = ''] = boundaries
  if (boundaries.length !== 1 || !/^[\x20-\x7e]{0,69}[\x21-\x7e]$/.test(boundary)) {
    throw new MultipartError('the content type has no usable boundary')
  }
  return boundary
}

/**
 * A function that gives the first delimiter whose line break in front (or the start of the body) is at or after `from`.
 *
 * Bytes that look like the boundary count only as a line of their own: after CRLF or at offset 0, and followed by
 * two dashes or by CRLF, with blanks between as RFC 2046 allows. It throws a MultipartError when none follows.
 */
function delimiterFinder(bytes: Uint8Array, boundary: string): (from: number) => Delimiter {
  const line = new TextEncoder().encode(`\r\n--${boundary}`)
  const search = createByteSearch(line)
  return (from) => {
    const opening = from === 0 ? openingAt(bytes, line) : undefined
    return opening ?? searched(bytes, search, { from, size: line.length })
  }
}

/** More parts than any form has; each costs the reading of its headers. */
const MAX_PARTS = 10_000

/**
 * Calls `visit` with the start and end of every part, headers included; gives the first delimiter.
 * @throws MultipartError when the body does not begin, go on and end with delimiters, or has over 10,000 parts
 */
export function eachPart(
  bytes: Uint8Array,
  boundary: string,
  visit: (start: number, end: number) => void,
): Delimiter {
  const delimiterFrom = delimiterFinder(bytes, boundary)
  const first = delimiterFrom(0)
  let current = first
  for (let count = 1; !current.closes; count++) {
    if (count > MAX_PARTS) throw new MultipartError(`the body has more than ${MAX_PARTS} parts`)
    const next = delimiterFrom(current.end - 2)
    visit(current.end, next.start - 2)
    current = next
  }
  return first
}

function openingAt(bytes: Uint8Array, line: Uint8Array): Delimiter | undefined {
  const dashed = line.subarray(2)
  return matchesAt(bytes, 0, dashed) ? delimiterOf(bytes, 0, dashed.length) : undefined
}

function searched(
  bytes: Uint8Array,
  search: ByteSearch,
  { from, size }: { from: number; size: number },
): Delimiter {
  let at = search(bytes, from)
  while (at >= 0) {
    const found = delimiterOf(bytes, at + 2, at + size)
    if (found) return found
    at = search(bytes, at + 2)
  }
  throw new MultipartError('the body does not begin and end with its boundary')
}

/** Undefined when what follows the boundary shows that it is not one. */
function delimiterOf(bytes: Uint8Array, start: number, behind: number): Delimiter | undefined {
  if (bytes[behind] === DASH && bytes[behind + 1] === DASH) return { start, end: behind + 2, closes: true }
  let at = behind
  while (bytes[at] === 0x20 || bytes[at] === 0x09) at++
  if (bytes[at] !== CR || bytes[at + 1] !== LF) return undefined
  return { start, end: at + 2, closes: false }
}

const DASH = 0x2d
const CR = 0x0d
const LF = 0x0a
