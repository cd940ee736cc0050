import { createByteSearch } from './byte-search.ts'
import { headerParameters } from './header-parameters.ts'
import { boundaryOf, eachPart, MultipartError } from './multipart-frame.ts'

/** Where the value of a form field stands, or where the field would be inserted. */
export interface FormField {
  readonly bytes: Uint8Array
  readonly name: string
  readonly boundary: string
  /** Offsets of the value; absent when the form has no such field. */
  readonly span?: { readonly start: number; readonly end: number }
  /** The value as text, invalid UTF-8 replaced; absent when the form has no such field. */
  readonly value?: string
  /** Offset of the first delimiter's dashes. */
  readonly formStart: number
}

/**
 * Finds the part called `name` in the raw bytes of a `multipart/form-data` body.
 *
 * Bytes outside part headers are skipped by a search for the boundary and never read as text. A part called `name` that
 * brings a file name too is the field all the same: servers differ in which of the two they go by, and none may
 * see a value that was not looked at. Compared is the name as it reads with backslash escapes resolved.
 * @throws MultipartError when the boundary is unusable, the framing or a part's headers are malformed, the field stands
 * twice or is transfer-encoded, or any part's name is written as `name*` (RFC 7578 §4.2 forbids it, yet some servers read it)
 */
export function findFormField(bytes: Uint8Array, contentType: string, name: string): FormField {
  const boundary = boundaryOf(contentType)
  const found: { start: number; end: number }[] = []
  const { start: formStart } = eachPart(bytes, boundary, (start, end) => {
    const headersEnd = headersEndOf(bytes, start, end)
    const headers = headerLines(bytes.subarray(start, headersEnd))
    if (nameOf(headers) !== name) return
    if (found.length > 0) throw new MultipartError(`the form has the field ${name} twice`)
    refuseEncoded(headers)
    found.push({ start: headersEnd + BLANK_LINE.length, end })
  })
  const [span] = found
  if (span === undefined) return { bytes, name, boundary, formStart }
  return {
    bytes,
    name,
    boundary,
    formStart,
    span,
    value: decoder.decode(bytes.subarray(span.start, span.end)),
  }
}

/**
 * The form with `value` in the field, in parts to be sent one after the other.
 *
 * Parts are views of the form's bytes: no file is copied. An absent field becomes the first part of the form.
 * `value` is without line breaks, so that it can't end the part early; neither it nor the field's name is checked.
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

function nameOf(headers: readonly HeaderLine[]): string | undefined {
  const dispositions = headers.filter(([name]) => name === 'content-disposition')
  if (dispositions.length > 1) throw new MultipartError('a part has two content dispositions')
  const parameters = headerParameters(dispositions[0]?.[1] ?? '')
  const names = parameters?.get('name') ?? []
  const hasExtendedName = parameters && [...parameters.keys()].some((key) => key.startsWith('name*'))
  if (!parameters || hasExtendedName || names.length > 1) {
    throw new MultipartError('a part has a malformed content disposition')
  }
  return names[0]
}

/** RFC 7578 §4.7 deprecates the encodings that would make the value read otherwise than it stands. */
function refuseEncoded(headers: readonly HeaderLine[]): void {
  const encoding = headers.find(([name]) => name === 'content-transfer-encoding')?.[1]
  if (encoding !== undefined && !/^(7bit|8bit|binary)$/i.test(encoding)) {
    throw new MultipartError('the field has a transfer encoding')
  }
}
