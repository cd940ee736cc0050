import { errorBody } from '../errors.ts'
import { type ByteChunk, type ByteReader, concatBytes, CR, isMarkCut, LF, markSize } from '../lib/bytes.ts'
import type { HeaderBag } from '../lib/headers.ts'
import { createEventScanner, type SseEvent } from '../lib/sse.ts'
import type { Failure } from '../pool/outcome.ts'
import type { Endpoint } from '../pool/upstream.ts'
import type { MaybePromise } from '../state/store.ts'
import type { UpstreamResponse } from '../transport/transport.ts'
import { bareFailure, classifyEvent, classifyWhole } from '../vendors/classify.ts'
import { judgeEvent } from '../vendors/judge.ts'

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
      /** Whether the end of the body is told by its framing, so that a clean one is none that a proxy made up. */
      readonly isEndSure: boolean
      /** The data of its first event; empty where it has none. */
      readonly opening: string
    }

/** A success that was none. */
export interface Rejected {
  readonly kind: 'rejected'
  readonly failure: Failure
  /** What the client gets where this ends the request: the answer as it was, or its error under the status it means. */
  readonly answer: RefusedResponse | undefined
}

/** An upstream's own words that end a request. */
export interface RefusedResponse extends UpstreamResponse {
  /** The same as an HTTP error, where they came as an event of a stream. */
  readonly asError?: UpstreamResponse
}

/** What was asked, as far as the form of its answer goes. */
export interface Asked {
  readonly endpoint: Endpoint
  /** Undefined where the request does not say so in a place that is read. */
  readonly stream: boolean | undefined
  /** Whether the answer may be any text, or sound: then only an error in JSON is none. */
  readonly isFree: boolean
  /** Whether somebody else may still be asked: then an answer in the other form is not the last word. */
  readonly hasOthers: boolean
  readonly wallNow: number
  /** Told each chunk that is read before the commit point. False = what is held now is committed as it is. */
  readonly onRead: (chunk: Uint8Array) => boolean
}

/** Of what is held back while a stream shows no content. */
const MOST_PREAMBLE_BYTES = 262_144
/** Answers up to this size are complete before the client gets a byte. */
export const MOST_WHOLE_BYTES = 8_388_608

/**
 * Waits until an answer with a success status has shown that it is one, or how it failed. Until then nothing has reached
 * the client, and the next upstream can be tried. What it begins with decides, not what it is called.
 *
 * @throws TransportError when the upstream breaks off before that
 */
export function commitAnswer(response: UpstreamResponse, asked: Asked): MaybePromise<Commit | Rejected> {
  const { status, body } = response
  if (status === 204 || status === 205) return rejected(response, bareFailure('badAnswer', status))
  return body instanceof Uint8Array ? commitBytes(response, body, asked) : commitReader(response, body, asked)
}

type Form = 'blank' | 'json' | 'events' | 'page' | 'other'
const FIELDS = ['data', 'event', 'id', 'retry']

/** What a body is by its first bytes; undefined while more could tell. */
export function formOf(bytes: Uint8Array, isAll = false): Form | undefined {
  const at = blankBytes(bytes)
  if (at === bytes.length) return 'blank'
  const start = decoder.decode(bytes.subarray(at, at + 16))
  if (start.startsWith('{') || start.startsWith('[')) return 'json'
  if (start.startsWith('<')) return 'page'
  if (/^(data|event|id|retry)?:/.test(start)) return 'events'
  const rest = bytes.subarray(at)
  const isUndecided = FIELDS.some((name) => name.startsWith(start)) || isMarkCut(rest)
  return isUndecided && !isAll ? undefined : 'other'
}

const WHITE_SPACE: ReadonlySet<number | undefined> = new Set([0x20, 0x09, LF, CR])

/** How many bytes at the front are a byte order mark or white space. */
function blankBytes(bytes: Uint8Array): number {
  let at = markSize(bytes)
  while (WHITE_SPACE.has(bytes[at])) at++
  return at
}

/** Sound, pictures and files are taken as they come. */
const MEDIA = /^\s*(audio|image|video)\/|octet-stream|zip/i
const typeOf = ({ headers }: UpstreamResponse): string => headers['content-type'] ?? ''
const isMedia = (response: UpstreamResponse): boolean => MEDIA.test(typeOf(response))

/** What is no answer whatever was asked. A free text may begin with an angle bracket. */
const isPage = (response: UpstreamResponse, form: Form | undefined, { isFree }: Asked): boolean =>
  form === 'page' && (!isFree || /html/i.test(typeOf(response)))
