import { errorBody } from '../errors.ts'
import { type ByteReader, concatBytes, readerOf } from '../lib/bytes.ts'
import type { HeaderBag } from '../lib/headers.ts'
import { createEventScanner, type EventScanner, type SseEvent } from '../lib/sse.ts'
import type { Failure } from '../pool/outcome.ts'
import type { Upstream } from '../pool/upstream.ts'
import type { MaybePromise } from '../state/store.ts'
import { TransportError, type UpstreamResponse } from '../transport/transport.ts'
import { classifyAnswer, classifyStreamError } from '../vendors/classify.ts'
import type { RelayAnswer } from './request.ts'

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

interface CommitOptions {
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
export function commitAnswer(response: UpstreamResponse, options: CommitOptions): MaybePromise<Commit> {
  const { status, headers, body } = response
  const early = classifyAnswer({ status, headers, body: undefined, wallNow: options.wallNow })
  if (early !== undefined) return failedCommit(readerOf(body), early)
  const kind = answerKindOf(headers, options.stream)
  if (kind === 'events') return commitEvents(response, options)
  if (!(body instanceof Uint8Array)) return commitFirstByte(response, options, body)
  return kind === 'json' && isEventForm(body)
    ? commitEvents(response, options)
    : commitWhole(response, body, options)
}

function commitWhole(response: UpstreamResponse, bytes: Uint8Array, { wallNow }: CommitOptions): Commit {
  const { status, headers } = response
  const failure = classifyAnswer({ status, headers, body: bytes, wallNow })
  if (failure !== undefined) return { kind: 'failed', failure }
  return { kind: 'bytes', headers: withContentType(headers, 'application/json'), bytes }
}

/** JSON larger than what is held whole, and everything that is neither JSON nor events. */
async function commitFirstByte(
  response: UpstreamResponse,
  options: CommitOptions,
  reader: ByteReader,
): Promise<Commit> {
  const headers = withContentType(response.headers, 'application/json')
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return commitWhole(response, new Uint8Array(0), options)
    if (value.length > 0)
      return { kind: 'stream', headers, head: [value], reader, isEvents: false, opening: '' }
  }
}

function failedCommit(reader: ByteReader, failure: Failure): Commit {
  void reader.cancel().catch(() => {})
  return { kind: 'failed', failure }
}

async function commitEvents(response: UpstreamResponse, options: CommitOptions): Promise<Commit> {
  const { status } = response
  const headers = { ...response.headers, 'content-type': eventType(response.headers) }
  const reader = readerOf(response.body)
  const scanner = createEventScanner()
  const head: Uint8Array[] = []
  let size = 0
  let opening = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return endedEarly(response, options, { scanner, bytes: concatBytes(head) })
    head.push(value)
    size += value.length
    for (const event of scanner.push(value)) {
      const failure = failureIn(event, response, options)
      if (failure !== undefined) return failedCommit(reader, { ...failure, status })
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
      isEvents: isEventForm(concatBytes(head)),
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
  { wallNow }: CommitOptions,
): Failure | undefined {
  return classifyStreamError({ event, data }, headers, wallNow)
}

/**
 * The stream held no event: it may be JSON under a wrong label, or comments and nothing else, or cut in the middle
 * of its first event.
 */
function endedEarly(
  response: UpstreamResponse,
  options: CommitOptions,
  { scanner, bytes }: { scanner: EventScanner; bytes: Uint8Array },
): Commit {
  const { 'content-type': _, ...headers } = response.headers
  if (!isEventForm(bytes)) return commitWhole({ ...response, headers }, bytes, options)
  if (scanner.atBoundary()) return commitWhole({ ...response, headers }, new Uint8Array(0), options)
  for (const event of scanner.push(EVENT_END)) {
    const failure = failureIn(event, response, options)
    if (failure !== undefined) return { kind: 'failed', failure: { ...failure, status: response.status } }
  }
  throw new TransportError('broken', 'the stream ended inside its first event')
}

const EVENT_END = new TextEncoder().encode('\n\n')

/** The beginning of a body, and what can be done with the rest. */
interface Prefix {
  readonly bytes: Uint8Array
  /** The whole body again, prefix included; undefined when the prefix is the whole body. */
  readonly rest: (() => ByteReader) | undefined
  /** Gives the rest up, so that it pins no connection. */
  readonly cancel: () => void
}

/** Reads up to `atMost` bytes of a body (a little more when the last chunk passes them). */
export async function readPrefix(reader: Uint8Array | ByteReader, atMost: number): Promise<Prefix> {
  if (reader instanceof Uint8Array) return { bytes: reader, rest: undefined, cancel: () => {} }
  const chunks: Uint8Array[] = []
  let size = 0
  while (size < atMost) {
    const { done, value } = await reader.read()
    if (done) return { bytes: concatBytes(chunks), rest: undefined, cancel: () => {} }
    chunks.push(value)
    size += value.length
  }
  return {
    bytes: concatBytes(chunks),
    rest: () => chained(chunks, reader),
    cancel: () => void reader.cancel().catch(() => {}),
  }
}

function chained(head: readonly Uint8Array[], reader: ByteReader): ByteReader {
  const waiting = [...head]
  return {
    async read() {
      const value = waiting.shift()
      return value === undefined ? reader.read() : { done: false, value }
    },
    cancel: (reason) => reader.cancel(reason),
  }
}

/** How an answer is judged: whole, by its first event, or by its first byte. */
type AnswerKind = 'json' | 'events' | 'other'

/** A missing type is what the client asked for. */
export function answerKindOf(headers: HeaderBag, isStreamAsked: boolean): AnswerKind {
  const type = headers['content-type']?.toLowerCase().trim() ?? ''
  if (type === '') return isStreamAsked ? 'events' : 'json'
  if (type.includes('event-stream')) return 'events'
  return /[/+]json\b/.test(type) ? 'json' : 'other'
}

/** A type where the upstream forgot it: without one, SDKs hand out a raw string. */
function withContentType(headers: HeaderBag, type: string): HeaderBag {
  return headers['content-type']?.trim() ? headers : { ...headers, 'content-type': type }
}

const decoder = new TextDecoder()
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

/** The id of a Responses answer is among its first keys. */
export function idInAnswer(bytes: Uint8Array): string | undefined {
  return idInEvent(decoder.decode(bytes.subarray(0, 512)))
}

/** The first event of a Responses stream holds the answer's beginning. */
export function idInEvent(data: string): string | undefined {
  return ID.exec(data.slice(0, 1024))?.[1]
}

/** An upstream's own words about a request, for the client. */
export interface UpstreamErrorResponse {
  readonly answer: Omit<RelayAnswer, 'attempts'>
  /** Gives it up, so that it pins no connection. */
  readonly discard: () => void
}

/**
 * The answer as it came: status, type and body. Of a page only the status is handed on, in an envelope: clients
 * read JSON, and a page shows whose it is.
 */
export function upstreamErrorResponseOf(
  response: UpstreamResponse,
  prefix: Prefix,
  upstream: Upstream,
): UpstreamErrorResponse {
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
  const message = `The upstream refused the request with status ${status} and no usable error message.`
  return new TextEncoder().encode(JSON.stringify(errorBody('upstream_error', message)))
}
