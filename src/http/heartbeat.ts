import { errorBody } from '../errors.ts'
import { parsedJson } from '../lib/json/parse.ts'
import type { AbortControllerLike } from '../lib/abort.ts'
import {
  CR,
  END,
  flowTo,
  LF,
  readerOf,
  utf8Bytes,
  withoutMark,
  type ByteReader,
  type Flow,
} from '../lib/bytes.ts'
import type { Clock } from '../lib/clock.ts'
import type { HeaderBag } from '../lib/headers.ts'
import type { Endpoint } from '../pool/upstream.ts'
import { discard, readPrefix } from '../relay/commit.ts'
import type { RelayAnswer } from '../relay/request.ts'
import { jsonObjectOf, readErrorText } from '../vendors/error-body.ts'
import { retryAfterMs } from '../vendors/retry-after.ts'
import { gatewayErrorOf, type RequestContext } from './context.ts'

/** A client that waits for its stream, and is told every so often that somebody is at work. */
export interface Heartbeat {
  /** Ms without a byte after which one is sent; above 0. Counted from the end of the request's body. */
  readonly everyMs: number
  readonly endpoint: Endpoint
  /** The client's abort as the relay hears it. A runtime may tell of it by cancelling the body alone. */
  readonly client: AbortControllerLike
}

/** The endpoints whose answers are streams of events where the body asks for one. */
const STREAMED = new Set<Endpoint>(['chat', 'completions', 'responses'])

/** 0 where nothing is sent before the answer. */
export const heartbeatMsOf = (isStream: boolean, endpoint: Endpoint, settingMs: number): number =>
  isStream && STREAMED.has(endpoint) ? settingMs : 0

/** The answer, where it (or its failure) is there before the first beat; undefined where the client has waited so long. */
export function beforeFirstBeat(
  answer: Promise<RelayAnswer>,
  { everyMs, client }: Heartbeat,
  clock: Clock,
): Promise<RelayAnswer | undefined> {
  return new Promise((resolve, reject) => {
    const stop = clock.after(everyMs, () => {
      // Nobody is there to be kept waiting; the relay is about to say so.
      if (!client.signal.aborted) resolve(undefined)
    })
    answer.finally(stop).then(resolve, reject)
  })
}

/**
 * A stream that begins before its answer: status 200, a comment, one more each `everyMs`, and then the answer's own
 * bytes. Upstreams may still fail and others take over. What can't be told by a status any more is told by an event: a
 * failure with its true status, or JSON where events were asked for.
 */
export function heartbeatResponse(
  context: RequestContext,
  answer: Promise<RelayAnswer>,
  heartbeat: Heartbeat,
): Response {
  const { deps, env, ownHeaders } = context
  const isNamed = heartbeat.endpoint === 'responses'
  const body = answer.then(
    (given) => eventsOf(given, isNamed, deps.clock.wall()),
    (thrown: unknown) => {
      const error = gatewayErrorOf(deps, thrown, context)
      const words = errorBody(error.code, error.message, error.param).error
      return errorEvent(errorObject(words, error, deps.clock.wall()), isNamed)
    },
  )
  const headers = { ...EVENT_STREAM, ...ownHeaders }
  return deps.toResponse({ status: 200, headers, body: beating(body, heartbeat, deps.clock) }, env)
}

export const EVENT_STREAM = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  'x-accel-buffering': 'no',
}

/** WHATWG, "event stream interpretation": a line that begins with a colon is no part of any event. */
const COMMENT = ': waiting\n\n'

/**
 * Comments until `body` is there (it never rejects), then that one. None is made before the last one was taken: the
 * time runs only while the client waits for more.
 */
