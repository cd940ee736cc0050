import { vendorAt } from '../config/presets.ts'
import type { Upstream } from '../pool/upstream.ts'
import type { AttemptRecord, RequestEvent, RequestTrace } from '../relay/deps.ts'

/** What is known of a request when its trace begins. */
export interface TraceHead {
  readonly method: string
  /** Such as `/v1/chat/completions`. */
  readonly route: string
}

/** One attempt, as far as its record does not know it. */
export interface StartedAttempt {
  readonly spanId: string
  readonly upstream: Upstream
  /** Ms on the clock. */
  readonly startedAt: number
}

/** A trace on its way; ids in hex. */
export interface StartedTrace extends RequestTrace {
  readonly head: TraceHead
  readonly traceId: string
  readonly spanId: string
  readonly parentId: string | undefined
  readonly attempts: readonly StartedAttempt[]
}

/** A request that has ended, with all that its spans are made of. */
export interface TracedRequest {
  readonly event: RequestEvent
  readonly trace: StartedTrace
  /** When, ms on the clock. */
  readonly endedAt: number
  /** To be added for the time of the wall. */
  readonly aheadMs: number
}

/** Who traces: the attributes of the resource, and the version of this program. */
interface TracingResource {
  readonly resource: Readonly<Record<string, string>>
  readonly version: string
}

/**
 * `ExportTraceServiceRequest` as JSON has it: ids in hex, whole numbers of 64 bits and times as strings, enumerations as
 * numbers. Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
 */
export const exportRequestOf = (batch: readonly TracedRequest[], { resource, version }: TracingResource) => ({
  resourceSpans: [
    {
      resource: { attributes: attributesOf({ ...resource, 'service.version': version }) },
      scopeSpans: [{ scope: { name: 'aiload', version }, spans: batch.flatMap(spansOf) }],
    },
  ],
})

const SERVER = 2
const CLIENT = 3
const STATUS_ERROR = 2

function spansOf({ event, trace, endedAt, aheadMs }: TracedRequest) {
  const end = endedAt + aheadMs
  const { traceId, spanId, parentId, head, attempts } = trace
  return [
    {
      traceId,
      spanId,
      ...(parentId !== undefined && { parentSpanId: parentId }),
      name: `${head.method} ${head.route}`,
      kind: SERVER,
      ...timesOf(end - event.durationMs, end),
      attributes: attributesOf(requestAttributes(event, head)),
      // By the conventions of HTTP the fault of a client is no error of the server's.
      status: event.status >= 500 ? { code: STATUS_ERROR } : {},
    },
    ...attempts.flatMap((started, at) => {
      const record = event.attempts[at]
      return record === undefined ? [] : [attemptSpan({ event, trace, started, record, aheadMs })]
    }),
  ]
}

interface AttemptSpanTask extends Pick<TracedRequest, 'event' | 'trace' | 'aheadMs'> {
  readonly started: StartedAttempt
  readonly record: AttemptRecord
}

function attemptSpan(task: AttemptSpanTask) {
  const { event, trace, started, record, aheadMs } = task
  const { spanId } = started
  const startedAt = started.startedAt + aheadMs
  const operation = operationOf(event.endpoint)
  const isFault = record.outcome !== 'ok' && record.outcome !== 'aborted'
  return {
    traceId: trace.traceId,
    spanId,
    parentSpanId: trace.spanId,
    name: operation === undefined ? trace.head.method : `${operation} ${record.model}`,
    kind: CLIENT,
    ...timesOf(startedAt, startedAt + record.durationMs),
    attributes: attributesOf(attemptAttributes(task, operation)),
    // The words of an upstream are not told: they may quote the client.
    status: isFault ? { code: STATUS_ERROR, message: record.failure?.reason ?? record.outcome } : {},
  }
}

type AttributeValue = string | number | boolean | undefined
type Attributes = Readonly<Record<string, AttributeValue>>

