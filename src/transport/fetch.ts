import type { AbortSignalLike } from '../lib/abort.ts'
import { type ByteChunk, concatBytes, END } from '../lib/bytes.ts'
import type { Clock } from '../lib/clock.ts'
import { type HeaderBag, headerBagOf, withoutCoding } from '../lib/headers.ts'
import type { UpstreamRoute } from '../pool/route.ts'
import {
  codingsOfAnswer,
  isPlain,
  PROXY_WANTS_LOGIN,
  signIn,
  TransportError,
  UNDECODABLE,
  type Send,
  type UpstreamRequest,
  type UpstreamResponse,
} from './transport.ts'

/** What is asked of a runtime's fetch. A route is given only to those that have said what they can do with one. */
export type Fetch = (url: string, init: FetchInit, route?: UpstreamRoute) => Promise<Response>

/** The part of `RequestInit` that every runtime knows. */
interface FetchInit {
  readonly method: string
  readonly headers: Record<string, string>
  readonly body?: Uint8Array<ArrayBuffer>
  readonly redirect: 'manual'
  readonly signal: AbortSignal
}

/**
 * The transport for every runtime that has fetch; `call` is the runtime's own unless given.
 *
 * What fetch hides stays hidden: connecting has no deadline of its own (`timeoutMs` covers it), dead connections are
 * the runtime's to replace, and a runtime that takes a reset for an orderly end of a body without a length can't be
 * caught at it. Statuses are those that it lets through. It decodes gzip, deflate and br by itself and leaves their headers
 * in place: they are dropped here.
 */
export function createFetchTransport(
  after: Clock['after'],
  call: Fetch = (url, init) => fetch(url, init),
): Send {
  return async (request, signal) => {
    const guard = createFetchGuard(request.timeoutMs, signal, after)
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
    const response = await call(request.url, init, request.route)
    const isOfProxy = response.status === 407 && request.route?.proxy !== undefined
    if (signal.aborted || isOfProxy) response.body?.cancel().catch(() => {})
    // Plain HTTP is asked of the proxy itself, whose answer looks like the upstream's.
    if (isOfProxy) throw new TransportError('proxy', 'status 407', PROXY_WANTS_LOGIN)
    return response
  } catch (error) {
    if (request.route?.proxy !== undefined) throw proxiedFailure(error)
    if (canBeWritten(request.url, init)) throw error
    throw new TransportError('not-sent', 'fetch refuses the request')
  }
}

/** Through a proxy there is no other connection than the one to it that could be refused. */
function proxiedFailure(error: unknown): TransportError {
  const failure = fetchFailure(error)
  const { reason = '' } = failure
  return /^(?:connection refused|(?:network|host) unreachable)$/.test(reason)
    ? new TransportError('proxy', reason, `no connection to the proxy: ${reason}`)
    : failure
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
  { gatherBytes, onGathered }: UpstreamRequest,
  response: Response,
  guard: FetchGuard,
): Promise<UpstreamResponse> {
  const { status, body } = response
  if (status === 0 || response.type === 'opaqueredirect') {
    // Where fetch hides what a redirect was, it is still one, and its target is of no interest.
    guard.cut()
    return { status: 302, headers: {}, body: NOTHING }
  }
  const given = headerBagOf(response.headers)
  if (body === null) {
    guard.end()
    return { status, headers: given, body: NOTHING }
  }
  const { headers, mayBeCoded } = decodedHeaders(given)
  const limit = gatherBytes(status, headers)
  const announced = Number(headers['content-length'])
  const reader = createBody(body.getReader(), { announced, mayBeCoded }, guard)
  const whole = limit === 0 || announced > limit ? undefined : await reader.gather(limit, onGathered)
  return { status, headers, isEndSure: announced >= 0, body: whole ?? reader }
}

const NOTHING: Uint8Array = new Uint8Array(0)
const DECODED_BY_FETCH: ReadonlySet<string> = new Set(['gzip', 'x-gzip', 'deflate', 'br'])

/** The headers of the decoded body, and whether it may still be in a coding, since not every fetch undoes all of them. */
function decodedHeaders(headers: HeaderBag): { headers: HeaderBag; mayBeCoded: boolean } {
  const label = headers['content-encoding']?.trim().toLowerCase()
  if (label === undefined) return { headers, mayBeCoded: false }
  const isDecoded = DECODED_BY_FETCH.has(label)
  const mayBeCoded = !isDecoded && codingsOfAnswer(headers).length > 0
  const length = isDecoded || mayBeCoded ? undefined : headers['content-length']
  const left = { ...withoutCoding(headers), ...(length !== undefined && { 'content-length': length }) }
  return { headers: left, mayBeCoded }
}