/** A free text may begin like an event. */
const isEvents = (response: UpstreamResponse, form: Form | undefined, { isFree }: Asked): boolean =>
  form === 'events' && (!isFree || /event-stream/i.test(typeOf(response)))

function commitBytes(
  response: UpstreamResponse,
  bytes: Uint8Array,
  asked: Asked,
): MaybePromise<Commit | Rejected> {
  const { status, headers } = response
  const { endpoint, isFree, wallNow } = asked
  const form = formOf(bytes, true)
  const whole: Commit = { kind: 'bytes', headers: withType(headers, form), bytes }
  if (isEvents(response, form, asked)) {
    const rest: ByteReader = { read: async () => ({ done: true }), cancel: async () => {} }
    return commitEvents({ response, reader: rest, head: [bytes] }, asked)
  }
  if (isFree && form !== 'json' && form !== 'blank' && !isPage(response, form, asked)) return whole
  if (form === 'other' && isMedia(response)) return whole
  const failure = classifyWhole({ status, headers, body: bytes, wallNow }, endpoint)
  if (failure !== undefined)
    return isFree && form === 'json' && !isSaid(failure) ? whole : rejected(response, failure, bytes)
  return asked.stream === true && asked.hasOthers && isSpoken(endpoint)
    ? rejected(response, bareFailure('otherForm', status), bytes)
    : whole
}

/** Endpoints whose answers are read word by word where a stream is asked. */
const isSpoken = (endpoint: Endpoint): boolean =>
  endpoint === 'chat' || endpoint === 'completions' || endpoint === 'responses'

/** Whether a failure is told by the answer itself, and no guess of ours at what it lacks. */
const isSaid = ({ class: kind, code }: Failure): boolean =>
  kind !== 'unfit' && code !== 'upstream_bad_response'

/** The label that is right for what came: without one, SDKs hand out a raw string. */
function withType(headers: HeaderBag, form: Form | undefined): HeaderBag {
  const type = headers['content-type'] ?? ''
  if (form === 'json' && !/[/+]json\b/i.test(type)) return { ...headers, 'content-type': 'application/json' }
  if (form === 'events' && !/event-stream/i.test(type))
    return { ...headers, 'content-type': 'text/event-stream; charset=utf-8' }
  return headers
}

/** A body that is not there yet: its first bytes tell how it goes on. */
async function commitReader(
  response: UpstreamResponse,
  reader: ByteReader,
  asked: Asked,
): Promise<Commit | Rejected> {
  const { status } = response
  const head: Uint8Array[] = []
  let start: Uint8Array = NOTHING
  let form: Form | undefined = 'blank'
  while (form === 'blank' || form === undefined) {
    const { done, value } = await reader.read()
    if (done) return commitBytes(response, concatBytes(head), asked)
    head.push(value)
    if (!asked.onRead(value)) break
    start = form === 'blank' ? value : concatBytes([start, value])
    form = formOf(start)
  }
  if (isEvents(response, form, asked)) return commitEvents({ response, reader, head }, asked)
  const isJunk = form === 'other' && !asked.isFree && !isMedia(response)
  if (isJunk || isPage(response, form, asked)) {
    discard(reader)
    return rejected(response, bareFailure('badAnswer', status))
  }
  return streamed({ response, reader, head }, form, '')
}

/** An answer that is being read. */
interface Reading {
  readonly response: UpstreamResponse
  readonly reader: ByteReader
  readonly head: Uint8Array[]
}

const streamed = ({ response, reader, head }: Reading, form: Form | undefined, opening: string): Commit => ({
  kind: 'stream',
  headers: withType(response.headers, form),
  head,
  reader,
  isEvents: form === 'events',
  isEndSure: response.isEndSure === true,
  opening,
})

/**
 * Holds events back until the first with content in it. Of a stream that nobody asked for, all is held back while
 * somebody else may still answer.
 */
