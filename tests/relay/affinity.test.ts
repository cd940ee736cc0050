import { expect, test } from 'vitest'
import { chatAnswer, play, refusal } from '../support/played.ts'
import { configOf, createTestApp, jsonAnswer, type FakeUpstream, type TestApp } from '../support/test-app.ts'

const HOSTS = ['a.test', 'b.test', 'c.test', 'd.test']
const config = (affinity: string, more: object = {}) =>
  configOf(HOSTS, { settings: { affinity, queue_timeout: 0, ...more } })
const well = play(chatAnswer())
const talk = (system: string, user: string, ...more: string[]) => ({
  messages: [
    { role: 'system', content: system },
    { role: 'user', content: user },
    ...more.map((content) => ({ role: 'user', content })),
  ],
})

async function served(app: TestApp, ...args: Parameters<TestApp['chat']>): Promise<string> {
  const response = await app.chat(...args)
  await response.text()
  return response.headers.get('x-aiload-upstream') ?? String(response.status)
}

/** How many upstreams serve these requests, each sent three times; 1 for each when they stick. */
async function spread(
  app: TestApp,
  requests: Parameters<TestApp['chat']>[],
): Promise<{ sticks: boolean; used: number }> {
  const used = new Set<string>()
  let sticks = true
  for (const request of requests) {
    const own = new Set<string>()
    for (let turn = 0; turn < 6; turn++) own.add(await served(app, ...request))
    sticks &&= own.size === 1
    for (const host of own) used.add(host)
  }
  return { sticks, used: used.size }
}

const many = (of: (at: number) => Parameters<TestApp['chat']>) =>
  Array.from({ length: 12 }, (_, at) => of(at))

test.each([
  { rule: 'ip', request: (at: number) => [{}, { peer: `198.51.100.${at}` }] },
  { rule: 'user', request: (at: number) => [{ user: `user-${at}` }] },
  { rule: 'header:X-Session', request: (at: number) => [{}, { headers: { 'x-session': `s${at}` } }] },
  { rule: 'conversation', request: (at: number) => [talk('be kind', `question ${at}`)] },
  {
    rule: 'conversation',
    request: (at: number) => [{ prompt_cache_key: `k${at}`, ...talk(String(Math.random()), 'x') }],
  },
  { rule: 'header:x-session', request: (at: number) => [talk('without the header', `question ${at}`)] },
] as { rule: string; request: (at: number) => Parameters<TestApp['chat']> }[])(
  '$rule: the same goes to the same upstream, different ones spread',
  async ({ rule, request }) => {
    for (const strategy of ['random', 'round_robin', 'least_busy', 'fastest', 'headroom']) {
      const app = createTestApp(config(rule, { strategy }), well)
      const { sticks, used } = await spread(app, many(request))
      expect(sticks).toBe(true)
      if (strategy === 'random' || strategy === 'round_robin') expect(used).toBeGreaterThan(1)
    }
  },
)

test('every turn of a conversation sticks', async () => {
  const app = createTestApp(config('conversation'), well)
  const hosts = new Set<string>()
  for (let turns = 0; turns < 8; turns++)
    hosts.add(await served(app, talk('s', 'first', ...Array<string>(turns).fill('next'))))
  expect(hosts.size).toBe(1)
})

test('token: everybody goes to one upstream; off: nobody sticks', async () => {
  const requests = many((at) => [{ user: `u${at}` }, { peer: `198.51.100.${at}` }])
  expect(await spread(createTestApp(config('token'), well), requests)).toEqual({ sticks: true, used: 1 })
  expect(await spread(createTestApp(config('off'), well), requests)).toEqual({ sticks: false, used: 4 })
  expect(
    (
      await spread(
        createTestApp(config('user'), well),
        many(() => [{}]),
      )
    ).sticks,
  ).toBe(false)
})

test('the time to live counts from the last request', async () => {
  const app = createTestApp(config('ip', { strategy: 'round_robin', affinity_ttl: 60 }), well)
  const first = await served(app)
  for (let turn = 0; turn < 5; turn++) {
    await app.clock.advance(59_000)
    expect(await served(app)).toBe(first)
  }
  await app.clock.advance(60_001)
  expect(await served(app)).not.toBe(first)
})

test('replicas without shared state agree on unseen keys', async () => {
  const hosts = await Promise.all(
    [1, 2, 3].map((seed) => served(createTestApp(config('ip'), well, { seed }))),
  )
  expect(new Set(hosts).size).toBe(1)
})

