import { Chunks, concatBytes, CR, createByteSearch, lengthOf, LF, viewsOf } from './bytes.ts'

/** Where the value of a form field stands, or where the field would be inserted; offsets count from the first byte. */
interface FormField {
  readonly pieces: readonly Uint8Array[]
  readonly name: string
  readonly boundary: string
  /** Of the value; undefined when the form has no such field. */
  readonly span: { readonly start: number; readonly end: number } | undefined
  /** Offset of the first delimiter's dashes. */
  readonly formStart: number
}

/** More parts than any form has; each costs the reading of its headers. */
const MAX_PARTS = 1_000
const MAX_HEADER_BYTES = 16_384
/** So much is looked at at once: what is kept between two looks is copied each time. */
const LOOK_BYTES = 64 * 1024

/** Nothing can be told before more has come. */
const MORE = 'more'

/**
 * Finds a field of a `multipart/form-data` body that comes in pieces, cut anywhere; only the headers of parts are read,
 * and the time is linear.
 *
 * A part called `name` that brings a file name too is the field all the same: servers differ in which of the two they go
 * by, and none may see a value that was not looked at.
 */
export class FormScanner {
  private readonly name: string
  private readonly boundary: string = ''
  private readonly line: Uint8Array = BLANK_LINE
  private readonly search: (bytes: Uint8Array, from: number) => number = () => -1
  private failure: unknown
  /** What has come and was not looked at. */
  private readonly unseen = new Chunks()
  /** What was looked at and tells nothing yet; in the beginning the line break that the first delimiter may lack. */
  private kept = new Uint8Array([CR, LF])
  /** Offset of its first byte. */
  private base = -2
  /** In the text before the first delimiter, the headers or the content of a part, or behind the last delimiter. */
  private place: 'preamble' | 'headers' | 'content' | 'epilogue' = 'preamble'
  private parts = 0
  /** Nothing more comes. */
  private isLast = false
  private formStart = 0
  /** Offset of the value, while it is read. */
  private valueStart: number | undefined
  private span: FormField['span']

  constructor(contentType: string, name: string) {
    this.name = name
    try {
      this.boundary = boundaryOf(contentType)
      this.line = encoder.encode(`\r\n--${this.boundary}`)
      this.search = createByteSearch(this.line)
    } catch (error) {
      this.failure = error
    }
  }

  /** Looks at the next piece. Throws nothing: what is wrong is told at the end. */
  push(bytes: Uint8Array): void {
    if (this.place === 'epilogue' || this.failure !== undefined) return
    this.unseen.push(bytes)
    if (this.unseen.bytes >= LOOK_BYTES) this.look()
  }

  /**
   * @param pieces the same bytes again, in pieces of any size; the result refers to them
   * @throws MultipartError when the boundary is unusable, the framing or a part's headers are malformed, the field stands
   * twice or is transfer-encoded, or any part's name is written as `name*` (RFC 7578 §4.2 forbids it, yet some servers
   * read it)
   */
  end(pieces: readonly Uint8Array[]): FormField {
    this.isLast = true
    if (this.place !== 'epilogue' && this.failure === undefined) this.look()
    if (this.failure !== undefined) throw this.failure
    if (this.place !== 'epilogue')
      throw new MultipartError('the body does not begin and end with its boundary')
    const { name, boundary, span, formStart } = this
    return { pieces, name, boundary, span, formStart }
  }

  private look(): void {
    const bytes = concatBytes([this.kept, ...this.unseen.take()])
    try {
      const from = this.scan(bytes)
      this.kept = new Uint8Array(bytes.subarray(from))
      this.base += from
    } catch (error) {
      this.failure = error
    }
  }

  /** The offset in the bytes from which on they have to be seen again, with what comes next. */
  private scan(bytes: Uint8Array): number {
    for (let at = 0; ;) {
      const next = this.place === 'headers' ? this.afterHeaders(bytes, at) : this.atDelimiter(bytes, at)
      if (next.needsMore || this.place === 'epilogue') return next.at
      at = next.at
    }
  }

