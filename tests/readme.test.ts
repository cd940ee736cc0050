import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { readerOf } from '../src/lib/bytes.ts'
import { instantOf } from '../src/lib/clock.ts'
import { TransportError, type UpstreamResponse } from '../src/transport/transport.ts'
import { knownStates, reasonAgainst } from '../src/telemetry/status.ts'
import { createRuntimeConfig } from '../src/http/deps.ts'
import { tableBelow } from './support/markdown.ts'
import {
  answer,
  checked,
  configOf,
  createTestApp,
  errorAnswer,
  jsonAnswer,
  type TestApp,
} from './support/test-app.ts'

/** What the README promises for each fault is what really happens. */

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
const chinese = readFileSync(new URL('../README.zh.md', import.meta.url), 'utf8')

const events = (text: string): UpstreamResponse => ({
  status: 200,
  headers: { 'content-type': 'text/event-stream' },
  body: readerOf(new TextEncoder().encode(text)),
})
const throws = (failure: TransportError['failure']) => (): UpstreamResponse => {
  throw new TransportError(failure, 'as scripted')
}
const page = (status: number): UpstreamResponse => ({
  status,
  headers: { 'content-type': 'text/html' },
  body: new TextEncoder().encode('<html>'),
})

interface Played {
  /** One for each thing that the row names. */
  readonly scenes: readonly (() => UpstreamResponse)[]
  readonly body?: object
  /** How long the named scope rests after the first failure, ms; undefined = nobody rests. */
  readonly restMs?: number
}

/** Rows of the table that end before the first byte, by their first cell. */
const played: Readonly<Record<string, Played>> = {
  'connection refused, DNS or TLS failure': { scenes: [throws('not-sent')], restMs: 1_000 },
  'no connection in time, no first content in time': {
    scenes: [throws('connect-timeout'), throws('timeout')],
    restMs: 1_000,
  },
  '429 with a hint': {
    scenes: [() => errorAnswer(429, 'rate_limit_exceeded', { 'retry-after': '30' })],
    restMs: 30_000,
  },
  '429 without a hint': { scenes: [() => errorAnswer(429, 'rate_limit_exceeded')], restMs: 5_000 },
  '402 or `insufficient_quota`': {
    scenes: [() => errorAnswer(402), () => errorAnswer(429, 'insufficient_quota')],
    restMs: 3_600_000,
  },
  '401': { scenes: [() => errorAnswer(401, 'invalid_api_key')], restMs: 300_000 },
  '404 for the model': { scenes: [() => errorAnswer(404, 'model_not_found')], restMs: 600_000 },
  '500': { scenes: [() => errorAnswer(500)], restMs: 1_000 },
  '503 or 529': { scenes: [() => errorAnswer(503), () => errorAnswer(529)], restMs: 1_000 },
  '404, 405 or 501 for the endpoint': {
    scenes: [404, 405, 501].map((status) => () => jsonAnswer(status, { detail: 'Not Found' })),
    restMs: 600_000,
  },
  'an error in a 200, whole or as the first event with something in it': {
    scenes: [() => jsonAnswer(200, { error: { message: 'no', code: 'server_error' } })],
    restMs: 1_000,
  },
  'an HTML page, junk or nothing at all under a 200': {
    scenes: [
      () => page(200),
      () => ({ ...page(200), body: new TextEncoder().encode('busy') }),
      () => ({ status: 200, headers: { 'content-type': 'application/json' }, body: new Uint8Array(0) }),
    ],
    restMs: 1_000,
  },
  'a redirect': {
    scenes: [() => ({ ...page(302), headers: { location: 'https://elsewhere.test/' } })],
    restMs: 1_000,
  },
}

/** Rows whose answer is the upstream's own; `restMs`: how long it rests for it. */
const verbatim: Readonly<Record<string, { scenes: readonly (() => UpstreamResponse)[]; restMs?: number }>> = {
  'too long for the model, in any words; 402 that names an affordable length': {
    scenes: [
      () => errorAnswer(400, 'context_length_exceeded'),
      () => jsonAnswer(422, { message: 'inputs tokens + max_new_tokens must be <= 8193' }),
      () => jsonAnswer(402, { error: { message: 'You need fewer max_tokens: you can only afford 53.' } }),
    ],
  },
  'any other 400, 413, 415, 422; a refusal for what the text says': {
    scenes: [
      ...[400, 413, 415, 422].map((status) => () => errorAnswer(status)),
      () => jsonAnswer(403, { error: { message: 'Your input was flagged.', code: 'moderation' } }),
    ],
  },
  'made by another account (`invalid_encrypted_content`)': {
    scenes: [() => errorAnswer(400, 'invalid_encrypted_content')],
  },
  'any other 4xx, such as 409 or 424': {
    scenes: [406, 409, 418, 424].map((status) => () => errorAnswer(status)),
    restMs: 1_000,
  },
  'an answer without content': {
    scenes: [() => jsonAnswer(200, { choices: [] }), () => jsonAnswer(200, {})],
  },
}

