import type { AbortSignalLike } from '../lib/abort.ts'
import { type ByteReader, concatBytes, END } from '../lib/bytes.ts'
import type { Clock } from '../lib/clock.ts'
import { type HeaderBag, headerBagOf, withoutCoding } from '../lib/headers.ts'
import {
  TransportError,
  type Send,
  type TransportFailure,
  type UpstreamRequest,
  type UpstreamResponse,
} from './transport.ts'

/** What is asked of a runtime's fetch. */
export type Fetch = (url: string, init: FetchInit) => Promise<Response>

/** The part of `RequestInit` that every runtime knows. */
interface FetchInit {
  readonly method: string
  readonly headers: Record<string, string>
  readonly body?: Uint8Array<ArrayBuffer>
  readonly redirect: 'manual'
  readonly signal: AbortSignal
}

interface FetchTransportOptions {
  /** The runtime's own unless given. */
  readonly fetch?: Fetch
  readonly after: Clock['after']
}

/**
 * The transport for every runtime that has fetch.
 *
 * What fetch hides stays hidden: connecting has no deadline of its own (`timeoutMs` covers it), dead
 * connections are the runtime's to replace, and a runtime that takes a reset for an orderly end of a body
 * without a length can't be caught at it. Statuses are those that the runtime's fetch lets through.
 *
 * Fetch decodes gzip, deflate and br by itself and leaves the headers in place: both are dropped here.
 */
export function createFetchTransport({ fetch: given, after }: FetchTransportOptions): Send {
  const call: Fetch = given ?? ((url, init) => fetch(url, init))

  return async (request, signal) => {
    const guard = createFetchGuard({ timeoutMs: request.timeoutMs, signal, after })
    const response = await guard.within(openResponse(call, request, guard.signal))
    try {
      return await responseOf(request, response, guard)
    } catch (error) {
      guard.cut()
      response.body?.cancel().catch(() => {})
      throw error
    }
  }
}

/** The answer as soon as its headers are there; one that comes too late is thrown away. */
async function openResponse(call: Fetch, request: UpstreamRequest, signal: AbortSignal): Promise<Response> {
  signal.throwIfAborted()
  // A body is never shared memory, which is all that the type would allow besides.
  const body = concatBytes(request.body ?? []) as Uint8Array<ArrayBuffer>
  const init: FetchInit = {
    method: request.method,
    headers: { ...request.headers },
    ...(body.byteLength > 0 && { body }),
    redirect: 'manual',
    signal,
  }
  try {
    const response = await call(request.url, init)
    if (signal.aborted) response.body?.cancel().catch(() => {})
    return response
  } catch (error) {
    throw canBeWritten(request.url, init)
      ? error
      : new TransportError('not-sent', 'fetch refuses the request')
  }
}

/** False where the runtime refuses a URL, a header or a method before anything is sent. */
function canBeWritten(url: string, init: FetchInit): boolean {
  try {
    return /^https?:/i.test(url) && new Request(url, init) instanceof Request
  } catch {
    return false
  }
}

async function responseOf(
  request: UpstreamRequest,
  response: Response,
  guard: FetchGuard,
): Promise<UpstreamResponse> {
  const headers = headerBagOf(response.headers)
  const { status, body } = response
  if (status === 0 || response.type === 'opaqueredirect') {
    // Where fetch hides what a redirect was, it is still one, and its target is of no interest.
    guard.cut()
    return { status: 302, headers: {}, body: new Uint8Array(0) }
  }
  if (body === null) {
    guard.end()
    return { status, headers, body: new Uint8Array(0) }
  }
  const decoded = decodedHeaders(headers)
  const limit = request.gatherBytes(status, decoded)
  const announced = Number(decoded['content-length'] ?? Number.NaN)
  const reader = body.getReader()
  const gathered = await gather(reader, announced > limit ? 0 : limit, guard)
  if (gathered.done) {
    guard.end()
    if (gathered.bytes.byteLength < announced) throw new TransportError('broken', 'the body is too short')
    return { status, headers: decoded, body: gathered.bytes }
  }
  return { status, headers: decoded, body: bodyOf({ reader, first: gathered.bytes, announced, guard }) }
}

/** Reads until the end or until more than `limit` bytes are there. */
async function gather(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  limit: number,
  guard: FetchGuard,
): Promise<{ bytes: Uint8Array; done: boolean }> {
  const chunks: Uint8Array[] = []
  if (limit <= 0) return { bytes: concatBytes(chunks), done: false }
  for (let bytes = 0; bytes <= limit;) {
    const { done, value } = await guard.within(reader.read())
    if (done) return { bytes: concatBytes(chunks), done }
    chunks.push(value)
    bytes += value.byteLength
  }
  return { bytes: concatBytes(chunks), done: false }
}

/**
 * The headers of the decoded body.
 *
 * @throws TransportError for a coding that not every fetch undoes
 */
