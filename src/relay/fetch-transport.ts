import { type HeaderBag, headerBagOf } from '../lib/headers.ts'
import type { Clock } from './clock.ts'
import { bodyOf } from './fetch-body.ts'
import { createWatch, type Watch } from './fetch-watch.ts'
import { type Send, TransportError, type UpstreamRequest, type UpstreamResponse } from './transport.ts'

/** What is asked of a runtime's fetch. */
export type Fetch = (url: string, init: FetchInit) => Promise<Response>

/** The part of `RequestInit` that every runtime knows. */
export interface FetchInit {
  readonly method: string
  readonly headers: Record<string, string>
  readonly body?: Uint8Array<ArrayBuffer>
  readonly redirect: 'manual'
  readonly signal: AbortSignal
}

export interface FetchTransportOptions {
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
    const watch = createWatch({ timeoutMs: request.timeoutMs, signal, after })
    const response = await watch.within(open(call, request, watch.signal))
    try {
      return await receive(request, response, watch)
    } catch (error) {
      watch.cut()
      response.body?.cancel().catch(() => {})
      throw error
    }
  }
}

/** The answer as soon as its headers are there; one that comes too late is thrown away. */
async function open(call: Fetch, request: UpstreamRequest, signal: AbortSignal): Promise<Response> {
  signal.throwIfAborted()
  const body = joined(request.body ?? [])
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

async function receive(
  request: UpstreamRequest,
  response: Response,
  watch: Watch,
): Promise<UpstreamResponse> {
  const headers = headerBagOf(response.headers)
  const { status, body } = response
  if (status === 0 || response.type === 'opaqueredirect') {
    // Where fetch hides what a redirect was, it is still one, and its target is of no interest.
    watch.cut()
    return { status: 302, headers: {}, body: new Uint8Array(0) }
  }
  if (body === null) {
    watch.end()
    return { status, headers, body: new Uint8Array(0) }
  }
  const decoded = withoutCoding(headers)
  const limit = request.gatherBytes(status, decoded)
  const announced = Number(decoded['content-length'] ?? Number.NaN)
  const reader = body.getReader()
  const gathered = await gather(reader, announced > limit ? 0 : limit, watch)
  if (gathered.done) {
    watch.end()
    if (gathered.bytes.byteLength < announced) throw new TransportError('broken', 'the body is too short')
    return { status, headers: decoded, body: gathered.bytes }
  }
  return { status, headers: decoded, body: bodyOf({ reader, first: gathered.bytes, announced, watch }) }
}

/** Reads until the end or until more than `limit` bytes are there. */
async function gather(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  limit: number,
  watch: Watch,
): Promise<{ bytes: Uint8Array; done: boolean }> {
  const chunks: Uint8Array[] = []
  if (limit <= 0) return { bytes: joined(chunks), done: false }
  for (let bytes = 0; bytes <= limit;) {
    const { done, value } = await watch.within(reader.read())
    if (done) return { bytes: joined(chunks), done }
    chunks.push(value)
    bytes += value.byteLength
  }
  return { bytes: joined(chunks), done: false }
}

/**
 * The headers of the decoded body.
 *
 * @throws TransportError for a coding that not every fetch undoes
 */
function withoutCoding(headers: HeaderBag): HeaderBag {
  const coding = headers['content-encoding']?.trim().toLowerCase() ?? ''
  if (coding === '' || coding === 'identity') return headers
  if (!decodedByFetch.has(coding)) throw new TransportError('undecodable', 'the content encoding is unknown')
  const bag: Record<string, string> = Object.assign(Object.create(null), headers)
  delete bag['content-encoding']
  delete bag['content-length']
  return bag
}

const decodedByFetch: ReadonlySet<string> = new Set(['gzip', 'x-gzip', 'deflate', 'br'])

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.byteLength
  }
  return whole
}
