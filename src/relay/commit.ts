import { errorBody } from '../errors.ts'
import { type ByteReader, concatBytes, readerOf } from '../lib/bytes.ts'
import type { HeaderBag } from '../lib/headers.ts'
import { createEventScanner, type EventScanner, type SseEvent } from '../lib/sse.ts'
import type { Failure } from '../pool/outcome.ts'
import type { MaybePromise } from '../state/store.ts'
import { TransportError, type UpstreamResponse } from '../transport/transport.ts'
import { classifyAnswer, classifyStreamError } from '../vendors/classify.ts'

/** A success that turned out to be one: from here on the client gets it. */
export type Commit =
  | { readonly kind: 'bytes'; readonly headers: HeaderBag; readonly bytes: Uint8Array }
  | {
      readonly kind: 'stream'
      readonly headers: HeaderBag
      /** What was read already. */
      readonly head: readonly Uint8Array[]
      readonly reader: ByteReader
      readonly isEvents: boolean
      /** The data of its first event; empty where it has none. */
      readonly opening: string
    }

/** Bounds of what is held back while a stream shows nothing but comments. */
const PEEK_CHUNKS = 64
const PEEK_BYTES = 262_144

/**
 * Waits until an answer with a success status has shown that it is one, or how it failed. Until then nothing has
 * reached the client, and the next upstream can be tried.
 *
 * @param stream whether the client has asked for one
 * @throws TransportError when the upstream breaks off before that
 */
export function commitAnswer(
  response: UpstreamResponse,
  stream: boolean,
  wallNow: number,
): MaybePromise<Commit | Failure> {
  const { status, headers, body } = response
  const early = classifyAnswer({ status, headers, body: undefined, wallNow })
  if (early !== undefined) {
    discard(body)
    return early
  }
  const kind = answerKindOf(headers, stream)
  if (kind === 'events') return commitEvents(response, wallNow)
  if (!(body instanceof Uint8Array)) return commitFirstByte(response, body, wallNow)
  return kind === 'json' && isEventForm(body)
    ? commitEvents(response, wallNow)
    : commitWhole(response, body, wallNow)
}

/** How an answer is judged: whole, by its first event, or by its first byte. A missing type is what the client asked for. */
export function answerKindOf(headers: HeaderBag, isStreamAsked: boolean): 'json' | 'events' | 'other' {
  const type = headers['content-type']?.toLowerCase().trim() ?? ''
  if (type === '') return isStreamAsked ? 'events' : 'json'
  if (type.includes('event-stream')) return 'events'
  return /[/+]json\b/.test(type) ? 'json' : 'other'
}

function commitWhole(response: UpstreamResponse, bytes: Uint8Array, wallNow: number): Commit | Failure {
  const { status, headers } = response
  const failure = classifyAnswer({ status, headers, body: bytes, wallNow })
  return failure ?? { kind: 'bytes', headers: withContentType(headers), bytes }
}

/** JSON where the upstream forgot the type: without one, SDKs hand out a raw string. */
function withContentType(headers: HeaderBag): HeaderBag {
  return headers['content-type']?.trim() ? headers : { ...headers, 'content-type': 'application/json' }
}

/** JSON larger than what is held whole, and everything that is neither JSON nor events. */
async function commitFirstByte(
  response: UpstreamResponse,
  reader: ByteReader,
  wallNow: number,
): Promise<Commit | Failure> {
  const headers = withContentType(response.headers)
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return commitWhole(response, new Uint8Array(0), wallNow)
    if (value.length > 0)
      return { kind: 'stream', headers, head: [value], reader, isEvents: false, opening: '' }
  }
}

async function commitEvents(response: UpstreamResponse, wallNow: number): Promise<Commit | Failure> {
  const { status } = response
  const headers = { ...response.headers, 'content-type': eventType(response.headers) }
  const reader = readerOf(response.body)
  const scanner = createEventScanner()
  const head: Uint8Array[] = []
  let size = 0
  let opening = ''
  let isBegun = false
  while (!isBegun && head.length < PEEK_CHUNKS && size < PEEK_BYTES) {
    const { done, value } = await reader.read()
    if (done) return endedEarly(response, { scanner, bytes: concatBytes(head), wallNow })
    head.push(value)
    size += value.length
    for (const event of scanner.push(value)) {
      const failure = classifyStreamError(event, response.headers, wallNow)
      if (failure !== undefined) {
        discard(reader)
        return { ...failure, status }
      }
      if (opening === '') opening = event.data
      isBegun = !isPreamble(event)
      if (isBegun) break
    }
  }
  const isEvents = isBegun || isEventForm(concatBytes(head))
  return { kind: 'stream', headers, head, reader, isEvents, opening }
}