/**
 * The body as a reader that reads one chunk for each that is taken from it, and none before. It rejects when fewer bytes
 * come than were `announced` (NaN where none were): not every runtime's fetch does. One that `mayBeCoded` is taken only
 * where it begins as JSON or events.
 */
function createBody(
  source: ReadableStreamDefaultReader<Uint8Array>,
  { announced, mayBeCoded }: { announced: number; mayBeCoded: boolean },
  guard: FetchGuard,
) {
  let received = 0
  let unread = NOTHING
  let isOver = false

  async function next(): Promise<Uint8Array | undefined> {
    const { done, value } = await guard.within(source.read())
    if (!done) {
      if (mayBeCoded && received === 0 && !isPlain(value)) {
        guard.cut()
        throw new TransportError('undecodable', 'the content encoding is unknown', UNDECODABLE)
      }
      received += value.byteLength
      return value
    }
    isOver = true
    guard.end()
    if (received < announced)
      throw new TransportError('broken', 'the body is too short', 'closed in the middle of its answer')
    return undefined
  }

  return {
    /** The whole body where it ends within `limit` bytes; of a longer one nothing is lost. */
    async gather(limit: number, onGathered: UpstreamRequest['onGathered']): Promise<Uint8Array | undefined> {
      const chunks: Uint8Array[] = []
      while (received <= limit) {
        const chunk = await next()
        if (chunk === undefined) return concatBytes(chunks)
        chunks.push(chunk)
        if (onGathered?.(chunk) === false) break
      }
      unread = concatBytes(chunks)
      return undefined
    },
    async read(): Promise<ByteChunk> {
      const failure = guard.failure()
      if (failure !== undefined) throw failure
      if (isOver) return END
      const value = unread.byteLength > 0 ? unread : await next()
      unread = NOTHING
      return value === undefined ? END : { done: false, value }
    },
    async cancel(): Promise<void> {
      isOver = true
      guard.cut()
      source.cancel().catch(() => {})
    },
  }
}

/** What fetch, or the body of its answer, threw as one of ours. */
function fetchFailure(error: unknown): TransportError {
  if (error instanceof TransportError) return error
  const { failure, reason } = signIn(errorText(error))
  return new TransportError(failure, reason, reason)
}

/** Codes and messages of an error and of the causes below it. */
function errorText(error: unknown, depth = 0): string {
  if (typeof error !== 'object' || error === null || depth > 3) return ''
  const { code, name, message, cause, errors } = error as Record<string, unknown>
  const [first] = Array.isArray(errors) ? errors : []
  const own = [code, name, message].filter((part) => typeof part === 'string').join(' ')
  return `${own} ${errorText(cause, depth + 1)} ${errorText(first, depth + 1)}`
}

type FetchGuard = ReturnType<typeof createFetchGuard>

/** Ends one fetch when its caller leaves or its upstream is silent, whether or not the runtime obeys. */
function createFetchGuard(timeoutMs: number, callerSignal: AbortSignalLike, after: Clock['after']) {
  const controller = new AbortController()
  let failure: TransportError | undefined
  let rejectWaiting: (error: TransportError) => void = () => {}

  /** All is read. */
  const end = (): void => callerSignal.removeEventListener('abort', onAbort)
  /** Nobody wants the rest. */
  const cut = (): void => {
    end()
    controller.abort()
  }
  const fail = (error: TransportError): void => {
    failure = error
    cut()
    rejectWaiting(error)
  }
  const onAbort = (): void => fail(new TransportError('aborted', 'the caller has left'))
  const onSilence = (): void =>
    fail(new TransportError('timeout', `silence for ${timeoutMs} ms`, `silent for ${timeoutMs / 1000} s`))

  /** Waits for `work`, the caller's abort or a silence, whichever comes first. One at a time. @throws TransportError */
  const within = async <T>(work: Promise<T>): Promise<T> => {
    const failing = new Promise<never>((_resolve, reject) => {
      rejectWaiting = reject
      if (failure) reject(failure)
    })
    const forgetTimer = after(timeoutMs, onSilence)
    try {
      // The race also listens to the loser, whose failure would go unhandled otherwise.
      return await Promise.race([work, failing])
    } catch (error) {
      failure ??= fetchFailure(error)
      cut()
      throw failure
    } finally {
      forgetTimer()
    }
  }

  if (callerSignal.aborted) onAbort()
  else callerSignal.addEventListener('abort', onAbort)
  // `signal` is for fetch: aborted when the request has failed or nobody wants it any longer.
  return { signal: controller.signal, failure: () => failure, within, end, cut }
}
