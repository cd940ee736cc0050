/*
 * transport: how a request gets to an upstream and its answer back, below everything that knows models or limits.
 *
 * transport  the contract: request, response, what can fail, and `Send`
 * fetch      the transport for every runtime that has fetch
 *
 * Node's own stands in `adapter/node/transport.ts`. All pass one suite, `tests/transport/contract.ts`.
 */
import type { AbortSignalLike } from '../lib/abort.ts'
import type { ByteReader } from '../lib/bytes.ts'
import type { HeaderBag } from '../lib/headers.ts'
import type { UpstreamRoute } from '../pool/route.ts'

/** One request to one upstream, as the core hands it to the runtime. */
export interface UpstreamRequest {
  readonly method: string
  /** Absolute http(s) URL without credentials. */
  readonly url: string
  /** How the connection is made; absent = straight, with the runtime's own certificates. */
  readonly route?: UpstreamRoute | undefined
  /** Lower-case names. Never hop-by-hop names, `host` or `content-length`: those are the transport's own. */
  readonly headers: HeaderBag
  /** The body in parts that are sent one after the other under one `content-length`; undefined = no body. */
  readonly body?: readonly Uint8Array[]
  /** Ms for name look-up, TCP, what is asked of a proxy, and TLS together. A transport that can't tell them apart leaves it out. */
  readonly connectTimeoutMs: number
  /** Longest silence in ms while somebody waits for the headers or a chunk; who does not read, does not wait. */
  readonly timeoutMs: number
  /**
   * How many body bytes are worth waiting for before `send` resolves, asked once when the headers are there; 0 = none.
   * A body that ends within them arrives as bytes; a longer one as a reader from its first byte.
   */
  readonly gatherBytes: (status: number, headers: HeaderBag) => number
  /**
   * Told each chunk, decoded, of a body that is being gathered, as it comes. False = the rest is not worth waiting for:
   * it arrives as a reader from its first byte.
   */
  readonly onGathered?: (chunk: Uint8Array) => boolean
  /** Told each time when the upstream has taken some of a body that does not go out at once. Not every transport can tell. */
  readonly onTaken?: () => void
  /** Given where the request must go out only once (RFC 9110 §9.2.2): then a kept connection that is dead is its failure. */
  readonly mayResend?: false
}

/** What came back. An informational status (1xx) never gets here. */
export interface UpstreamResponse {
  /** As sent, 200 to 999: nothing is refused here. */
  readonly status: number
  readonly headers: HeaderBag
  /**
   * Decoded where the upstream encoded it (then `content-encoding` and `content-length` are gone from
   * `headers`). Nothing is read ahead of who reads it; `cancel` closes the connection at once; `read` rejects with
   * a `TransportError`, also when the body is shorter than announced.
   */
  readonly body: Uint8Array | ByteReader
  /** Whether the end of the body is told by its framing: then a body that ends well is whole. Absent where nobody knows. */
  readonly isEndSure?: boolean
}

/** How a request to an upstream can fail below HTTP. */
export type TransportFailure =
  /** The request certainly did not reach the upstream (DNS, refused, unreachable, TLS). */
  | 'not-sent'
  /** No connection within `connectTimeoutMs`; not sent either. */
  | 'connect-timeout'
  /** The proxy on the way is out of reach, silent, or takes nothing from us; whose upstream it was does not matter. Not sent. */
  | 'proxy'
  /** No connection, for want of descriptors, ports or memory here: no other upstream could be reached either. Not sent. */
  | 'shortage'
  /** Silence for `timeoutMs` after sending. */
  | 'timeout'
  /** The connection ended or spoke junk after sending, or the body was truncated. */
  | 'broken'
  /** The content encoding is unknown or damaged. */
  | 'undecodable'
  /** The caller's signal. */
  | 'aborted'

/** The only thing a transport throws or errors a body with. The message never quotes a header or a URL. */
export class TransportError extends Error {
  readonly failure: TransportFailure
  /** Why, in a few words that operators and clients may read, such as `connection refused`: no address, no value. */
  readonly reason: string | undefined
  constructor(failure: TransportFailure, message: string, reason?: string) {
    super(message)
    this.name = 'TransportError'
    this.failure = failure
    this.reason = reason
  }
}

/** The reason where an answer's content coding is unknown or damaged. */
export const UNDECODABLE = 'answer in a damaged or unknown content coding'

/** The reason where a proxy does not take who we are, and a runtime does not say whether it was told. */
export const PROXY_WANTS_LOGIN = 'the proxy wants a user name and a password, or others'

const CODINGS = new Set(['gzip', 'x-gzip', 'deflate', 'br', 'zstd', 'compress', 'x-compress', 'dcb', 'dcz'])
/** Each is as much work as the body is long. */
const MOST_CODINGS = 3

/**
 * The codings that an answer is said to be in, in the order in which they were applied (RFC 9110 §8.4); of many the last.
 * A word that is none (`identity`, `utf-8`, `aws-chunked`) is a slip and left out.
 */
