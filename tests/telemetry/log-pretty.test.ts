import { expect, test } from 'vitest'
import type { GatewayEvent } from '../../src/relay/deps.ts'
import { createPrettyLines } from '../../src/telemetry/log-pretty.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { attemptEvent, requestEvent } from './events.ts'

/** Noon where the test runs: people read their own time. */
const NOON = new Date(2026, 10, 22, 12, 0, 1).getTime()

function coloured(event: GatewayEvent): string {
  const lines: string[] = []
  createLog(
    (line) => lines.push(line),
    createPrettyLines(() => NOON),
    'debug',
  )(event)
  expect(lines).toHaveLength(1)
  return lines[0] ?? ''
}

const plain = (event: GatewayEvent): string =>
  coloured(event)
    // oxlint-disable-next-line no-control-regex
    .replaceAll(/\u001b\[\d+m/g, '')
    .replaceAll(/ +/g, ' ')

test('a good answer is one short line', () => {
  expect(plain(requestEvent())).toBe('12:00:01 200 chat auto → a 312 ms (first byte 80 ms) req-1')
})

test('what the gateway answers by itself goes to nobody', () => {
  const { upstream: _, model: __, firstByteMs: ___, ...own } = requestEvent({ stream: false, attempts: [] })
  const list = { ...own, endpoint: 'models', status: 200, requestedModel: '' }
  expect(plain(list)).toBe('12:00:01 200 models - 312 ms req-1')
})

test('who asked and why its upstream was chosen stand in the line, who could not be taken in debug', () => {
  const { upstream: _, model: __, firstByteMs: ___, ...nobody } = requestEvent({ status: 429, attempts: [] })
  const reason = { scope: 's', cause: 'rate-limited', until: 5_500, onRelease: false } as const
  const unavailable = [
    { upstream: { name: 'b' }, reason },
    { upstream: { name: 'c' }, reason: { ...reason, cause: 'concurrency', onRelease: true } },
  ] as const
  const passedOver = { at: { now: 1_000, wall: 0 }, unavailable }
  expect(plain(requestEvent({ client: '203.0.113.7', why: 'affinity' }))).toBe(
    '12:00:01 200 chat auto → a 312 ms (affinity, first byte 80 ms) 203.0.113.7 req-1',
  )
  expect(plain({ ...nobody, code: 'rate_limit_exceeded', passedOver })).toBe(
    '12:00:01 429 chat auto → rate_limit_exceeded 312 ms passed over [b: rate-limited for 4500 ms, c: concurrency] req-1',
  )
  expect(plain(attemptEvent({ why: 'only', passedOver }))).toBe(
    '12:00:01 try req-1 a: ok 312 ms (only) passed over [b: rate-limited for 4500 ms, c: concurrency]',
  )
})

test('a request that was refused is told by its method and path, and its model where it has one', () => {
  const {
    upstream: _,
    model: __,
    firstByteMs: ___,
    ...refused
  } = requestEvent({ stream: false, attempts: [] })
  const event = { ...refused, endpoint: 'other', status: 404, code: 'not_found', method: 'POST' }
  const path = `/v1beta/models/${'x'.repeat(180)}`
  expect(plain({ ...event, requestedModel: '', path })).toBe(
    `12:00:01 404 other POST ${path} → not_found 312 ms req-1`,
  )
  expect(plain({ ...event, path: '/v1/\u001b[2J' })).toBe(
    '12:00:01 404 other POST /v1/\\u001b[2J auto → not_found 312 ms req-1',
  )
})

test('attempts are told when one did not go well', () => {
  const attempts = [
    { upstream: 'a', model: 'm', outcome: 'rate-limited', status: 429, durationMs: 12 },
    { upstream: 'b', model: 'm', outcome: 'failure', durationMs: 5_000 },
    { upstream: 'c', model: 'm', outcome: 'ok', status: 200, durationMs: 300 },
  ] as const
  expect(plain(requestEvent({ upstream: 'c', attempts, queuedMs: 400, stream: false }))).toBe(
    '12:00:01 200 chat auto → c 312 ms (waited 400 ms) [a: 429, b: failure, c: ok] req-1',
  )
})

test('a request that nobody answered names the code instead of an upstream', () => {
  const {
    upstream: _,
    firstByteMs: __,
    ...nobody
  } = requestEvent({ status: 502, code: 'upstream_timeout', durationMs: 61_000 })
  expect(plain({ ...nobody, attempts: [] })).toBe('12:00:01 502 chat auto → upstream_timeout 61.0 s req-1')
})

test('a stream that broke says so beside its 200', () => {
  const attempts = [{ upstream: 'a', model: 'm', outcome: 'broken', status: 200, durationMs: 1 }] as const
  expect(plain(requestEvent({ code: 'upstream_disconnected', attempts }))).toContain(
    '(upstream_disconnected, first byte 80 ms) [a: broken]',
  )
})

test.each([
  [200, 32],
  [404, 33],
  [499, 2],
  [503, 31],
])('status %d has the colour %d', (status, sgr) => {
  expect(coloured(requestEvent({ status }))).toContain(`\u001b[${sgr}m${status}\u001b[0m`)
})

test('columns stand below each other', () => {
  const column = (event: GatewayEvent): number => coloured(event).indexOf(' ms')
  expect(column(requestEvent({ endpoint: 'embeddings', upstream: 'gpt-4o@api', durationMs: 7 }))).toBe(
    column(requestEvent()),
  )
})

test('what a client asks for can neither colour nor break the line', () => {
  const line = coloured(requestEvent({ requestedModel: 'x\u001b[2K\r\n12:00:02 200 forged' }))
  expect(line).toContain(String.raw`x\u001b[2K\r\n12:00:02 200 forged`)
  expect(line).not.toMatch(/[\r\n]/)
})

test('notices and attempts are lines too', () => {
  expect(plain({ kind: 'notice', level: 'warning', message: 'mind the gap' })).toBe(
    '12:00:01 warning mind the gap',
  )
  expect(plain({ kind: 'notice', level: 'info', message: 'reloaded' })).toBe('12:00:01 reloaded')
  expect(plain(attemptEvent({ outcome: 'auth', status: 401 }))).toBe('12:00:01 try req-1 a: 401 312 ms')
})

test('a failed attempt says why, and where it was if that was not found', () => {
  const url = 'https://a.test/v1/chat/completions'
  const attempts = [
    {
      upstream: 'a',
      model: 'm',
      outcome: 'failure',
      durationMs: 1,
      failure: { url, reason: 'connection refused', isUnsent: true },
    },
    {
      upstream: 'b',
      model: 'm',
      outcome: 'not-found',
      status: 404,
      durationMs: 1,
      failure: { url, isUnsent: false },
    },
    {
      upstream: 'c',
      model: 'm',
      outcome: 'failure',
      status: 500,
      durationMs: 1,
      failure: { url, isUnsent: false },
    },
  ] as const
  expect(plain(requestEvent({ attempts }))).toContain(`[a: connection refused, b: 404 at ${url}, c: 500]`)
})
