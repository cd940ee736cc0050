import { expect, test } from 'vitest'
import { configOf } from '../config/texts.ts'
import { createTraces, parentOf } from '../../src/telemetry/traces.ts'
import { TransportError, type UpstreamRequest } from '../../src/transport/transport.ts'
import { upstreamsOf } from '../../src/config/upstreams.ts'
import type { NoticeEvent, RequestEvent } from '../../src/relay/deps.ts'
import { createFakeClock, settle } from '../support/fake-clock.ts'
import { readExport, spansIn } from '../support/otlp.ts'
import { requestEvent } from './events.ts'

const MODELS = [{ base_url: 'https://api.groq.com/openai/v1', model: 'm', name: 'a' }]
const configWith = (traces?: object) =>
  configOf(JSON.stringify({ models: MODELS, settings: { ...(traces && { traces }) } }))
const ENDPOINT = { endpoint: 'http://collector.test' }
const [upstream] = upstreamsOf(configWith())

type Reply = number | TransportError | { status: number; headers?: Record<string, string>; text?: string }

/** Traces whose collector gives `replies` one after the other, then 200. */
function createBed(traces: object | undefined = ENDPOINT, replies: Reply[] = []) {
  const clock = createFakeClock()
  const sent: UpstreamRequest[] = []
  const notices: NoticeEvent[] = []
  let drawn = 0
  const traced = createTraces({
    clock,
    env: {},
    version: '1.2.3',
    report: (event) => event.kind === 'notice' && event.level === 'warning' && notices.push(event),
    // Numbers, so that each is another and none is 0.
    randomBytes: (length) =>
      new Uint8Array(length).map((_, at) => (at % 4 === 3 ? ++drawn % 256 : (drawn >> 8) + 1)),
    send: async (request) => {
      sent.push(request)
      const reply = replies.shift() ?? 200
      if (reply instanceof Error) throw reply
      const { status, headers = {}, text = '' } = typeof reply === 'number' ? { status: reply } : reply
      return { status, headers, body: new TextEncoder().encode(text) }
    },
  })
  traced.configure(configWith(traces).settings)
  const head = { method: 'POST', route: '/v1/chat/completions' }
  const begin = (traceparent?: string) => traced.begin({ traceparent, ...head })
  /** A request with one attempt, from begin to end. */
  function run(more: Partial<RequestEvent> = {}, traceparent?: string): string | undefined {
    const trace = begin(traceparent)
    const passed = upstream && trace?.attempt(upstream)
    trace?.end(requestEvent(more))
    return passed
  }
  const textOf = ({ body = [] }: UpstreamRequest): string =>
    body.map((part) => new TextDecoder().decode(part)).join('')
  return {
    ...traced,
    clock,
    notices,
    begin,
    run,
    exports: () => sent.map((request) => spansIn(readExport(textOf(request)))),
  }
}

test('spans wait for others, at most 5 s, and go together', async () => {
  const bed = createBed()
  bed.run()
  await bed.clock.advance(4_000)
  bed.run()
  await settle()
  expect(bed.exports()).toEqual([])
  await bed.clock.advance(1_000)
  await settle()
  expect(bed.exports().map(({ length }) => length)).toEqual([4])
  expect(bed.counts()).toEqual({ sent: 4, dropped: 0, refused: 0 })
})

test('512 spans go at once, in parts of so many', async () => {
  const bed = createBed()
  for (let at = 0; at < 300; at += 1) bed.run()
  await settle()
  expect(bed.exports().map(({ length }) => length)).toEqual([512, 88])
})

