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
export function exportRequestOf(batch: readonly TracedRequest[], { resource, version }: TracingResource) {
  const places = new Map<string, Attributes>()
  /** Looked up once for each upstream. */
  const placeOf = ({ root }: Upstream): Attributes => {
    const place = places.get(root) ?? placeAttributes(root)
    places.set(root, place)
    return place
  }
  const spans = batch.flatMap((request) => spansOf(request, placeOf))
  const attributes = attributesOf({ ...resource, 'service.version': version })
  return {
    resourceSpans: [
      { resource: { attributes }, scopeSpans: [{ scope: { name: 'aiload', version }, spans }] },
    ],
  }
}

const SERVER = 2
const CLIENT = 3
const STATUS_ERROR = 2

function spansOf(
  { event, trace, endedAt, aheadMs }: TracedRequest,
  placeOf: (upstream: Upstream) => Attributes,
) {
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
      return record === undefined
        ? []
        : [attemptSpan({ event, trace, started, record, aheadMs, place: placeOf(started.upstream) })]
    }),
  ]
}

interface AttemptSpanTask extends Pick<TracedRequest, 'event' | 'trace' | 'aheadMs'> {
  readonly started: StartedAttempt
  readonly record: AttemptRecord
  readonly place: Attributes
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
  { event, trace, record, place }: AttemptSpanTask,
  operation: string | undefined,
): Attributes {
  const { status, outcome, firstByteMs } = record
  const isAnswer = event.attempts.at(-1) === record && event.upstream === record.upstream
  const isRefused = status !== undefined && status >= 400
  const fault = isRefused ? String(status) : outcome === 'ok' || outcome === 'aborted' ? undefined : outcome
  const at = event.attempts.indexOf(record)
  const isAsked = operation !== undefined
  const isStream = isAsked && event.stream
  return {
    'gen_ai.operation.name': operation,
    'gen_ai.provider.name': isAsked ? place['gen_ai.provider.name'] : undefined,
    'gen_ai.request.model': isAsked ? record.model : undefined,
    'gen_ai.request.stream': isStream || undefined,
    'gen_ai.response.time_to_first_chunk':
      isStream && firstByteMs !== undefined ? firstByteMs / 1_000 : undefined,
    'gen_ai.usage.input_tokens': isAnswer ? event.inputTokens : undefined,
    'gen_ai.usage.output_tokens': isAnswer ? event.outputTokens : undefined,
    'server.address': place['server.address'],
    'server.port': place['server.port'],
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

/** Who is asked, and where. Whoever is not known speaks as OpenAI does; `server.address` says who it is. */
function placeAttributes(root: string): Attributes {
  const { hostname, port, protocol } = new URL(root)
  const vendor = hostname.endsWith('.openai.azure.com') ? 'azure' : (vendorAt(root) ?? 'openai')
  return {
    'gen_ai.provider.name': PROVIDERS[vendor] ?? vendor,
    'server.address': hostname.replace(/^\[(.*)\]$/, '$1'),
    'server.port': Number(port || (protocol === 'https:' ? 443 : 80)),
  }
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

function attributesOf(attributes: Attributes) {
  const list: { key: string; value: ReturnType<typeof anyValue> }[] = []
  for (const key in attributes) {
    const value = attributes[key]
    if (value !== undefined && !(typeof value === 'number' && !Number.isFinite(value)))
      list.push({ key, value: anyValue(value) })
  }
  return list
}

function anyValue(value: string | number | boolean) {
  if (typeof value === 'boolean') return { boolValue: value }
  if (typeof value === 'string') return { stringValue: value.slice(0, MOST_LENGTH) }
  return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value }
}