/** What the upstream called it, where that is right; JSON's label on events would make clients parse them as JSON. */
function eventType(headers: HeaderBag): string {
  const type = headers['content-type'] ?? ''
  return type.toLowerCase().includes('event-stream') ? type : 'text/event-stream; charset=utf-8'
}

/**
 * The stream held no event: it may be JSON under a wrong label, or comments and nothing else, or cut in the middle
 * of its first event.
 */
function endedEarly(
  response: UpstreamResponse,
  read: { readonly scanner: EventScanner; readonly bytes: Uint8Array; readonly wallNow: number },
): Commit | Failure {
  const { scanner, bytes, wallNow } = read
  const { 'content-type': _, ...headers } = response.headers
  if (!isEventForm(bytes)) return commitWhole({ ...response, headers }, bytes, wallNow)
  if (scanner.atBoundary()) return commitWhole({ ...response, headers }, new Uint8Array(0), wallNow)
  for (const event of scanner.push(EVENT_END)) {
    const failure = classifyStreamError(event, response.headers, wallNow)
    if (failure !== undefined) return { ...failure, status: response.status }
  }
  throw new TransportError('broken', 'the stream ended inside its first event')
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const EVENT_END = encoder.encode('\n\n')
const OPENING_BRACE = 0x7b

/** Whether bytes begin as a server-sent event stream does, whatever their label says. */
function isEventForm(bytes: Uint8Array): boolean {
  if (bytes[0] === OPENING_BRACE) return false
  return /^\s*(data|event|id|retry)?:/.test(decoder.decode(bytes.subarray(0, 256)))
}

/** Lifecycle events that come before any content: an error behind them can still go to another upstream. */
const PREAMBLE = /^response\.(created|queued|in_progress)$/
/** `type` is the first key of an event, or the second behind its number. */
const EVENT_TYPE = /^\s*\{\s*(?:"sequence_number"\s*:\s*\d+\s*,\s*)?"type"\s*:\s*"([a-z_.]+)"/

/** Whether an event shows no content yet. */
function isPreamble({ event, data }: SseEvent): boolean {
  if (data.trim() === '' || PREAMBLE.test(event)) return true
  const type = EVENT_TYPE.exec(data)?.[1]
  return type !== undefined && PREAMBLE.test(type)
}

const ID = /"id"\s*:\s*"([^"\\]{1,256})"/

/** The id of a stored answer: among its first keys, or among those of its first event. */
export function answerIdOf(commit: Commit): string | undefined {
  const start =
    commit.kind === 'bytes' ? decoder.decode(commit.bytes.subarray(0, 512)) : commit.opening.slice(0, 1024)
  return ID.exec(start)?.[1]
}

type Prefix = Awaited<ReturnType<typeof readPrefix>>

/** Up to `atMost` bytes of a body (a little more when the last chunk passes them), and the whole body again. */
export async function readPrefix(body: Uint8Array | ByteReader, atMost: number) {
  if (body instanceof Uint8Array) return { bytes: body, body }
  const chunks: Uint8Array[] = []
  let size = 0
  while (size < atMost) {
    const { done, value } = await body.read()
    if (done) {
      const bytes = concatBytes(chunks)
      return { bytes, body: bytes }
    }
    chunks.push(value)
    size += value.length
  }
  return { bytes: concatBytes(chunks), body: chained(chunks, body) }
}

/** `waiting` and then the rest. */
function chained(waiting: Uint8Array[], reader: ByteReader): ByteReader {
  return {
    async read() {
      const value = waiting.shift()
      return value === undefined ? reader.read() : { done: false, value }
    },
    cancel: (reason) => reader.cancel(reason),
  }
}

/** A body that nobody reads must not pin its connection. */
export function discard(body: UpstreamResponse['body'] | undefined): void {
  if (!(body instanceof Uint8Array)) void body?.cancel().catch(() => {})
}

/**
 * An upstream's own words about a request, for the client: status, type and body as they came. Of a page only the
 * status is handed on, in an envelope: clients read JSON, and a page shows whose it is.
 */
export function upstreamErrorOf(
  { status, headers }: UpstreamResponse,
  { bytes, body }: Prefix,
): UpstreamResponse {
  const start = decoder.decode(bytes.subarray(0, 256)).trimStart()
  const asJson = { ...headers, 'content-type': 'application/json' }
  if (start.startsWith('<') || headers['content-type']?.includes('html') === true) {
    discard(body)
    const message = `The upstream refused the request with status ${status} and no usable error message.`
    const envelope = JSON.stringify(errorBody('upstream_error', message))
    return { status, headers: asJson, body: encoder.encode(envelope) }
  }
  const isUntypedJson = !headers['content-type'] && start.startsWith('{')
  return { status, headers: isUntypedJson ? asJson : headers, body }
}