test('a span has the times of the wall clock to the ns, its duration, and the tokens of the answer once', async () => {
  const bed = createBed()
  // A machine that has slept: the clock of durations has not seen it.
  bed.clock.setWall(Date.UTC(2026, 10, 22, 15))
  const trace = bed.begin()
  await bed.clock.advance(100)
  if (upstream) trace?.attempt(upstream)
  await bed.clock.advance(900)
  const attempts = [
    { upstream: 'a', model: 'm', outcome: 'ok', status: 200, firstByteMs: 250.5, durationMs: 900 },
  ] as const
  trace?.end(requestEvent({ attempts, durationMs: 1_000, inputTokens: 10, outputTokens: 3, queuedMs: 0 }))
  await bed.clock.advance(5_000)
  await settle()
  const [request, attempt] = bed.exports()[0] ?? []
  const ns = (ms: number) => `${Date.UTC(2026, 10, 22, 15) + ms}000000`
  expect([request?.startTimeUnixNano, request?.endTimeUnixNano]).toEqual([ns(0), ns(1_000)])
  expect([attempt?.startTimeUnixNano, attempt?.endTimeUnixNano]).toEqual([ns(100), ns(1_000)])
  expect(attempt?.attributes).toMatchObject({
    'gen_ai.provider.name': 'groq',
    'server.address': 'api.groq.com',
    'server.port': 443,
    'gen_ai.request.stream': true,
    'gen_ai.response.time_to_first_chunk': 0.2505,
    'gen_ai.usage.input_tokens': 10,
    'gen_ai.usage.output_tokens': 3,
  })
  expect(Object.keys(request?.attributes ?? {}).filter((key) => key.startsWith('gen_ai'))).toEqual([])
})

test.each([
  { endpoint: 'responses', name: 'chat m' },
  { endpoint: 'completions', name: 'text_completion m' },
  { endpoint: 'embeddings', name: 'embeddings m' },
  { endpoint: 'rerank', name: 'rerank m' },
  { endpoint: 'passthrough', name: 'POST' },
])('an attempt of $endpoint is called "$name"', async ({ endpoint, name }) => {
  const bed = createBed()
  bed.run({ endpoint, attempts: [{ upstream: 'a', model: 'm', outcome: 'ok', status: 200, durationMs: 1 }] })
  await bed.close()
  expect(bed.exports()[0]?.[1]?.name).toBe(name)
})

test('a request that nobody could take has a span of its own with what the client got', async () => {
  const bed = createBed()
  const trace = bed.begin()
  trace?.end(requestEvent({ attempts: [], upstream: undefined, status: 503, code: 'overloaded' }))
  bed.begin()?.end(requestEvent({ attempts: [], upstream: undefined, status: 404, code: 'model_not_found' }))
  await bed.close()
  const [[failed, refused] = []] = bed.exports()
  expect(failed).toMatchObject({ status: { code: 2 }, attributes: { 'error.type': 'overloaded' } })
  expect(refused).toMatchObject({ status: {}, attributes: { 'aiload.code': 'model_not_found' } })
})

const SAMPLED = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
const UNSAMPLED = SAMPLED.replace(/01$/, '00')

test.each([
  { sample: 0, traceparent: undefined, spans: 0, flag: '00' },
  { sample: 1, traceparent: undefined, spans: 2, flag: '01' },
  { sample: 0, traceparent: SAMPLED, spans: 2, flag: '01' },
  { sample: 1, traceparent: UNSAMPLED, spans: 0, flag: '00' },
])(
  'of a sample of $sample with $traceparent $spans spans are sent, and upstreams are told $flag',
  async ({ sample, traceparent, spans, flag }) => {
    const bed = createBed({ ...ENDPOINT, sample })
    const passed = bed.run({}, traceparent)
    await bed.close()
    expect(bed.exports().flat()).toHaveLength(spans)
    expect(passed).toMatch(new RegExp(`^00-[0-9a-f]{32}-[0-9a-f]{16}-${flag}$`))
    if (traceparent !== undefined) expect(passed?.slice(0, 36)).toBe(traceparent.slice(0, 36))
    expect(passed?.slice(36, 52)).not.toBe(traceparent?.slice(36, 52))
  },
)

test.each([
  [SAMPLED, true],
  [` ${SAMPLED} `, true],
  [SAMPLED.replace(/^00/, 'cc'), true],
  [`${SAMPLED.replace(/^00/, 'cc')}-more`, true],
  [`${SAMPLED}-more`, false],
  [SAMPLED.replace(/^00/, 'ff'), false],
  [SAMPLED.toUpperCase(), false],
  [`00-${'0'.repeat(32)}-00f067aa0ba902b7-01`, false],
  [`00-4bf92f3577b34da6a3ce929d0e0e4736-${'0'.repeat(16)}-01`, false],
  ['00-a-b-01', false],
  ['', false],
  [undefined, false],
])('traceparent %j is one that goes on: %j', (traceparent, isOne) => {
  expect(parentOf(traceparent) !== undefined).toBe(isOne)
})