test('when an upstream goes away only its keys move, and they stay where they were answered', async () => {
  let dead = ''
  const upstream: FakeUpstream = (request, signal, clock) =>
    play(request.host === dead ? refusal(503) : chatAnswer())(request, signal, clock)
  const app = createTestApp(config('ip'), upstream)
  const peers = Array.from({ length: 30 }, (_, at) => ({ peer: `203.0.113.${at}` }))
  const before = await Promise.all(peers.map((init) => served(app, {}, init)))
  dead = before[0]!
  const during: string[] = []
  for (const init of peers) during.push(await served(app, {}, init))
  expect(during.every((host, at) => host !== dead && (before[at] === dead || before[at] === host))).toBe(true)
  dead = ''
  await app.clock.advance(70_000)
  for (const [at, init] of peers.entries()) expect(await served(app, {}, init)).toBe(during[at])
})

test('a key moves only once another upstream has answered', async () => {
  const app = createTestApp(config('ip', { strategy: 'round_robin', timeout: 5 }), (request, signal, clock) =>
    play(request.host === failing || failing === 'all' ? refusal(503) : chatAnswer())(request, signal, clock),
  )
  let failing = ''
  const home = await served(app)
  failing = 'all'
  expect(await served(app)).toBe('503')
  failing = ''
  await app.clock.advance(3_000)
  expect(await served(app)).toBe(home)
})

test('an embedding never goes to another model', async () => {
  const config = {
    ...configOf([], { settings: { affinity: 'off', queue_timeout: 0 } }),
    models: [
      { base_url: 'https://a.test/v1', api_key: 'k', model: 'one', name: 'a' },
      { base_url: 'https://b.test/v1', api_key: 'k', model: 'two', name: 'b' },
      { base_url: 'https://c.test/v1', api_key: 'k', model: 'one', name: 'c' },
    ],
  }
  const app = createTestApp(config, play(refusal(503)))
  await app.chat({ input: 'x' }, { path: 'embeddings' })
  expect(app.hosts().sort()).toEqual(['a.test', 'c.test'])
  const refusing = createTestApp(config, play(refusal(400, 'context_length_exceeded')))
  expect((await refusing.chat({ input: 'x' }, { path: 'embeddings' })).status).toBe(400)
  expect(refusing.hosts().sort()).toEqual(['a.test', 'c.test'])
})

const responses: FakeUpstream = (request) => {
  const id = `resp_${request.host}`
  if (!request.text.includes('"stream":true'))
    return jsonAnswer(200, { id, object: 'response', output: [{ type: 'message' }] })
  const created = `event: response.created\ndata: {"type":"response.created","response":{"id":"${id}"}}\n\n`
  const done = `event: response.completed\ndata: {"type":"response.completed","response":{"id":"${id}","output":[{"type":"message"}]}}\n\n`
  return {
    status: 200,
    headers: { 'content-type': 'text/event-stream' },
    body: new Blob([created, done]).stream(),
  }
}

test.each([false, true])('what builds on an answer goes to its holder alone (stream: %s)', async (stream) => {
  let dead = ''
  const app = createTestApp(config('off'), (request, signal, clock) =>
    request.host === dead ? jsonAnswer(503, {}) : responses(request, signal, clock),
  )
  const ask = (more: object = {}) => served(app, { input: 'x', stream, ...more }, { path: 'responses' })
  const holder = await ask()
  await app.clock.advance(24 * 3_600_000)
  for (let turn = 0; turn < 8; turn++)
    expect(await ask({ previous_response_id: `resp_${holder}` })).toBe(holder)
  dead = holder
  const calls = app.calls.length
  expect(await ask({ previous_response_id: `resp_${holder}` })).toBe('503')
  expect(app.calls).toHaveLength(calls + 1)
})

test('a conversation of the vendor stays on the account that answered it', async () => {
  const app = createTestApp(config('off'), responses)
  for (const conversation of ['conv_1', { id: 'conv_2' }]) {
    const hosts = new Set<string>()
    for (let turn = 0; turn < 8; turn++)
      hosts.add(await served(app, { input: 'x', conversation }, { path: 'responses' }))
    expect(hosts.size).toBe(1)
  }
})

test('an unknown id follows the affinity rule', async () => {
  const app = createTestApp(config('ip'), responses)
  const home = await served(app, { input: 'x' }, { path: 'responses' })
  expect(await served(app, { input: 'x', previous_response_id: 'resp_unknown' }, { path: 'responses' })).toBe(
    home,
  )
})
