import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { GatewayEvent } from '../../src/relay/deps.ts'
import { createJsonLines } from '../../src/telemetry/log-json.ts'
import { createLog, levelOfMode, logLevelIn, type LogLevel } from '../../src/telemetry/log.ts'
import { attemptEvent, requestEvent } from './events.ts'

const NOON = Date.UTC(2026, 10, 22, 12, 0, 1, 7)

function linesOf(events: readonly GatewayEvent[], level: LogLevel = 'info'): string[] {
  const lines: string[] = []
  const report = createLog(
    (line) => lines.push(line),
    createJsonLines(() => NOON),
    level,
  )
  for (const event of events) report(event)
  return lines
}

const readLine = (event: GatewayEvent, level: LogLevel = 'info'): unknown =>
  JSON.parse(linesOf([event], level)[0] ?? 'null')

test('a request is one line with who answered, how each attempt went, and how long it took', () => {
  const refused = { upstream: 'b', model: 'm', outcome: 'rate-limited', status: 429, durationMs: 12 } as const
  const answered = {
    upstream: 'a',
    model: 'gpt-4o',
    outcome: 'ok',
    status: 200,
    firstByteMs: 80.2,
    durationMs: 300,
  } as const
  const event = requestEvent({
    attempts: [refused, answered],
    queuedMs: 5,
    inputTokens: 10,
    outputTokens: 20,
  })
  expect(readLine(event)).toEqual({
    time: '2026-11-22T12:00:01.007Z',
    level: 'info',
    event: 'request',
    id: 'req-1',
    endpoint: 'chat',
    asked: 'auto',
    upstream: 'a',
    model: 'gpt-4o',
    status: 200,
    attempts: [
      { upstream: 'b', outcome: 'rate-limited', status: 429, ms: 12 },
      { upstream: 'a', outcome: 'ok', status: 200, first_byte_ms: 80, ms: 300 },
    ],
    first_byte_ms: 80,
    ms: 312,
    stream: true,
    queued_ms: 5,
    input_tokens: 10,
    output_tokens: 20,
  })
})

test('a request that was refused has its method and path, on one line whatever they hold', () => {
  const path = `/v2/\u001b[31m"%0a\u2028${'x'.repeat(300)}`
  const event = requestEvent({ status: 404, code: 'not_found', attempts: [], method: 'POST', path })
  const [line = ''] = linesOf([event])
  // oxlint-disable-next-line no-control-regex
  expect(line).not.toMatch(/[\u0000-\u001f\u2028]/)
  expect(JSON.parse(line)).toMatchObject({ method: 'POST', path: `${path.slice(0, 200)}…` })
  expect(readLine(requestEvent())).not.toHaveProperty('method')
})

test('a request that nobody answered has a code and no upstream', () => {
  const { upstream: _, model: __, firstByteMs: ___, ...nobody } = requestEvent()
  const line = readLine({ ...nobody, status: 429, code: 'rate_limit_exceeded', attempts: [] })
  expect(line).toMatchObject({ status: 429, code: 'rate_limit_exceeded', attempts: [] })
  expect(line).not.toHaveProperty('upstream')
  expect(line).not.toHaveProperty('first_byte_ms')
})

test.each([
  { status: 200, level: 'info', because: 'all is well' },
  { status: 404, level: 'info', because: 'the client asked for what is not there' },
  { status: 499, level: 'info', because: 'the client left' },
  { status: 502, level: 'warn', because: 'no upstream could answer' },
  { status: 200, code: 'upstream_disconnected', level: 'warn', because: 'the stream broke after its head' },
])('$status $code is told as $level, since $because', ({ status, code, level }) => {
  expect(readLine(requestEvent({ status, ...(code !== undefined && { code }) }))).toMatchObject({
    status,
    level,
  })
})

const passedOver = {
  at: { now: 1_000, wall: NOON },
  unavailable: [
    {
      upstream: { name: 'b' },
      reason: { scope: 's', cause: 'rate-limited', until: 5_500, onRelease: false },
    },
    { upstream: { name: 'c"' }, reason: { scope: 's', cause: 'concurrency', until: 1_000, onRelease: true } },
    {
      upstream: { name: 'd' },
      reason: { scope: 's', cause: 'tokens:day', until: Infinity, onRelease: false },
    },
  ],
} as const

test('a request says who asked and why its upstream was chosen', () => {
  expect(readLine(requestEvent({ client: '2001:db8::1', why: 'headroom' }))).toMatchObject({
    client: '2001:db8::1',
    upstream: 'a',
    why: 'headroom',
  })
  for (const name of ['client', 'why', 'passed_over'])
    expect(readLine(requestEvent())).not.toHaveProperty(name)
})

test('who could not be taken is told in debug: of an attempt, and of a request that nobody took', () => {
  const told = [
    { upstream: 'b', reason: 'rate-limited', until: '2026-11-22T12:00:05.507Z' },
    { upstream: 'c"', reason: 'concurrency' },
    { upstream: 'd', reason: 'tokens:day' },
  ]
  expect(readLine(attemptEvent({ passedOver, why: 'only' }), 'debug')).toMatchObject({
    why: 'only',
    passed_over: told,
  })
  const { upstream: _, model: __, ...nobody } = requestEvent({ attempts: [], status: 429, passedOver })
  expect(readLine(nobody, 'debug')).toMatchObject({ passed_over: told })
  expect(readLine(nobody)).not.toHaveProperty('passed_over')
  const many = { ...passedOver, unavailable: Array.from({ length: 300 }, () => passedOver.unavailable[0]) }
  const line = readLine(attemptEvent({ passedOver: many }), 'debug') as { passed_over: unknown[] }
  expect(line).toMatchObject({ passed_over_total: 300 })
  expect(line.passed_over).toHaveLength(32)
})