  /** Passes content up to the line break behind the next delimiter, which may be that of a blank line too. */
  private atDelimiter(bytes: Uint8Array, from: number): Step {
    const { line } = this
    for (let at = this.search(bytes, from); at >= 0; at = this.search(bytes, at + 2)) {
      const found = delimiterAt(bytes, at + line.length, this.isLast)
      if (found === MORE) return { at, needsMore: true }
      if (found === undefined) continue
      if (this.place === 'preamble') this.formStart = this.base + at + 2
      if (this.valueStart !== undefined) this.span = { start: this.valueStart, end: this.base + at }
      this.valueStart = undefined
      this.place = found.closes ? 'epilogue' : 'headers'
      this.parts += 1
      if (this.parts > MAX_PARTS + 1) throw new MultipartError(`the body has more than ${MAX_PARTS} parts`)
      return { at: found.end - 2, needsMore: false }
    }
    return { at: Math.max(from, bytes.length - line.length + 1), needsMore: true }
  }

  /** @param from the line break of the delimiter, since a part may have no headers at all */
  private afterHeaders(bytes: Uint8Array, from: number): Step {
    const { line, name } = this
    const blank = findBlankLine(bytes.subarray(from, from + 2 + MAX_HEADER_BYTES), 0)
    const content = from + blank + BLANK_LINE.length
    const needed = blank < 0 ? from + 2 + MAX_HEADER_BYTES : content + line.length
    const delimiter = this.delimiterBefore(bytes, from, content)
    if (!this.isLast && (bytes.length < needed || delimiter === MORE)) return { at: from, needsMore: true }
    if (blank < 0 || delimiter !== undefined)
      throw new MultipartError('a part has no blank line behind its headers')
    const headers = headerLines(bytes.subarray(from + 2, from + blank))
    this.place = 'content'
    if (fieldNameOf(headers) === name) {
      if (this.span !== undefined) throw new MultipartError(`the form has the field ${name} twice`)
      // RFC 7578 §4.7 deprecates the encodings that would make the value read otherwise than it stands.
      const [, encoding = 'binary'] = headers.find(([name]) => name === 'content-transfer-encoding') ?? []
      if (!/^(7bit|8bit|binary)$/i.test(encoding))
        throw new MultipartError('the field has a transfer encoding')
      this.valueStart = this.base + content
    }
    return { at: content, needsMore: false }
  }

  /** A delimiter that begins at `from` or behind, and before `to`. */
  private delimiterBefore(bytes: Uint8Array, from: number, to: number) {
    for (let at = this.search(bytes, from); at >= 0 && at < to; at = this.search(bytes, at + 2)) {
      const found = delimiterAt(bytes, at + this.line.length, this.isLast)
      if (found !== undefined) return found
    }
    return undefined
  }
}

/** How far the bytes have been passed. */
interface Step {
  readonly at: number
  readonly needsMore: boolean
}

/** The same for a form that is there in one piece, with the value as text. @throws MultipartError */
export function findFormField(bytes: Uint8Array, contentType: string, name: string) {
  const scanner = new FormScanner(contentType, name)
  scanner.push(bytes)
  const field = scanner.end([bytes])
  return { ...field, value: field.span && decoder.decode(bytes.subarray(field.span.start, field.span.end)) }
}

/**
 * The form with `value` in the field, in parts to be sent one after the other: views of its bytes, no file is copied.
 * An absent field becomes the first part of the form. Not checked: `value` is without line breaks, which could end it.
 */
export function replaceFormField(field: FormField, value: string): Uint8Array[] {
  const { pieces, name, boundary, formStart, span } = field
  const part = `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
  const { start, end } = span ?? { start: formStart, end: formStart }
  const inserted = encoder.encode(span ? value : part)
  return [...viewsOf(pieces, 0, start), inserted, ...viewsOf(pieces, end, lengthOf(pieces))]
}

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

const BLANK_LINE = encoder.encode('\r\n\r\n')
const findBlankLine = createByteSearch(BLANK_LINE)

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

/**
 * The rest of a line that separates parts (RFC 2046 §5.1.1) and whose boundary ends at `behind`: two dashes or CRLF, with
 * blanks between as RFC 2046 allows. Undefined when what follows shows that it is none.
 */
function delimiterAt(bytes: Uint8Array, behind: number, isLast: boolean) {
  if (bytes[behind] === DASH && bytes[behind + 1] === DASH) return { end: behind + 2, closes: true }
  let at = behind
  while (bytes[at] === 0x20 || bytes[at] === 0x09) at++
  if (bytes[at] === CR && bytes[at + 1] === LF) return { end: at + 2, closes: false }
  if (at - behind > MAX_HEADER_BYTES) throw new MultipartError('a delimiter has too many blanks behind it')
  return at + 1 >= bytes.length && !isLast ? MORE : undefined
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
