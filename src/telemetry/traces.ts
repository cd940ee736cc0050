import type { Settings } from '../config/config.ts'
import type { Environment } from '../config/problem.ts'
import { tracesFrom, type TracesConfig } from '../config/traces.ts'
import { createAbort } from '../lib/abort.ts'
import { readerOf } from '../lib/bytes.ts'
import type { Clock } from '../lib/clock.ts'
import type { Report, RequestTrace } from '../relay/deps.ts'
import { TransportError, type Send } from '../transport/transport.ts'
import { retryAfterMs } from '../vendors/retry-after.ts'
import {
  exportRequestOf,
  type StartedAttempt,
  type StartedTrace,
  type TracedRequest,
  type TraceHead,
} from './otlp.ts'

/** What makes traces. */
export interface TracesDeps {
  readonly send: Send
  readonly clock: Clock
  readonly report: Report
  /** Where a collector is looked for that the configuration does not name. */
  readonly env: Environment
  /** So many bytes that nobody can guess. */
  readonly randomBytes: (length: number) => Uint8Array
  readonly version: string
}

/** What became of spans since the start. */
export type SpanCounts = Readonly<Record<'sent' | 'dropped' | 'refused', number>>

export type Traces = ReturnType<typeof createTraces>

/** As the batch processor of OpenTelemetry's SDKs has it by default. */
const RETRY_MS = 5_000
const BATCH_SPANS = 512
const MOST_WAITING_SPANS = 2_048
const EXPORT_TIMEOUT_MS = 10_000
const CONNECT_TIMEOUT_MS = 5_000
const LONGEST_PAUSE_MS = 60_000
const TELL_EVERY_MS = 60_000
const ANSWER_BYTES = 65_536
/** So long an end of the process waits for the last spans. */
const LAST_TIMEOUT_MS = 2_000
/** What a collector means by "later". Source: https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes */
const RETRYABLE: ReadonlySet<number> = new Set([429, 502, 503, 504])

/**
 * Traces of requests, sent to a collector by OTLP over HTTP as JSON: a span for the request and one for each attempt, by
 * the conventions of OpenTelemetry for HTTP and for generative AI. Holds no prompt, no answer, no key. Spans are made when
 * they are sent; up to 2,048 wait, and then the oldest are dropped. Nothing here delays a request or fails it.
 *
 * Sources: https://www.w3.org/TR/trace-context/, https://opentelemetry.io/docs/specs/otlp/#otlphttp,
 * https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
 */
