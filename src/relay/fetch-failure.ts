import { TransportError, type TransportFailure } from './transport.ts'

/**
 * How the runtimes' fetch tells what went wrong: error codes of Node and Bun, sentences of Deno and workerd.
 * The first that fits counts.
 */
const signs: readonly (readonly [TransportFailure, RegExp])[] = [
  ['connect-timeout', /CONNECT_TIMEOUT|connect ETIMEDOUT|connect timed? ?out/i],
  ['undecodable', /\bZ_[A-Z]+_ERROR|ERR__ERROR_|BROTLI|ZLIB|zlib|decompress|incorrect header check/i],
  ['not-sent', /ECONNREFUSED|ENOTFOUND|EAI_|EHOSTUNREACH|ENETUNREACH|EPROTO|ERR_TLS|ERR_SSL|_CERT\b|CERT_/],
  ['not-sent', /UNABLE_TO_|ConnectionRefused|FailedToOpenSocket|client error \(Connect\)/],
  ['not-sent', /refused|unreachable|getaddrinfo|lookup address|dns error|certificate|name or service/i],
]

/**
 * What fetch, or the body of its answer, threw as one of ours; `broken` where nothing tells better, since
 * then the request may have been sent. Its own message is dropped: runtimes quote header values and URLs.
 */
export function fetchFailure(error: unknown): TransportError {
  if (error instanceof TransportError) return error
  const text = textOf(error)
  const sign = signs.find(([, pattern]) => pattern.test(text))
  return sign ? new TransportError(sign[0], messages[sign[0]]) : new TransportError('broken', messages.broken)
}

const messages: Readonly<Record<TransportFailure, string>> = {
  'not-sent': 'no connection',
  'connect-timeout': 'no connection in time',
  timeout: 'silence',
  broken: 'the connection broke',
  undecodable: 'the body can not be decoded',
  aborted: 'the caller has left',
}

/** Codes and messages of an error and of the causes below it. */
function textOf(error: unknown, depth = 0): string {
  if (typeof error !== 'object' || error === null || depth > 3) return ''
  const { code, name, message, cause, errors } = error as Record<string, unknown>
  const [first] = Array.isArray(errors) ? errors : []
  const own = [code, name, message].filter((part) => typeof part === 'string').join(' ')
  return `${own} ${textOf(cause, depth + 1)} ${textOf(first, depth + 1)}`
}
