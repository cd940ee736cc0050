import { CR, createByteSearch, LF, matchesAt } from './bytes.ts'

/** Where the value of a form field stands, or where the field would be inserted. */
interface FormField {
  readonly bytes: Uint8Array
  readonly name: string
  readonly boundary: string
  /** Offsets of the value; undefined when the form has no such field. */
  readonly span: { readonly start: number; readonly end: number } | undefined
  readonly value: string | undefined
  /** Offset of the first delimiter's dashes. */
  readonly formStart: number
}

/** More parts than any form has; each costs the reading of its headers. */
const MAX_PARTS = 10_000

/**
 * Finds the part called `name` in the raw bytes of a `multipart/form-data` body; only the headers of parts are read.
 *
 * A part called `name` that brings a file name too is the field all the same: servers differ in which of the two they go
 * by, and none may see a value that was not looked at.
 * @throws MultipartError when the boundary is unusable, the framing or a part's headers are malformed, the field stands
 * twice or is transfer-encoded, or any part's name is written as `name*` (RFC 7578 §4.2 forbids it, yet some servers read it)
 */
export function findFormField(bytes: Uint8Array, contentType: string, name: string): FormField {
  const boundary = boundaryOf(contentType)
  const delimiterFrom = delimiterFinder(bytes, boundary)
  const first = delimiterFrom(0)
  let span: FormField['span']
  let delimiter = first
  for (let count = 1; !delimiter.closes; count++) {
    if (count > MAX_PARTS) throw new MultipartError(`the body has more than ${MAX_PARTS} parts`)
    const start = delimiter.end
    delimiter = delimiterFrom(start - 2)
    const end = delimiter.start - 2
    const headersEnd = headersEndOf(bytes, start, end)
    const headers = headerLines(bytes.subarray(start, headersEnd))
    if (fieldNameOf(headers) !== name) continue
    if (span !== undefined) throw new MultipartError(`the form has the field ${name} twice`)
    // RFC 7578 §4.7 deprecates the encodings that would make the value read otherwise than it stands.
    const [, encoding = 'binary'] = headers.find(([name]) => name === 'content-transfer-encoding') ?? []
    if (!/^(7bit|8bit|binary)$/i.test(encoding)) throw new MultipartError('the field has a transfer encoding')
    span = { start: headersEnd + BLANK_LINE.length, end }
  }
  const value = span && decoder.decode(bytes.subarray(span.start, span.end))
  return { bytes, name, boundary, span, value, formStart: first.start }
}

/**
 * The form with `value` in the field, in parts to be sent one after the other: views of its bytes, no file is copied.
 * An absent field becomes the first part of the form. Not checked: `value` is without line breaks, which could end it.
 */