export function createTraces({ send, clock, report, env, randomBytes, version }: TracesDeps) {
  const counts = { sent: 0, dropped: 0, refused: 0 }
  const newId = createIds(randomBytes)
  let config: TracesConfig | undefined
  let waiting: TracedRequest[] = []
  let waitingSpans = 0
  let stopTimer: (() => void) | undefined
  let sending: Promise<void> | undefined
  let failures = 0
  let toldAt = -Infinity

  const warn = (message: string): void => report({ kind: 'notice', level: 'warning', message })

  function add(ended: TracedRequest): void {
    waiting.push(ended)
    waitingSpans += spansOf(ended)
    dropBeyond()
    if (waitingSpans >= BATCH_SPANS && failures === 0) void flush()
    else schedule(config?.everyMs ?? 0)
  }

  function dropBeyond(): void {
    while (waitingSpans > MOST_WAITING_SPANS) drop(1)
  }

  /** The oldest. */
  function drop(requests: number): void {
    const spans = sumOf(waiting.splice(0, requests))
    waitingSpans -= spans
    counts.dropped += spans
  }

  function schedule(ms: number): void {
    stopTimer ??= clock.after(ms, () => {
      stopTimer = undefined
      void flush()
    })
  }

  function clearTimer(): void {
    stopTimer?.()
    stopTimer = undefined
  }

  /** Sends what waits, one batch after the other; after a failure the rest waits for its time. */
  function flush(): Promise<void> {
    sending ??= sendAll().finally(() => {
      sending = undefined
      if (waiting.length > 0) schedule(config?.everyMs ?? 0)
    })
    return sending
  }

  async function sendAll(): Promise<void> {
    for (;;) {
      const batch = takeBatch()
      if (config === undefined || batch.length === 0) return
      const spans = sumOf(batch)
      const { failure, againInMs, refused = 0 } = await exportBatch(config, batch)
      if (failure === undefined) {
        failures = 0
        counts.sent += spans - refused
        counts.refused += refused
        if (refused > 0) tell(`refused ${refused} of ${spans} spans`)
      } else if (againInMs === undefined) {
        counts.refused += spans
        tell(failure)
      } else {
        waiting = [...batch, ...waiting]
        waitingSpans += spans
        dropBeyond()
        tell(failure)
        clearTimer()
        return schedule(againInMs)
      }
    }
  }

  function takeBatch(): TracedRequest[] {
    let spans = 0
    let end = 0
    while (end < waiting.length && spans < BATCH_SPANS) spans += spansOf(waiting[end++])
    waitingSpans -= spans
    return waiting.splice(0, end)
  }

  function tell(what: string): void {
    if (config === undefined || clock.now() - toldAt < TELL_EVERY_MS) return
    toldAt = clock.now()
    const { dropped, refused } = counts
    warn(
      `the collector of traces at ${new URL(config.url).host} ${what}; spans lost so far: ${dropped + refused}`,
    )
  }

  /** One try. `againInMs` is there where the same may be taken later. */
  async function exportBatch(to: TracesConfig, batch: readonly TracedRequest[]) {
    const { signal, abort } = createAbort()
    const stopClock = clock.after(EXPORT_TIMEOUT_MS, abort)
    const pauseMs = Math.min(LONGEST_PAUSE_MS, RETRY_MS * 2 ** failures)
    try {
      const { status, headers, body } = await send(
        {
          method: 'POST',
          url: to.url,
          headers: { 'content-type': 'application/json', 'accept-encoding': 'identity', ...to.headers },
          body: [new TextEncoder().encode(JSON.stringify(exportRequestOf(batch, { ...to, version })))],
          route: to.route,
          connectTimeoutMs: CONNECT_TIMEOUT_MS,
          timeoutMs: EXPORT_TIMEOUT_MS,
          gatherBytes: () => ANSWER_BYTES,
        },
        signal,
      )
      if (!(body instanceof Uint8Array)) await readerOf(body).cancel()
      if (status >= 200 && status <= 299)
        return { refused: body instanceof Uint8Array ? refusedSpansIn(body) : 0 }
      if (!RETRYABLE.has(status)) return { failure: `answered ${status}` }
      failures += 1
      const hintMs = retryAfterMs(headers, clock.wall()) ?? pauseMs
      return {
        failure: `answered ${status}`,
        againInMs: Math.min(LONGEST_PAUSE_MS, Math.max(pauseMs, hintMs)),
      }
    } catch (error) {
      failures += 1
      const why = error instanceof TransportError ? (error.reason ?? error.failure) : 'failure'
      const reason = signal.aborted ? 'no answer in time' : why
      return { failure: `cannot be reached (${reason})`, againInMs: pauseMs }
    } finally {
      stopClock()
    }
  }

  return {
    /** Takes on the settings of a configuration; what is wrong with the environment's is told. */
    configure(settings: Settings): void {
      const { traces, problem } = tracesFrom(settings, env)
      if (traces !== undefined && traces.url !== config?.url) {
        const message = `requests are traced; spans go to ${new URL(traces.url).host}`
        report({ kind: 'notice', level: 'info', message })
      }
      config = traces
      if (traces === undefined) drop(waiting.length)
      if (problem !== undefined) warn(problem)
    },
    /** Begins the trace of a request; undefined where nothing is traced. `traceparent` is what it brought along. */
    begin({ traceparent, ...head }: TraceHead & { readonly traceparent: string | undefined }) {
      if (config === undefined) return undefined
      return startTrace(parentOf(traceparent), { head, clock, newId, ...config, add })
    },
    counts: (): SpanCounts | undefined => (config === undefined ? undefined : { ...counts }),
    /** Sends what is left, for 2 s at most. */
    async close(): Promise<void> {
      if (waiting.length === 0 && sending === undefined) return
      const last = async (): Promise<void> => {
        await sending
        if (failures === 0) await flush()
      }
      await new Promise<void>((resolve) => {
        const stop = clock.after(LAST_TIMEOUT_MS, resolve)
        void last().finally(() => {
          stop()
          resolve()
        })
      })
      clearTimer()
    },
  }
}