async function commitEvents(reading: Reading, asked: Asked): Promise<Commit | Rejected> {
  const { response, reader, head } = reading
  const scanner = createEventScanner()
  const isUnasked = asked.stream === false && isSpoken(asked.endpoint) && asked.hasOthers
  let most = MOST_PREAMBLE_BYTES
  let size = 0
  let opening = ''
  let hasContent = false
  let hasStopped = false
  /** What an event decides; undefined = nothing. */
  function decide(event: SseEvent): MaybePromise<Commit | Rejected> | undefined {
    const { what, data } = judgeEvent(event, asked.endpoint)
    if (opening === '') opening = event.data
    if (what === 'end' || what === 'done') hasStopped = true
    if (what === 'content' || what === 'junk') {
      hasContent = true
      hasStopped ||= FINISH_REASON.test(event.data)
      most = MOST_WHOLE_BYTES
      if (!isUnasked) return streamed(reading, 'events', opening)
    }
    if (what === 'done') return whole()
    if (what !== 'error' || (hasContent && hasStopped)) return undefined
    discard(reader)
    const failure = classifyEvent(data, { headers: response.headers, wallNow: asked.wallNow })
    return rejectedEvent(reading, { failure, data }, asked)
  }
  /** All of it is there. */
  function whole(): Rejected {
    discard(reader)
    const name = hasContent ? 'otherForm' : hasStopped ? 'empty' : 'brokenAnswer'
    const bytes = hasContent || hasStopped ? concatBytes(head) : undefined
    const headers = withType(response.headers, 'events')
    return rejected({ ...response, headers }, bareFailure(name, response.status), bytes)
  }
  /** Events without the line end that would have ended them. */
  let unended: readonly SseEvent[] = []
  /** Behind a reason to stop or a last word it does not matter how a stream ends. */
  function ended(error: unknown): ByteChunk {
    unended = scanner.end()
    if (hasStopped || unended.some((event) => judgeEvent(event, asked.endpoint).what === 'done'))
      return { done: true }
    throw error
  }
  for (let at = 0; size < most; at++) {
    let chunk = head[at]
    if (chunk === undefined) {
      const { done, value } = await reader.read().catch(ended)
      if (done) break
      chunk = value
      head.push(chunk)
      if (!asked.onRead(chunk)) size = MOST_WHOLE_BYTES
    }
    size += chunk.length
    for (const event of scanner.push(chunk)) {
      const decided = decide(event)
      if (decided !== undefined) return decided
    }
  }
  if (size >= most) return streamed(reading, 'events', opening)
  for (const event of [...unended, ...scanner.end()]) {
    const decided = decide(event)
    if (decided !== undefined) return decided
  }
  return whole()
}

/** @param bytes all of its body, where that may be handed on */
function rejected(response: UpstreamResponse, failure: Failure, bytes?: Uint8Array): Rejected {
  if (bytes === undefined) discard(response.body)
  const isUnfit = failure.class === 'unfit'
  if (bytes === undefined || !(isUnfit || failure.isForClient === true))
    return { kind: 'rejected', failure, answer: undefined }
  const status = isUnfit ? response.status : statusFor(failure)
  const headers = withType(response.headers, formOf(bytes, true))
  return { kind: 'rejected', failure, answer: { status, headers, body: bytes } }
}

/** An error as an event: who asked for a stream gets it as the stream that it was, anybody else as an answer. */
function rejectedEvent(
  { response, head }: Reading,
  { failure, data }: { readonly failure: Failure; readonly data: unknown },
  { stream }: Asked,
): Rejected {
  if (failure.isForClient !== true) return { kind: 'rejected', failure, answer: undefined }
  const body = encoder.encode(typeof data === 'string' ? data : JSON.stringify(data))
  const { status, headers } = response
  const asError = { status: statusFor(failure), headers: { ...headers, ...JSON_TYPE }, body }
  if (stream !== true) return { kind: 'rejected', failure, answer: asError }
  const asEvents = { status, headers: withType(headers, 'events'), body: concatBytes(head) }
  return { kind: 'rejected', failure, answer: { ...asEvents, asError } }
}

/** The status under which the client reads an upstream's refusal; one that speaks of our key is not the client's. */
function statusFor({ status = 502 }: Failure): number {
  return status === 401 || status === 407 ? 502 : status
}

const JSON_TYPE = { 'content-type': 'application/json' }
const encoder = new TextEncoder()
const decoder = new TextDecoder()
const NOTHING = new Uint8Array(0)
const FINISH_REASON = /"finish_reason"\s*:\s*"[^"]/

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
 * An upstream's own words about a request, for the client: status, type and body as they came. Of a page, and where it
 * said nothing, only the status is handed on, in an envelope: clients read JSON, and a page shows whose it is.
 */
export function upstreamErrorOf(
  { headers }: UpstreamResponse,
  { bytes, body }: Prefix,
  failure: Failure,
): UpstreamResponse {
  const status = statusFor(failure)
  const form = formOf(bytes, true)
  const asJson = { ...headers, 'content-type': 'application/json' }
  if (form === 'page' || form === 'blank') {
    discard(body)
    const message = `The upstream refused the request with status ${failure.status} and no usable error message.`
    const envelope = JSON.stringify(errorBody('upstream_error', message))
    return { status, headers: asJson, body: encoder.encode(envelope) }
  }
  const isMislabelled = form === 'json' && !/json/i.test(headers['content-type'] ?? '')
  return { status, headers: isMislabelled ? asJson : headers, body }
}