function beating(body: Promise<ByteReader>, { everyMs, client }: Heartbeat, clock: Clock): ByteReader {
  let rest: ByteReader | undefined
  let isFirst = true
  let isCancelled = false
  let stop = (): void => {}
  let onRest = (): void => {}
  void body.then((reader) => {
    if (isCancelled) return discard(reader)
    rest = reader
    onRest()
  })

  /** The body, or a comment where it is not there in time. */
  const next = (): Promise<ByteReader | undefined> =>
    new Promise((resolve) => {
      if (rest !== undefined || isFirst) resolve(rest)
      else {
        stop = clock.after(everyMs, () => resolve(undefined))
        onRest = () => {
          stop()
          resolve(rest)
        }
      }
      isFirst = false
    })

  return {
    async read() {
      const reader = await next()
      return reader === undefined ? { done: false, value: utf8Bytes(COMMENT) } : reader.read()
    },
    async cancel(reason) {
      isCancelled = true
      stop()
      client.abort()
      await rest?.cancel(reason)
    },
    flow(sink) {
      let flow: Flow | undefined
      const beat = (): void =>
        void next().then((reader) => {
          if (isCancelled) return
          if (reader !== undefined) flow = flowTo(reader, sink)
          else if (sink.chunk(utf8Bytes(COMMENT))) beat()
        })
      beat()
      return { resume: () => (flow === undefined ? beat() : flow.resume()) }
    },
  }
}

const IS_JSON = /[/+]json\b/i
const MOST_READ_BYTES = 65_536

/** An answer as it goes on in a stream that has begun. */
async function eventsOf(answer: RelayAnswer, isNamed: boolean, wallNow: number): Promise<ByteReader> {
  const { status, headers, body } = { ...answer, ...answer.asError }
  if (status < 400)
    return IS_JSON.test(headers['content-type'] ?? '')
      ? asEvent(withoutMark(readerOf(body)))
      : withoutMark(readerOf(body))
  const { bytes, body: rest } = await readPrefix(body, MOST_READ_BYTES).catch(() => EMPTY)
  discard(rest)
  const said = readErrorText(bytes, wallNow)
  const { error } = errorBody('upstream_error', said.message || `An upstream answered with status ${status}.`)
  const words = { ...error, type: said.type || error.type, code: said.code || error.code }
  const own = jsonObjectOf(jsonObjectOf(parsedJson(new TextDecoder().decode(bytes)))?.['error'])
  return errorEvent(
    errorObject({ ...words, ...own }, { status, headers, attempts: answer.attempts }, wallNow),
    isNamed,
  )
}

const EMPTY = { bytes: new Uint8Array(0), body: new Uint8Array(0) }

interface Refusal {
  readonly status: number
  readonly headers: HeaderBag
  readonly attempts: number
}

type ErrorObject = Readonly<Record<string, unknown>>

/** An error's words, and what status and headers would have told; `wallNow` is epoch ms. */
function errorObject(words: ErrorObject, refusal: Refusal, wallNow: number): ErrorObject {
  const { status, headers, attempts } = refusal
  return { ...words, status, retry_after_ms: retryAfterMs(headers, wallNow) ?? null, attempts }
}

/** The last event of a request that failed, in a form that clients raise as an error. */
function errorEvent(error: ErrorObject, isNamed: boolean): ByteReader {
  if (!isNamed) return readerOf(utf8Bytes(`data: ${JSON.stringify({ error })}\n\n`))
  // OpenAI's SDKs go by `error`, others by the name of the event, Codex by `type` and `response.error`.
  const { code, message } = error
  const response = { object: 'response', status: 'failed', error: { code, message }, output: [] }
  const event = { type: 'response.failed', sequence_number: 0, response, error }
  return readerOf(utf8Bytes(`event: error\ndata: ${JSON.stringify(event)}\n\n`))
}

const SPACE = 0x20

/** JSON as one event: its line ends, which stand between its parts alone, become spaces. */
function asEvent(json: ByteReader): ByteReader {
  let state: 'before' | 'within' | 'over' = 'before'
  return {
    async read() {
      if (state === 'over') return END
      const isBefore = state === 'before'
      state = 'within'
      if (isBefore) return { done: false, value: utf8Bytes('data: ') }
      const { done, value } = await json.read()
      if (!done) return { done, value: value.map((byte) => (byte === LF || byte === CR ? SPACE : byte)) }
      state = 'over'
      return { done: false, value: utf8Bytes('\n\ndata: [DONE]\n\n') }
    },
    cancel: (reason) => json.cancel(reason),
  }
}
