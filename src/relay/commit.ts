import { readerOf, type ByteReader } from '../lib/byte-reader.ts'
import type { HeaderBag } from '../lib/headers.ts'
import { createEventScanner, type EventScanner, type SseEvent } from '../lib/sse.ts'
import { classifyAnswer, classifyStreamError } from '../pool/classify.ts'
import type { Failure } from '../pool/outcome.ts'
import type { MaybePromise } from '../state/store.ts'
import { joined } from './prefix.ts'
import { isEventForm, isPreamble, kindOf, typed } from './answer-form.ts'
import { TransportError, type UpstreamResponse } from './transport.ts'

/** A success that turned out to be one, or not. */
export type Commit =
  | { readonly kind: 'failed'; readonly failure: Failure }
  | {
      readonly kind: 'bytes'
      readonly headers: HeaderBag
      readonly bytes: Uint8Array
    }
  | {
      readonly kind: 'stream'
      readonly headers: HeaderBag
      readonly head: readonly Uint8Array[]
      readonly reader: ByteReader
      readonly isEvents: boolean
      /** The data of its first event; empty where it has none. */
      readonly opening: string
    }

interface Asked {
  readonly stream: boolean
  readonly wallNow: number
}

/** Bounds of what is held back while a stream shows nothing but comments. */
const PEEK_CHUNKS = 64
const PEEK_BYTES = 262_144

/**
 * Waits until an answer with a success status has shown that it is one. Until then nothing has reached the
 * client, and the next upstream can be tried.
 *
 * @throws TransportError when the upstream breaks off before that
 */
export function commitAnswer(response: UpstreamResponse, asked: Asked): MaybePromise<Commit> {
  const { status, headers, body } = response
  const early = classifyAnswer({ status, headers, body: undefined, wallNow: asked.wallNow })
  if (early !== undefined) return refuse(readerOf(body), early)
  const kind = kindOf(headers, asked.stream)
  if (kind === 'events') return commitEvents(response, asked)
  if (!(body instanceof Uint8Array)) return commitFirstByte(response, asked, body)
  return kind === 'json' && isEventForm(body)
    ? commitEvents(response, asked)
    : commitWhole(response, body, asked)
}

function commitWhole(response: UpstreamResponse, bytes: Uint8Array, { wallNow }: Asked): Commit {
  const { status, headers } = response
  const failure = classifyAnswer({ status, headers, body: bytes, wallNow })
  if (failure !== undefined) return { kind: 'failed', failure }
  return { kind: 'bytes', headers: typed(headers, 'application/json'), bytes }
}

/** JSON larger than what is held whole, and everything that is neither JSON nor events. */
async function commitFirstByte(
  response: UpstreamResponse,
  asked: Asked,
  reader: ByteReader,
): Promise<Commit> {
  const headers = typed(response.headers, 'application/json')
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return commitWhole(response, new Uint8Array(0), asked)
    if (value.length > 0)
      return { kind: 'stream', headers, head: [value], reader, isEvents: false, opening: '' }
  }
}

function refuse(reader: ByteReader, failure: Failure): Commit {
  void reader.cancel().catch(() => {})
  return { kind: 'failed', failure }
}

async function commitEvents(response: UpstreamResponse, asked: Asked): Promise<Commit> {
  const { status } = response
  const headers = { ...response.headers, 'content-type': eventType(response.headers) }
  const reader = readerOf(response.body)
  const scanner = createEventScanner()
  const head: Uint8Array[] = []
  let size = 0
  let opening = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return endedEarly(response, asked, { scanner, bytes: joined(head) })
    head.push(value)
    size += value.length
    for (const event of scanner.push(value)) {
      const failure = failureIn(event, response, asked)
      if (failure !== undefined) return refuse(reader, { ...failure, status })
      if (opening === '') opening = event.data
      if (isPreamble(event)) continue
      return { kind: 'stream', headers, head, reader, isEvents: true, opening }
    }
    if (head.length < PEEK_CHUNKS && size < PEEK_BYTES) continue
    return {
      kind: 'stream',
      headers,
      head,
      reader,
      isEvents: isEventForm(joined(head)),
      opening,
    }
  }
}

/** What the upstream called it, where that is right; JSON's label on events would make clients parse them as JSON. */
function eventType(headers: HeaderBag): string {
  const type = headers['content-type'] ?? ''
  return type.toLowerCase().includes('event-stream') ? type : 'text/event-stream; charset=utf-8'
}

function failureIn(
  { event, data }: SseEvent,
  { headers }: UpstreamResponse,
  { wallNow }: Asked,
): Failure | undefined {
  return classifyStreamError({ event, data, headers, wallNow })
}

/**
 * The stream held no event: it may be JSON under a wrong label, or comments and nothing else, or cut in the middle
 * of its first event.
 */
function endedEarly(
  response: UpstreamResponse,
  asked: Asked,
  { scanner, bytes }: { scanner: EventScanner; bytes: Uint8Array },
): Commit {
  const { 'content-type': _, ...headers } = response.headers
  if (!isEventForm(bytes)) return commitWhole({ ...response, headers }, bytes, asked)
  if (scanner.atBoundary()) return commitWhole({ ...response, headers }, new Uint8Array(0), asked)
  for (const event of scanner.push(BLANK_LINE)) {
    const failure = failureIn(event, response, asked)
    if (failure !== undefined) return { kind: 'failed', failure: { ...failure, status: response.status } }
  }
  throw new TransportError('broken', 'the stream ended inside its first event')
}

const BLANK_LINE = new TextEncoder().encode('\n\n')