const rows = tableBelow(readme, '## When an upstream fails')
const byText = (a = '', b = ''): number => a.localeCompare(b)
const cellsOf = (name: string): string[] => rows.find(([first]) => first === name) ?? []

test('the table has a row for each scene, and each row a scene', () => {
  const midStream = 'it breaks in the middle of a stream'
  expect(rows.map(([first = '']) => first).toSorted(byText)).toEqual(
    [...Object.keys(played), ...Object.keys(verbatim), midStream].toSorted(byText),
  )
})

const inOrder = { settings: { strategy: 'in_order', queue_timeout: 0 } }
const good = (stream: boolean): UpstreamResponse =>
  stream
    ? events('data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
    : answer('b.test')

async function restOf({ store, clock }: TestApp): Promise<number | undefined> {
  const { pools } = createRuntimeConfig(checked(configOf(['a.test'], inOrder)))
  const [upstream] = pools.upstreams
  const stateOf = await knownStates(pools.upstreams, store.snapshot)
  const reason = reasonAgainst(upstream!.claims.chat, 'chat', { stateOf, at: instantOf(clock) })
  return reason && reason.until - clock.now()
}

test.each(Object.entries(played))(
  '%s: another answers, and alone it is what the README says',
  async (name, { scenes, body = {}, restMs }) => {
    const [, , exhausted = '', rests = ''] = cellsOf(name)
    for (const scene of scenes) {
      const both = createTestApp(configOf(['a.test', 'b.test'], inOrder), ({ host }) =>
        host === 'a.test' ? scene() : good('stream' in body),
      )
      expect((await both.chat(body)).status).toBe(200)
      expect(both.hosts()).toEqual(['a.test', 'b.test'])

      const alone = createTestApp(configOf(['a.test'], inOrder), scene)
      const failed = await alone.chat(body)
      const { error } = (await failed.json()) as { error: { code: string } }
      expect(exhausted).toContain(`${failed.status} \`${error.code}\``)
      if (exhausted.includes('retry-after'))
        expect(Number(failed.headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
      const rest = (await restOf(alone)) ?? 0
      expect(rest).toBeGreaterThanOrEqual(0.8 * (restMs ?? 0) - 1)
      expect(rest).toBeLessThanOrEqual(1.2 * (restMs ?? 0) + 1)
      expect(rests).toMatch(/^the (upstream|key)/)
    }
  },
)

test.each(Object.entries(verbatim))('%s: alone its answer is as it was', async (name, { scenes, restMs }) => {
  const [, , alone, rests] = cellsOf(name)
  expect(alone).toMatch(/answer as it was/)
  expect(rests).toMatch(restMs === undefined ? /^nobody/ : /^the upstream/)
  for (const scene of scenes) {
    const sole = createTestApp(configOf(['a.test'], inOrder), scene)
    const given = await sole.chat()
    expect(given.status).toBe(scene().status)
    expect(new Uint8Array(await given.arrayBuffer())).toEqual(scene().body)
    const rest = await restOf(sole)
    if (restMs === undefined) expect(rest).toBeUndefined()
    else expect(rest! / restMs).toBeCloseTo(1, 0)
    const both = createTestApp(configOf(['a.test', 'b.test'], inOrder), ({ host }) =>
      host === 'a.test' ? scene() : answer(host),
    )
    expect((await both.chat()).status).toBe(200)
    expect(both.hosts()).toEqual(['a.test', 'b.test'])
  }
})

/** What one language's table is about, row for row: the names in it. */
const shapeOf = (text: string): string[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) => (line.match(/`[^`]+`/g) ?? []).join(' '))

test('both languages have the same tables, row for row', () => {
  expect(shapeOf(readme).length).toBeGreaterThan(50)
  expect(shapeOf(chinese)).toEqual(shapeOf(readme))
})

test.each(['measured', 'edge', 'operate'])('docs/%s has the same tables in both languages', (name) => {
  const read = (file: string) => readFileSync(new URL(`../docs/${file}`, import.meta.url), 'utf8')
  expect(shapeOf(read(`${name}.zh.md`))).toEqual(shapeOf(read(`${name}.md`)))
})