export const codingsOfAnswer = (headers: HeaderBag): string[] =>
  (headers['content-encoding'] ?? '')
    .toLowerCase()
    .split(',')
    .map((word) => word.trim())
    .filter((word) => CODINGS.has(word))
    .slice(-MOST_CODINGS)

const BEGINS_PLAIN =
  /^\s*(?:\{\s*(?:["}]|$)|\[\s*(?:[[\]{"\-\dtfn]|$)|(?:data|event|id|retry)?:)(?:\P{Cc}|\s)*$/u
/** So much is enough to tell. */
const LOOKED_AT_BYTES = 1024

/** Whether a body begins as JSON or events do, in UTF-8 without controls: then it is in no coding, whatever its label. */
export function isPlain(first: Uint8Array): boolean {
  try {
    const decoder = new TextDecoder('utf-8', { fatal: true })
    return BEGINS_PLAIN.test(decoder.decode(first.subarray(0, LOOKED_AT_BYTES), { stream: true }))
  } catch {
    return false
  }
}

/** What codes and messages of Node, Bun, Deno and workerd say of a failure. The first that fits counts. */
const SIGNS: readonly (readonly [RegExp, Exclude<TransportFailure, 'timeout' | 'aborted'>, string])[] = [
  [
    /EMFILE|ENFILE|EADDRNOTAVAIL|ENOBUFS|ENOMEM|too many open files/i,
    'shortage',
    'no sockets or memory left here',
  ],
  [
    /PROXY_TUNNEL\b.*\b407|proxy authentication required|password auth failure|no acceptable auth/i,
    'proxy',
    PROXY_WANTS_LOGIN,
  ],
  [/PROXY_TUNNEL|unsuccessful tunnel/, 'not-sent', 'the proxy refused the host, or cannot reach it'],
  [/proxy server unreachable/i, 'proxy', 'no connection to the proxy'],
  [/CONNECT_TIMEOUT|connect ETIMEDOUT|connect timed? ?out/i, 'connect-timeout', 'no connection in time'],
  [/\bZ_[A-Z]+_ERROR|ERR__ERROR_|brotli|zlib|zstd|decompress|header check/i, 'undecodable', UNDECODABLE],
  [/EAI_AGAIN|temporary failure in name/i, 'not-sent', 'host name look-up failed'],
  [/ENOTFOUND|EAI_|getaddrinfo|dns error|lookup address|name or service/i, 'not-sent', 'host name not found'],
  [/refused/i, 'not-sent', 'connection refused'],
  [/ENETUNREACH|network (?:is )?unreachable/i, 'not-sent', 'network unreachable'],
  [/EHOST|unreachable|no route to host/i, 'not-sent', 'host unreachable'],
  [/SELF_SIGNED|self[- ]signed|CaUsedAsEndEntity/i, 'not-sent', 'TLS certificate is self-signed'],
  [/UNABLE_TO_|UnknownIssuer/, 'not-sent', 'TLS certificate of an unknown authority'],
  [/CERT_HAS_EXPIRED|certificate (?:has )?expired/i, 'not-sent', 'TLS certificate has expired'],
  [/ALTNAME|HOSTNAME|valid ?for ?name/i, 'not-sent', 'wrong host name in the TLS certificate'],
  [/CERT_|certificate/i, 'not-sent', 'TLS certificate not accepted'],
  [/WRONG_VERSION|PACKET_LENGTH|InvalidContentType/, 'not-sent', 'speaks no TLS'],
  [/ERR_SSL|ERR_TLS|EPROTO|secure TLS|tls handshake/i, 'not-sent', 'TLS handshake failed'],
  [/client error \(Connect\)|FailedToOpenSocket/, 'not-sent', 'no connection'],
  [/HEADERS_OVERFLOW/, 'broken', 'headers of the answer too large'],
  [/HPE_|HTTPParser|HTTP version|CONTENT_LENGTH/, 'broken', 'sent no valid HTTP'],
  [/ECONNRESET|EPIPE|\breset\b/, 'broken', 'connection reset'],
  [/UND_ERR_SOCKET|closed/i, 'broken', 'connection closed'],
]
const LAST_SIGN = [undefined, 'broken', 'connection lost'] as const

/**
 * What kind of failure an error of a runtime is, from its codes and messages, and why: in words of our own, since the
 * runtime's quote addresses and headers. `broken` where nothing tells better: then the request may have been sent.
 */
export function signIn(text: string) {
  const [, failure, reason] = SIGNS.find(([pattern]) => pattern.test(text)) ?? LAST_SIGN
  return { failure, reason }
}

/**
 * A narrow fetch: no redirects, no cookies, no retries but one. A reused connection that breaks within 200 ms of the
 * write, with nothing received, was dead: it is replaced by a fresh one, once, without the caller's notice (3 to 11 %
 * of the requests sent in the moment an upstream closes its idle connections meet one), unless `mayResend` forbids it.
 * Aborting the signal closes the connection at once. @throws TransportError and nothing else
 */
export type Send = (request: UpstreamRequest, signal: AbortSignalLike) => Promise<UpstreamResponse>