function decodedHeaders(headers: HeaderBag): HeaderBag {
  const coding = headers['content-encoding']?.trim().toLowerCase() ?? ''
  if (coding === '' || coding === 'identity') return headers
  if (!decodedByFetch.has(coding)) throw new TransportError('undecodable', 'the content encoding is unknown')
  return withoutCoding(headers)
}

const decodedByFetch: ReadonlySet<string> = new Set(['gzip', 'x-gzip', 'deflate', 'br'])

/** A body of which the first bytes may have been read. */
interface OpenBody {
  readonly reader: ReadableStreamDefaultReader<Uint8Array>
  /** Read already, and the first to be handed on; may be empty. */
  readonly first: Uint8Array
  /** The content-length; NaN where none counts. */
  readonly announced: number
  readonly guard: FetchGuard
}

/**
 * The body as a reader that reads one chunk for each that is taken from it, and none before.
 *
 * It rejects when fewer bytes come than were announced: not every runtime's fetch does.
 */
function bodyOf({ reader, first, announced, guard }: OpenBody): ByteReader {
  let received = first.byteLength
  let unread = first
  let failure: TransportError | undefined
  let isOver = false
  guard.onFailure = (error) => void (failure = error)

  return {
    async read() {
      if (failure !== undefined) throw failure
      if (isOver) return END
      if (unread.byteLength > 0) {
        const value = unread
        unread = new Uint8Array(0)
        return { done: false, value }
      }
      const { done, value } = await guard.within(reader.read())
      if (!done) {
        received += value.byteLength
        return { done, value }
      }
      isOver = true
      guard.end()
      if (received < announced) throw new TransportError('broken', 'the body is too short')
      return END
    },
    async cancel() {
      isOver = true
      guard.cut()
      reader.cancel().catch(() => {})
    },
  }
}

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
function fetchFailure(error: unknown): TransportError {
  if (error instanceof TransportError) return error
  const text = errorText(error)
  const sign = signs.find(([, pattern]) => pattern.test(text))
  return sign ? new TransportError(sign[0], messages[sign[0]]) : new TransportError('broken', messages.broken)
}

const messages: Readonly<Record<TransportFailure, string>> = {
  'not-sent': 'no connection',
  'connect-timeout': 'no connection in time',
  timeout: 'silence',
  broken: 'the connection broke',
  undecodable: 'the body cannot be decoded',
  aborted: 'the caller has left',
}

/** Codes and messages of an error and of the causes below it. */
function errorText(error: unknown, depth = 0): string {
  if (typeof error !== 'object' || error === null || depth > 3) return ''
  const { code, name, message, cause, errors } = error as Record<string, unknown>
  const [first] = Array.isArray(errors) ? errors : []
  const own = [code, name, message].filter((part) => typeof part === 'string').join(' ')
  return `${own} ${errorText(cause, depth + 1)} ${errorText(first, depth + 1)}`
}

/** Ends one fetch when its caller leaves or its upstream is silent, whether or not the runtime obeys. */
interface FetchGuard {
  /** For fetch: aborted when the request has failed or nobody wants it any longer. */
  readonly signal: AbortSignal
  /**
   * Waits for the upstream: the result of `work`, or its failure, the caller's abort or a silence, whichever
   * comes first. One at a time.
   *
   * @throws TransportError
   */
  within<T>(work: Promise<T>): Promise<T>
  /** Called when the request fails while nobody waits. */
  onFailure: (error: TransportError) => void
  /** All is read. */
  end(): void
  /** Nobody wants the rest. */
  cut(): void
}

interface FetchGuardOptions {
  readonly timeoutMs: number
  /** The caller's. */
  readonly signal: AbortSignalLike
  readonly after: Clock['after']
}

function createFetchGuard({ timeoutMs, signal, after }: FetchGuardOptions): FetchGuard {
  const controller = new AbortController()
  let failure: TransportError | undefined
  let rejectWaiting: ((error: TransportError) => void) | undefined

  const end = () => signal.removeEventListener('abort', onAbort)
  const cut = () => {
    end()
    controller.abort()
  }
  const fail = (error: TransportError) => {
    failure = error
    cut()
    if (rejectWaiting) rejectWaiting(error)
    else guard.onFailure(error)
  }
  const onAbort = () => fail(new TransportError('aborted', 'the caller has left'))

  const within = async <T>(work: Promise<T>): Promise<T> => {
    const failing = new Promise<never>((_resolve, reject) => {
      rejectWaiting = reject
      if (failure) reject(failure)
    })
    const forgetTimer = after(timeoutMs, () =>
      fail(new TransportError('timeout', `silence for ${timeoutMs} ms`)),
    )
    try {
      // The race also listens to the loser, whose failure would go unhandled otherwise.
      return await Promise.race([work, failing])
    } catch (error) {
      failure ??= fetchFailure(error)
      cut()
      throw failure
    } finally {
      rejectWaiting = undefined
      forgetTimer()
    }
  }

  const guard: FetchGuard = { signal: controller.signal, within, onFailure: () => {}, end, cut }
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort)
  return guard
}