test('a collector that fails gets the same again, later and later, and is told of once a minute', async () => {
  const away = new TransportError('not-sent', 'x', 'connection refused')
  const bed = createBed(ENDPOINT, [away, 503, away, away, away, away])
  bed.run()
  for (let s = 0; s < 120; s += 1) {
    await bed.clock.advance(1_000)
    await settle()
  }
  // After 5 s, then after pauses of 5, 10, 20 and 40 s.
  expect(bed.exports().map((spans) => spans[0]?.spanId)).toEqual(Array(5).fill(bed.exports()[0]?.[0]?.spanId))
  expect(bed.notices.map(({ message }) => message)).toEqual([
    'the collector of traces at collector.test cannot be reached (connection refused); spans lost so far: 0',
    'the collector of traces at collector.test cannot be reached (connection refused); spans lost so far: 0',
  ])
})

test('a collector says when to come back', async () => {
  const bed = createBed(ENDPOINT, [{ status: 429, headers: { 'retry-after': '30' } }])
  bed.run()
  await bed.clock.advance(5_000)
  await settle()
  await bed.clock.advance(29_000)
  await settle()
  expect(bed.exports()).toHaveLength(1)
  await bed.clock.advance(1_000)
  await settle()
  expect(bed.exports()).toHaveLength(2)
  expect(bed.counts()).toEqual({ sent: 2, dropped: 0, refused: 0 })
})

test('what a collector refuses is lost and counted, all of it or a part', async () => {
  const partial = { status: 200, text: '{"partialSuccess":{"rejectedSpans":"1","errorMessage":"no"}}' }
  const bed = createBed(ENDPOINT, [400, partial])
  for (let at = 0; at < 2; at += 1) {
    bed.run()
    await bed.clock.advance(5_000)
    await settle()
  }
  expect(bed.exports()).toHaveLength(2)
  expect(bed.counts()).toEqual({ sent: 1, dropped: 0, refused: 3 })
  expect(bed.notices.map(({ message }) => message)).toEqual([
    'the collector of traces at collector.test answered 400; spans lost so far: 2',
  ])
})

test('while a collector is away the newest 2,048 spans are kept', async () => {
  const bed = createBed(ENDPOINT, [503])
  for (let at = 0; at < 256; at += 1) bed.run({ id: `first ${at}` })
  await settle()
  for (let at = 0; at < 1_024; at += 1) bed.run({ id: `then ${at}` })
  expect(bed.counts()).toEqual({ sent: 0, dropped: 512, refused: 0 })
  await bed.clock.advance(5_000)
  await settle()
  const ids = bed
    .exports()
    .slice(1)
    .flat()
    .map(({ attributes }) => attributes['aiload.request.id'])
  expect([ids.length, ids[0], ids.at(-2)]).toEqual([2_048, 'then 0', 'then 1023'])
})

test('nothing is made or counted where nothing is traced', () => {
  const bed = createBed()
  bed.configure(configWith().settings)
  expect(bed.begin(SAMPLED)).toBeUndefined()
  expect(bed.counts()).toBeUndefined()
})

test('the end sends what waits, and waits for no collector that is away for longer than 2 s', async () => {
  const bed = createBed()
  bed.run()
  await bed.close()
  expect(bed.exports().flat()).toHaveLength(2)

  const clock = createFakeClock()
  const stuck = createTraces({
    clock,
    env: {},
    version: '1.2.3',
    report: () => {},
    randomBytes: (length) => new Uint8Array(length).fill(1),
    send: () => new Promise(() => {}),
  })
  stuck.configure(configWith(ENDPOINT).settings)
  stuck
    .begin({ traceparent: undefined, method: 'GET', route: '/v1/models' })
    ?.end(requestEvent({ attempts: [] }))
  let hasEnded = false
  const end = stuck.close().then(() => (hasEnded = true))
  await settle()
  expect(hasEnded).toBe(false)
  await clock.advance(2_000)
  await end
})