export function replaceFormField(field: FormField, value: string): Uint8Array[] {
  const { bytes, name, boundary, formStart, span } = field
  if (span) return [bytes.subarray(0, span.start), encoder.encode(value), bytes.subarray(span.end)]
  const part = `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
  return [bytes.subarray(0, formStart), encoder.encode(part), bytes.subarray(formStart)]
}

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

const BLANK_LINE = encoder.encode('\r\n\r\n')
const findBlankLine = createByteSearch(BLANK_LINE)
const MAX_HEADER_BYTES = 16_384

/** Looks from the line break of the delimiter on, since a part may have no headers at all. */
function headersEndOf(bytes: Uint8Array, start: number, end: number): number {
  const limit = Math.min(end, start + MAX_HEADER_BYTES)
  const at = findBlankLine(bytes.subarray(start - 2, limit), 0)
  if (at < 0) throw new MultipartError('a part has no blank line behind its headers')
  return start - 2 + at
}

type HeaderLine = readonly [name: string, value: string]

function headerLines(bytes: Uint8Array): HeaderLine[] {
  if (bytes.length === 0) return []
  const unfolded = decoder.decode(bytes).replaceAll(/\r\n[ \t]+/g, ' ')
  return unfolded.split('\r\n').map((line) => {
    const colon = line.indexOf(':')
    if (colon < 1 || /[\r\n]/.test(line)) throw new MultipartError('a part has a malformed header')
    return [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()]
  })
}

function fieldNameOf(headers: readonly HeaderLine[]): string | undefined {
  const dispositions = headers.filter(([name]) => name === 'content-disposition')
  if (dispositions.length > 1) throw new MultipartError('a part has two content dispositions')
  const parameters = headerParameters(dispositions[0]?.[1] ?? '')
  const names = parameters?.get('name') ?? []
  const hasExtendedName = parameters && [...parameters.keys()].some((key) => key.startsWith('name*'))
  if (!parameters || hasExtendedName || names.length > 1)
    throw new MultipartError('a part has a malformed content disposition')
  return names[0]
}

/** What is wrong with a multipart body, in words that quote nothing of it. */
export class MultipartError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'MultipartError'
  }
}

/** The boundary that a content type names, quoted or not; RFC 2046 §5.1.1 has its length and its characters. */
function boundaryOf(contentType: string): string {
  if (!/^\s*multipart\/form-data\s*(;|$)/i.test(contentType))
    throw new MultipartError('the content type is not multipart/form-data')
  const [boundary = '', another] = headerParameters(contentType)?.get('boundary') ?? []
  if (another !== undefined || !/^[\x20-\x7e]{0,69}[\x21-\x7e]$/.test(boundary))
    throw new MultipartError('the content type has no usable boundary')
  return boundary
}

/** A line that separates parts (RFC 2046 §5.1.1): from its two dashes to behind its line break, or its last dashes. */
type Delimiter = { readonly start: number; readonly end: number; readonly closes: boolean }

/**
 * Gives the first delimiter whose line break in front (or the start of the body) is at or after `from`: a line of its
 * own that ends with two dashes or CRLF, with blanks between as RFC 2046 allows. Throws a MultipartError for none.
 */
function delimiterFinder(bytes: Uint8Array, boundary: string): (from: number) => Delimiter {
  const line = encoder.encode(`\r\n--${boundary}`)
  const search = createByteSearch(line)
  return (from) => {
    const opens = from === 0 && matchesAt(bytes, 0, line.subarray(2))
    const opening = opens ? delimiterOf(bytes, 0, line.length - 2) : undefined
    if (opening) return opening
    for (let at = search(bytes, from); at >= 0; at = search(bytes, at + 2)) {
      const found = delimiterOf(bytes, at + 2, at + line.length)
      if (found) return found
    }
    throw new MultipartError('the body does not begin and end with its boundary')
  }
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

/** One parameter: its name, then perhaps a value, quoted (whatever follows the quote is dropped) or bare. */
const PARAMETER = /[;\s]*([^\s;="]+)\s*(?:=\s*(?:"((?:[^"\\]|\\[^])*)"[^;]*|([^\s";][^;]*)?))?(?=;|$)/gy

/**
 * The parameters of a header value such as `form-data; name="model"`: all values of each lower-cased name, in order,
 * with backslash escapes resolved (RFC 9110 §5.6.4, §5.6.6). Bare values reach to the next semicolon, so that a
 * boundary with `=` or `/`, which should be quoted, is understood; without one, a name has the empty value. Linear in
 * the length. Undefined when a part can't be read: a quote that never ends, a value without a name.
 */
export function headerParameters(header: string): ReadonlyMap<string, readonly string[]> | undefined {
  const text = header.includes(';') ? header.slice(header.indexOf(';')) : ''
  const found = new Map<string, string[]>()
  let end = 0
  for (const match of text.matchAll(PARAMETER)) {
    const [whole, name = '', quoted, bare = ''] = match
    const value = quoted === undefined ? bare.trimEnd() : quoted.replace(/\\([^])/g, '$1')
    const values = found.get(name.toLowerCase()) ?? []
    values.push(value)
    found.set(name.toLowerCase(), values)
    end = match.index + whole.length
  }
  return /[^;\s]/.test(text.slice(end)) ? undefined : found
}
