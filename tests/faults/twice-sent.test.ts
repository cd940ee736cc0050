/**
 * A request that an upstream may have worked on is not sent to it again: the answer might be paid for twice. Only a
 * connection that was dead before, as an idle one is that its upstream has just closed, is replaced by a new one.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { completion, echoing, promptOf, question } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { answer, close, raw, reset } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type Scene, type ScriptedUpstream } from '../support/scripted-upstream.ts'

/** Later than any news of a dead connection. */
const LATE_MS = 400

const late =
  (scene: Scene): Scene =>
  async (exchange) => {
    await new Promise((resolve) => setTimeout(resolve, LATE_MS))
    await scene(exchange)
  }

interface Case {
  readonly what: string
  /** Of a request on a connection that has answered before. */
  readonly reused: Scene
  /** Of one on a new connection: it is answered. */
  readonly fresh?: Scene
  /** Times that the upstream gets the request. */
  readonly sent: number
  readonly status: number
  readonly because: string
}

const partOfHead = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n'

const cases: readonly Case[] = [
  {
    what: 'is reset late',
    reused: late(reset()),
    sent: 1,
    status: 502,
    because: 'the upstream may have worked on it',
  },
  {
    what: 'is closed late',
    reused: late(close()),
    sent: 1,
    status: 502,
    because: 'the upstream may have worked on it',
  },
  {
    what: 'is reset behind a part of an answer',
    reused: raw(partOfHead, 'reset'),
    sent: 1,
    status: 502,
    because: 'the upstream has worked on it',
  },
  {
    what: 'is reset at once',
    reused: reset(),
    sent: 2,
    status: 200,
    because: 'the connection was dead',
  },
  {
    what: 'is closed at once',
    reused: close(),
    sent: 2,
    status: 200,
    because: 'the connection was dead',
  },
  {
    what: 'and the one in its place are reset at once',
    reused: reset(),
    fresh: reset(),
    sent: 2,
    status: 502,
    because: 'a new connection was not dead before',
  },
  {
    what: 'is closed at once, and the one in its place late',
    reused: close(),
    fresh: late(close()),
    sent: 2,
    status: 502,
    because: 'the upstream may have worked on it',
  },
]

/** One for each case; the last is for what is passed on. */
let upstreams: ScriptedUpstream[]
let other: ScriptedUpstream
let gateway: GatewayProcess
/** What happens to what is passed on over a connection that has answered before. */
let onPassed: Scene

const ok = answer({ body: '{"id":"file-1"}' })

/** Answers the first request; the second one has to take what is left of its connection. */
const playing =
  ({ reused, fresh = echoing() }: Case): Scene =>
  (exchange) => {
    if (promptOf(exchange.request.body) === 'the first') return echoing()(exchange)
    return (exchange.request.nth > 1 ? reused : fresh)(exchange)
  }

beforeAll(async () => {
  upstreams = await Promise.all([
    ...cases.map((one) => startScriptedUpstream(playing(one))),
    startScriptedUpstream((exchange) => (exchange.request.nth > 1 ? onPassed : ok)(exchange)),
  ])
  other = await startScriptedUpstream(echoing())
  gateway = await startGateway({
    models: [
      ...upstreams.map(({ url }, nth) => ({
        name: `u${nth}`,
        base_url: `${url}/v1`,
        model: 'm',
        groups: [`with-another-${nth}`],
      })),
      {
        name: 'other',
        base_url: `${other.url}/v1`,
        model: 'm',
        groups: cases.map((_, nth) => `with-another-${nth}`),
      },
    ],
    settings: { affinity: 'off', strategy: 'in_order', passthrough: `u${cases.length}` },
  })
})

afterAll(async () => {
  await gateway.stop()
  for (const upstream of [...upstreams, other]) await upstream.close()
  expect(gateway.stderr).toBe('')
})

const numbered = cases.map((one, nth) => ({ ...one, nth }))

test.each(numbered)(
  'a reused connection that $what: the request is sent $sent time(s) and ends with $status, since $because',
  async ({ nth, sent, status }) => {
    await gateway.chat({ model: `u${nth}`, ...question('the first') })
    const answered = await gateway.chat({ model: `u${nth}`, ...question('the second') })
    expect(answered.status).toBe(status)
    if (status === 200) expect(await answered.text()).toBe(completion('the second'))
    const seen = upstreams[nth]!.requests.filter(({ body }) => promptOf(body) === 'the second')
    expect(seen).toHaveLength(sent)
    expect(seen[0]!.nth, 'the connection was reused').toBeGreaterThan(1)
  },
)

test('where another upstream is left it gets the request, once', async () => {
  const nth = 0
  // An answer ends the rest that the failures above have begun.
  await gateway.chat({ model: `u${nth}`, ...question('the first') })
  const answered = await gateway.chat({ model: `with-another-${nth}`, ...question('the third') })
  expect(await answered.text()).toBe(completion('the third'))
  for (const upstream of [upstreams[nth]!, other]) {
    expect(upstream.requests.filter(({ body }) => promptOf(body) === 'the third')).toHaveLength(1)
  }
})

test.each([
  { method: 'POST', how: 'reset at once', scene: reset(), sent: 1, status: 502 },
  { method: 'POST', how: 'closed at once', scene: close(), sent: 1, status: 502 },
  { method: 'POST', how: 'reset late', scene: late(reset()), sent: 1, status: 502 },
  { method: 'GET', how: 'reset late', scene: late(reset()), sent: 1, status: 502 },
  { method: 'GET', how: 'closed at once', scene: close(), sent: 2, status: 200 },
])(
  'a $method that is passed on over a reused connection that is $how is sent $sent time(s)',
  async ({ method, how, scene, sent, status }) => {
    const upstream = upstreams.at(-1)!
    onPassed = ok
    expect((await gateway.fetch('/v1/files/the-first')).status).toBe(200)
    onPassed = scene
    const path = `/v1/files?case=${method}-${how.replaceAll(' ', '-')}`
    const answered = await gateway.fetch(path, { method, ...(method === 'POST' && { body: '{"a":1}' }) })
    expect(answered.status).toBe(status)
    const seen = upstream.requests.filter((request) => request.path === path)
    expect(seen).toHaveLength(sent)
    expect(seen[0]!.nth, 'the connection was reused').toBeGreaterThan(1)
  },
)