/** By https://opentelemetry.io/docs/specs/semconv/http/http-spans/; tokens stand with the attempt alone, so that no sum has them twice. */
function requestAttributes(event: RequestEvent, { method, route }: TraceHead): Attributes {
  return {
    'http.request.method': method,
    'http.route': route,
    'url.scheme': 'http',
    'http.response.status_code': event.status,
    'error.type': event.status >= 500 ? (event.code ?? String(event.status)) : undefined,
    'client.address': event.client,
    'aiload.request.id': event.id,
    'aiload.request.model': event.requestedModel === '' ? undefined : event.requestedModel,
    'aiload.upstream': event.upstream,
    'aiload.attempts': event.attempts.length,
    'aiload.code': event.code,
    'aiload.queued_ms': event.queuedMs > 0 ? Math.round(event.queuedMs) : undefined,
    'aiload.first_byte_ms': event.firstByteMs === undefined ? undefined : Math.round(event.firstByteMs),
  }
}

/** By https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/#inference */
function attemptAttributes(
  { event, trace, started: { upstream }, record }: AttemptSpanTask,
  operation: string | undefined,
): Attributes {
  const url = new URL(upstream.root)
  const { status, outcome, firstByteMs } = record
  const isAnswer = event.attempts.at(-1) === record && event.upstream === record.upstream
  const isRefused = status !== undefined && status >= 400
  const fault = isRefused ? String(status) : outcome === 'ok' || outcome === 'aborted' ? undefined : outcome
  const at = event.attempts.indexOf(record)
  return {
    ...(operation !== undefined && {
      'gen_ai.operation.name': operation,
      'gen_ai.provider.name': providerAt(upstream.root),
      'gen_ai.request.model': record.model,
      'gen_ai.request.stream': event.stream || undefined,
      'gen_ai.response.time_to_first_chunk':
        event.stream && firstByteMs !== undefined ? firstByteMs / 1_000 : undefined,
      'gen_ai.usage.input_tokens': isAnswer ? event.inputTokens : undefined,
      'gen_ai.usage.output_tokens': isAnswer ? event.outputTokens : undefined,
    }),
    'server.address': url.hostname.replace(/^\[(.*)\]$/, '$1'),
    'server.port': Number(url.port || (url.protocol === 'https:' ? 443 : 80)),
    'http.request.method': trace.head.method,
    'http.response.status_code': status,
    'http.request.resend_count': at > 0 ? at : undefined,
    'error.type': fault,
    'aiload.upstream': record.upstream,
    'aiload.outcome': outcome,
    'aiload.why': record.why,
  }
}

/** Endpoints that the conventions have another word for. */
const OPERATIONS: Readonly<Record<string, string>> = {
  completions: 'text_completion',
  responses: 'chat',
  images: 'generate_content',
}

/** Undefined where nothing says what is asked. */
const operationOf = (endpoint: string): string | undefined =>
  endpoint === 'passthrough' ? undefined : (OPERATIONS[endpoint] ?? endpoint)

/** Vendors that the conventions have another word for. */
const PROVIDERS: Readonly<Record<string, string>> = {
  azure: 'azure.ai.openai',
  gemini: 'gcp.gemini',
  mistral: 'mistral_ai',
  moonshot: 'moonshot_ai',
  xai: 'x_ai',
}

/** Whoever is not known speaks as OpenAI does; `server.address` says who it is. */
function providerAt(root: string): string {
  if (new URL(root).hostname.endsWith('.openai.azure.com')) return 'azure.ai.openai'
  const vendor = vendorAt(root) ?? 'openai'
  return PROVIDERS[vendor] ?? vendor
}

const timesOf = (start: number, end: number) => ({
  startTimeUnixNano: nanosOf(start),
  endTimeUnixNano: nanosOf(Math.max(start, end)),
})

/** Epoch ms as ns: more digits than a number has. */
function nanosOf(ms: number): string {
  const whole = Math.floor(ms)
  return `${whole}${String(Math.floor((ms - whole) * 1e6)).padStart(6, '0')}`
}

/** Longest value; names may be any length. */
const MOST_LENGTH = 256

const attributesOf = (attributes: Attributes) =>
  Object.entries(attributes).flatMap(([key, value]) =>
    value === undefined || (typeof value === 'number' && !Number.isFinite(value))
      ? []
      : [{ key, value: anyValue(value) }],
  )

function anyValue(value: string | number | boolean) {
  if (typeof value === 'boolean') return { boolValue: value }
  if (typeof value === 'string') return { stringValue: value.slice(0, MOST_LENGTH) }
  return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value }
}