interface Parent {
  readonly traceId: string
  readonly spanId: string
  readonly isSampled: boolean
}

/** W3C Trace Context §3.2: undefined for what is malformed, for zeros, and for version ff. Later versions may have more parts. */
export function parentOf(traceparent = ''): Parent | undefined {
  const [, version = '', traceId = '', spanId = '', flags = '', more] =
    /^([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-.*)?$/.exec(traceparent.trim()) ?? []
  const isValid = version !== '' && version !== 'ff' && (version !== '00' || more === undefined)
  if (!isValid || /^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & 1) === 1 }
}

interface StartTask extends Pick<TracesConfig, 'sample' | 'obeysParent'>, Pick<TracesDeps, 'clock'> {
  /** Random, so many digits of it in hex. */
  readonly newId: (digits: number) => string
  readonly head: TraceHead
  readonly add: (ended: TracedRequest) => void
}

function startTrace(
  parent: Parent | undefined,
  { head, sample, obeysParent, clock, newId, add }: StartTask,
): RequestTrace {
  const traceId = parent?.traceId ?? newId(32)
  const spanId = newId(16)
  const isSampled = parent !== undefined && obeysParent ? parent.isSampled : shareOf(traceId) < sample
  const flags = isSampled ? '01' : '00'
  const attempts: StartedAttempt[] = []
  const trace: StartedTrace = {
    id: isSampled ? traceId : undefined,
    head,
    traceId,
    spanId,
    parentId: parent?.spanId,
    attempts,
    attempt(upstream) {
      const own = newId(16)
      if (isSampled) attempts.push({ spanId: own, upstream, startedAt: clock.now() })
      return `00-${traceId}-${own}-${flags}`
    },
    end: (event) =>
      isSampled ? add({ event, trace, endedAt: clock.now(), aheadMs: aheadOf(clock) }) : undefined,
  }
  return trace
}

/** Less is the grain of the wall clock. */
const LEAST_AHEAD_MS = 1_000

/** How much the wall clock is ahead of the one that durations are taken with, ms: a machine may have slept. */
function aheadOf(clock: Clock): number {
  const ahead = clock.wall() - clock.now()
  return Math.abs(ahead) < LEAST_AHEAD_MS ? 0 : ahead
}

/** Where an id lies among all, 0 to 1: by its last 56 bits, which are random, so that all who sample agree. */
const shareOf = (traceId: string): number => Number.parseInt(traceId.slice(-14), 16) / 2 ** 56

const spansOf = (ended: TracedRequest | undefined): number =>
  ended === undefined ? 0 : 1 + ended.trace.attempts.length
const sumOf = (batch: readonly TracedRequest[]): number =>
  batch.reduce((sum, ended) => sum + spansOf(ended), 0)

/** So many bytes are drawn at once: the system is asked dearly. */
const DRAWN_BYTES = 4_096

/** Random ids in hex: so many digits each time. */
function createIds(randomBytes: TracesDeps['randomBytes']): (digits: number) => string {
  let drawn = ''
  return (digits) => {
    if (drawn.length < digits) drawn = hexOf(randomBytes(DRAWN_BYTES))
    const id = drawn.slice(0, digits)
    drawn = drawn.slice(digits)
    return id
  }
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

function hexOf(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += HEX[byte] ?? ''
  return text
}

/** ExportTracePartialSuccess; 0 where the answer says nothing of it. */
function refusedSpansIn(body: Uint8Array): number {
  try {
    const { partialSuccess } = JSON.parse(new TextDecoder().decode(body)) as {
      partialSuccess?: { rejectedSpans?: unknown }
    }
    const refused = Number(partialSuccess?.rejectedSpans ?? 0)
    return refused > 0 ? refused : 0
  } catch {
    return 0
  }
}
