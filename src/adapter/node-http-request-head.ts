import { GatewayError } from '../errors.ts'
import type { HeaderBag } from '../lib/headers.ts'
import { CHUNKED } from './node-http-body.ts'
import { createFieldReader, HAS_JUNK, IS_LENGTH, isKept, MOST_FIELDS } from './node-http-fields.ts'

/** The head of a request. */
export interface RequestHead {
  readonly method: string
  /** As it stood on the wire. */
  readonly target: string
  readonly headers: HeaderBag
  /** Bytes of the body, or `CHUNKED`. */
  readonly length: number
  /** Whether the client may send another request behind this one. */
  readonly isPersistent: boolean
  /** HTTP/1.0 knows neither chunks nor interim answers. */
  readonly isHttp10: boolean
}

/**
 * Reads the text of a head without its blank line.
 *
 * @throws GatewayError `bad_request` for what is no request of HTTP/1.1 or 1.0
 */
export type ReadRequestHead = (text: string) => RequestHead

/** RFC 9112 §3: methods that are in use are in capitals, and a target is ASCII without blanks. */
const REQUEST_LINE = /^([A-Z][A-Z-]{0,31}) ([\x21-\x7e]+) HTTP\/1\.([01])$/

/**
 * Makes a reader of heads, as strict as RFC 9112 allows a server to be: whatever another server could take for
 * another request is refused, since that is how requests are smuggled.
 */
export function createRequestHeadReader(): ReadRequestHead {
  const fieldsIn = createFieldReader('refused')
  return (text) => {
    if (HAS_JUNK.test(text)) throw malformed('a header has a control character')
    const at = text.indexOf('\r\n')
    const [, method, target, minor] = REQUEST_LINE.exec(at < 0 ? text : text.slice(0, at)) ?? []
    if (method === undefined || target === undefined || minor === undefined)
      throw malformed('its first line is none such as "POST /v1/chat/completions HTTP/1.1"')
    const headers = fieldsIn(text, at)
    if (headers === undefined)
      throw malformed(`a header is none such as "name: value", or there are more than ${MOST_FIELDS}`)
    const isHttp10 = minor === '0'
    requireHost(headers['host'], isHttp10)
    return {
      method,
      target,
      headers,
      length: lengthOf(headers, isHttp10),
      isPersistent: isKept(headers['connection'], minor),
      isHttp10,
    }
  }
}

/** RFC 3986 §3.2.2 and §3.2.3, without the comma with which two of them would be joined. */
const IS_HOST = /^(?:[A-Za-z0-9\-._~%!$&'()*+;=]*|\[[0-9A-Fa-f:.]+\])(?::\d*)?$/

/** RFC 9112 §3.2. */
function requireHost(host: string | undefined, isHttp10: boolean): void {
  if (host === undefined) {
    if (!isHttp10) throw malformed('it has no Host header')
  } else if (!IS_HOST.test(host)) throw malformed('its Host header is not one name or address with its port')
}

/** RFC 9112 §6.3, without what one side may read otherwise than the other. */
function lengthOf(headers: HeaderBag, isHttp10: boolean): number {
  const coding = headers['transfer-encoding']
  const announced = headers['content-length']
  if (coding === undefined) {
    if (announced === undefined) return 0
    if (!IS_LENGTH.test(announced)) throw malformed('its Content-Length is not one number')
    return Number(announced)
  }
  if (announced !== undefined) throw malformed('it has both Content-Length and Transfer-Encoding')
  if (isHttp10) throw malformed('HTTP/1.0 has no Transfer-Encoding')
  if (coding.toLowerCase() !== 'chunked') throw malformed('its Transfer-Encoding is not just "chunked"')
  return CHUNKED
}

/** The error for a request that breaks the rules of HTTP; `what` ends the sentence. */
export function malformed(what: string): GatewayError {
  return new GatewayError('bad_request', `The request is malformed: ${what}.`, {
    headers: { connection: 'close' },
  })
}