test.each([
  { level: 'error', told: ['error'] },
  { level: 'warn', told: ['request 502', 'warning', 'error'] },
  { level: 'info', told: ['request 200', 'request 502', 'info', 'warning', 'error'] },
  {
    level: 'debug',
    told: ['request 200', 'request 502', 'attempt', 'debug', 'info', 'warning', 'error'],
  },
] as const)('a log of level $level has $told', ({ level, told }) => {
  const notices = (['debug', 'info', 'warning', 'error'] as const).map((name): GatewayEvent => ({
    kind: 'notice',
    level: name,
    message: name,
  }))
  const events = [requestEvent(), requestEvent({ status: 502 }), attemptEvent(), ...notices]
  const lines = linesOf(events, level).map((line) => JSON.parse(line) as Record<string, unknown>)
  const shown = lines.map(({ event, status, message }) =>
    event === 'notice' ? message : event === 'attempt' ? event : `${String(event)} ${String(status)}`,
  )
  expect(shown).toEqual(told)
})

test.each([
  { env: {}, read: {} },
  { env: { LOG_LEVEL: '' }, read: {} },
  { env: { LOG_LEVEL: 'warn' }, read: { level: 'warn' } },
  { env: { LOG_LEVEL: 'DEBUG' }, read: { level: 'debug' } },
  {
    env: { LOG_LEVEL: 'verbose' },
    read: { problem: 'LOG_LEVEL is not a known value; write one of "error", "warn", "info" or "debug"' },
  },
])('$env is read as $read', ({ env, read }) => {
  expect(logLevelIn(env)).toEqual(read)
  expect([levelOfMode('release'), levelOfMode('debug')]).toEqual(['info', 'debug'])
})

test('attempts and debug notices are told in debug only', () => {
  const events: GatewayEvent[] = [
    attemptEvent(),
    { kind: 'notice', level: 'debug', message: 'detail' },
    { kind: 'queue', waiting: 3 },
  ]
  expect(linesOf(events)).toEqual([])
  expect(linesOf(events, 'debug').map((line) => (JSON.parse(line) as { event: string }).event)).toEqual([
    'attempt',
    'notice',
  ])
  expect(readLine(attemptEvent(), 'debug')).toMatchObject({
    level: 'debug',
    id: 'req-1',
    upstream: 'a',
    model: 'gpt-4o',
    outcome: 'ok',
    ms: 312,
  })
})

test.each([
  ['info', 'info'],
  ['warning', 'warn'],
  ['error', 'error'],
] as const)('a notice of level %s is a line of level %s', (level, told) => {
  expect(readLine({ kind: 'notice', level, message: 'the file\nis broken' })).toEqual({
    time: '2026-11-22T12:00:01.007Z',
    level: told,
    event: 'notice',
    message: 'the file\nis broken',
  })
})

test('whatever a client asks for, an event is one bounded line that JSON reads', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 500 }), fc.string(), (requestedModel, id) => {
      const [line = '', ...others] = linesOf([requestEvent({ requestedModel, id })])
      expect(others).toEqual([])
      expect(line).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u)
      expect((JSON.parse(line) as { asked: string }).asked.slice(0, 100)).toBe(requestedModel.slice(0, 100))
    }),
  )
  expect(linesOf([requestEvent({ requestedModel: 'x'.repeat(1_000_000) })])[0]?.length).toBeLessThan(1_000)
})

test('of hundreds of attempts the first 32 are told, and how many there were', () => {
  const attempts = Array.from(
    { length: 300 },
    (_, at) => ({ upstream: `u${at}`, model: 'm', outcome: 'failure', durationMs: 1 }) as const,
  )
  const line = readLine(requestEvent({ attempts })) as { attempts: unknown[]; attempts_total: number }
  expect(line.attempts).toHaveLength(32)
  expect(line.attempts_total).toBe(300)
})

test('times go on over the end of a second, and a clock that is set back is followed', () => {
  const lines: string[] = []
  let wall = Date.UTC(2026, 0, 1) - 1
  const report = createLog(
    (line) => lines.push(line),
    createJsonLines(() => wall),
    'info',
  )
  for (wall of [wall, wall + 1, wall + 1.9, wall - 3_600_000]) report(requestEvent())
  expect(lines.map((line) => (JSON.parse(line) as { time: string }).time)).toEqual([
    '2025-12-31T23:59:59.999Z',
    '2026-01-01T00:00:00.000Z',
    '2026-01-01T00:00:00.000Z',
    '2025-12-31T22:59:59.999Z',
  ])
})

test('a failed attempt says why and at which address, and nothing of what the upstream said', () => {
  const failure = {
    url: 'https://a.test/v1/chat/completions',
    reason: 'connection refused',
    words: 'your prompt was: …',
    isUnsent: true,
  }
  const attempt = { upstream: 'a', model: 'm', outcome: 'failure', durationMs: 3, failure } as const
  const { url, reason } = failure
  expect(readLine(requestEvent({ attempts: [attempt] }))).toMatchObject({
    attempts: [{ upstream: 'a', outcome: 'failure', reason, url, ms: 3 }],
  })
  expect(linesOf([requestEvent({ attempts: [attempt] })])[0]).not.toContain('prompt')
})

test('a notice about an upstream has its name in a field', () => {
  const message = 'upstream a: works again'
  expect(readLine({ kind: 'notice', level: 'warning', message, upstream: 'a' })).toMatchObject({
    level: 'warn',
    event: 'notice',
    upstream: 'a',
    message,
  })
})
