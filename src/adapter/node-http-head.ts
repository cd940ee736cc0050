import type { HeaderBag } from '../lib/headers.ts'
import { CHUNKED, UNTIL_CLOSE } from './node-http-body.ts'
import { createFieldReader, HAS_JUNK, IS_LENGTH, isKept } from './node-http-fields.ts'

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

/**
 * Makes a reader of heads, as strict as RFC 9112 asks a client to be: two lengths, a length beside chunks, a coding of
 * transfers other than chunks, a name with a blank, or a control character make an answer junk.
 */
export function createHeadReader(): ReadHead {
  const fieldsIn = createFieldReader('joined')
  return (text, method) => {
    if (HAS_JUNK.test(text)) return undefined
    const at = text.indexOf('\r\n')
    const [, minor, digits] = STATUS_LINE.exec(at < 0 ? text : text.slice(0, at)) ?? []
    const headers = fieldsIn(text, at)
    if (minor === undefined || headers === undefined) return undefined
    const status = Number(digits)
    const length = lengthOf(headers, method, status)
    if (length === undefined) return undefined
    const isPersistent = length !== UNTIL_CLOSE && isKept(headers['connection'], minor)
    return { status, headers, length, isPersistent }
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
