import { errorBody } from '../errors.ts'
import type { Upstream } from '../pool/upstream.ts'
import type { Prefix } from './prefix.ts'
import type { RelayAnswer } from './relay-request.ts'
import type { UpstreamResponse } from './transport.ts'

/** An upstream's own words about a request, for the client. */
export interface Verbatim {
  readonly answer: Omit<RelayAnswer, 'attempts'>
  /** Gives it up, so that it pins no connection. */
  readonly discard: () => void
}

/**
 * The answer as it came: status, type and body. Of a page only the status is handed on, in an envelope: clients
 * read JSON, and a page shows whose it is.
 */
export function verbatimOf(response: UpstreamResponse, prefix: Prefix, upstream: Upstream): Verbatim {
  const { status, headers } = response
  const start = new TextDecoder().decode(prefix.bytes.subarray(0, 256)).trimStart()
  if (start.startsWith('<') || headers['content-type']?.includes('html') === true) {
    prefix.cancel()
    return {
      answer: { status, headers: asJson(headers), body: insteadOfPage(status), upstream },
      discard: () => {},
    }
  }
  const isUntypedJson = !headers['content-type'] && start.startsWith('{')
  const body = prefix.rest === undefined ? prefix.bytes : prefix.rest()
  return {
    answer: { status, headers: isUntypedJson ? asJson(headers) : headers, body, upstream },
    discard: prefix.cancel,
  }
}

function asJson(headers: UpstreamResponse['headers']): UpstreamResponse['headers'] {
  return { ...headers, 'content-type': 'application/json' }
}

function insteadOfPage(status: number): Uint8Array {
  const message = `The upstream refused the request with status ${status} and a page that says no more.`
  return new TextEncoder().encode(JSON.stringify(errorBody('upstream_error', message)))
}
