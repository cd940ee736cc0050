import { beforeEach, describe, expect, test } from 'vitest'
import { ask, errorOf } from '../support/ask.ts'
import { createObjectBed } from '../support/object-bed.ts'
import { configOf, createTestApp, jsonAnswer, type FakeUpstream, type TestApp } from '../support/test-app.ts'

const hosts = ['a.test', 'b.test', 'c.test']
const settings = { strategy: 'round_robin', queue_timeout: 0 }
const encoder = new TextEncoder()

/** Makes answers with its name in their ids, as events where that is asked, and says of all other paths whose they are. */
const storing: FakeUpstream = ({ host, method, url, text }) => {
  const path = new URL(url).pathname.slice('/v1/'.length)
  if (method === 'POST' && path === 'responses')
    return jsonAnswer(200, { id: `resp_${host}`, object: 'response', status: 'completed', output: [{}] })
  if (method !== 'POST' || path !== 'chat/completions') return jsonAnswer(200, { by: host })
  const id = `chatcmpl-${host}`
  if (!text.includes('"stream":true'))
    return jsonAnswer(200, { id, choices: [{ message: { role: 'assistant', content: 'hi' } }] })
  const chunk = JSON.stringify({ id, choices: [{ index: 0, delta: { content: 'hi' } }] })
  const headers = { 'content-type': 'text/event-stream' }
  return { status: 200, headers, body: encoder.encode(`data: ${chunk}\n\ndata: [DONE]\n\n`) }
}

async function make(gateway: TestApp, path: string, body: object): Promise<string> {
  const response = await gateway.chat(body, { path })
  expect(response.status).toBe(200)
  await response.text()
  return response.headers.get('x-aiload-upstream') ?? ''
}

const responseOf = (gateway: TestApp) => make(gateway, 'responses', { input: 'hi' })

let gateway: TestApp
beforeEach(() => {
  gateway = createTestApp(configOf(hosts, { settings }), storing)
})

const METHODS = [
  { method: 'GET', below: '' },
  { method: 'HEAD', below: '' },
  { method: 'DELETE', below: '' },
  { method: 'POST', below: '/cancel' },
  { method: 'GET', below: '/input_items?limit=2&after=%E4%BD%A0' },
]

describe('a response', () => {
  test.each(METHODS)(
    '$method …$below reaches the upstream that made it, as it is',
    async ({ method, below }) => {
      for (let nth = 0; nth < 3; nth++) {
        const host = await responseOf(gateway)
        const path = `/v1/responses/resp_${host}${below}`
        const body = method === 'POST' ? ' {"x":1} ' : undefined
        const response = await ask(gateway, path, { method, ...(body && { body }) })
        expect(response.status).toBe(200)
        if (method !== 'HEAD') expect(await response.json()).toEqual({ by: host })
        expect(gateway.calls.at(-1)).toMatchObject({
          method,
          url: `https://${host}${path}`,
          text: body ?? '',
        })
      }
      expect(new Set(gateway.hosts())).toEqual(new Set(hosts))
      expect(gateway.openLeases).toBe(0)
      expect(gateway.requests().filter(({ endpoint }) => endpoint === 'passthrough')).toHaveLength(3)
    },
  )

  test('goes there before settings.passthrough, and an unknown one goes where that says', async () => {
    const config = configOf(hosts, { settings: { ...settings, passthrough: 'c.test' } })
    gateway = createTestApp(config, storing)
    const host = await responseOf(gateway)
    expect(host).not.toBe('c.test')
    for (const [id, by] of [
      [`resp_${host}`, host],
      ['resp_x', 'c.test'],
    ] as const) {
      expect(await (await ask(gateway, `/v1/responses/${id}`)).json()).toEqual({ by })
    }
  })

  test('is found by an id that is spelt with escapes, in any case of the path', async () => {
    const host = await responseOf(gateway)
    for (const path of [`responses/%72esp_${host}`, `Responses//resp_${host}/`])
      expect(await (await ask(gateway, `/v1/${path}`)).json()).toEqual({ by: host })
  })

  test('that nobody is known to have made is nowhere among several: 404 that says why', async () => {
    await responseOf(gateway)
    for (const [method, path] of [
      ['GET', 'responses/resp_x'],
      ['DELETE', 'responses/resp_x'],
      ['POST', 'responses/resp_x/cancel'],
      ['GET', `responses/${'x'.repeat(3000)}`],
    ] as const) {
      const response = await ask(gateway, `/v1/${path}`, { method })
      expect(response.status).toBe(404)
      const { code, message } = await errorOf(response)
      expect([code, message]).toEqual([
        'unsupported_endpoint',
        expect.stringContaining('settings.passthrough'),
      ])
    }
    expect(gateway.calls).toHaveLength(1)
    expect(gateway.memory.held).toBe(0)
    expect(gateway.openLeases).toBe(0)
  })

  test('of an upstream that is disabled or gone is unknown', async () => {
    const host = await responseOf(gateway)
    const isThere = async () => (await ask(gateway, `/v1/responses/resp_${host}`)).status
    const others = hosts.filter((each) => each !== host)
    gateway.apply(configOf(others, { settings }))
    expect(await isThere()).toBe(404)
    const { models, ...rest } = configOf(hosts, { settings }) as { models: { name: string }[] }
    gateway.apply({ ...rest, models: models.map((each) => ({ ...each, enabled: each.name !== host })) })
    expect(await isThere()).toBe(404)
    gateway.apply(configOf(hosts, { settings }))
    expect(await isThere()).toBe(200)
  })

  test('is asked for where the root has no version: it was made below the same one', async () => {
    const base = { base_url: undefined }
    const config = configOf(hosts, { settings, models: base }) as { models: { name: string }[] }
    const models = config.models.map((each) => ({ ...each, base_url: `https://${each.name}/openai` }))
    gateway = createTestApp({ ...config, models }, ({ host, method }) =>
      jsonAnswer(200, method === 'POST' ? { id: `resp_${host}`, output: [{}] } : { by: host }),
    )
    const host = await responseOf(gateway)
    expect(await (await ask(gateway, `/v1/responses/resp_${host}`)).json()).toEqual({ by: host })
    expect(gateway.calls.at(-1)?.url).toBe(`https://${host}/openai/responses/resp_${host}`)
  })

  test.each([204, 304, 404, 409, 500])(
    'comes with the status %i of its upstream, in one attempt',
    async (status) => {
      gateway = createTestApp(configOf(hosts, { settings }), (request, ...rest) =>
        request.method === 'POST' ? storing(request, ...rest) : jsonAnswer(status, { said: status }),
      )
      const host = await responseOf(gateway)
      const response = await ask(gateway, `/v1/responses/resp_${host}`, { method: 'DELETE' })
      expect(response.status).toBe(status)
      expect(await response.text()).toBe(status < 400 ? '' : JSON.stringify({ said: status }))
      expect(gateway.hosts()).toEqual([host, host])
    },
  )
})

describe('a chat completion', () => {
  test.each([
    { method: 'GET', below: '' },
    { method: 'POST', below: '' },
    { method: 'DELETE', below: '' },
    { method: 'GET', below: '/messages?limit=1' },
  ])('that is stored: $method …$below reaches its upstream, streamed or not', async ({ method, below }) => {
    for (const stream of [true, false]) {
      const host = await make(gateway, 'chat/completions', { store: true, stream })
      const path = `/v1/chat/completions/chatcmpl-${host}${below}`
      const body = method === 'POST' ? '{"metadata":{"model":"x"}}' : undefined
      const response = await ask(gateway, path, { method, ...(body && { body }) })
      expect(await response.json()).toEqual({ by: host })
      expect(gateway.calls.at(-1)).toMatchObject({ method, url: `https://${host}${path}`, text: body ?? '' })
    }
  })

  test.each([{}, { store: false }, { store: null }, { store: 'true' }])(
    'made with %o is not remembered',
    async (more) => {
      const host = await make(gateway, 'chat/completions', more)
      expect((await ask(gateway, `/v1/chat/completions/chatcmpl-${host}`)).status).toBe(404)
    },
  )
})

test.each(['GET', 'DELETE', 'PUT'])(
  '%s of responses/compact and responses/input_tokens is about no response: 405',
  async (method) => {
    for (const path of ['responses/compact', 'responses/input_tokens']) {
      for (const some of [hosts, ['a.test']]) {
        const response = await ask(createTestApp(configOf(some), storing), `/v1/${path}`, { method })
        expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST'])
      }
    }
  },
)

describe('over a store that is elsewhere', () => {
  const isolates = (more: object = {}) => {
    const bed = createObjectBed()
    const config = configOf(hosts, { settings: { ...settings, ...more } })
    const trips: number[] = []
    const noted: FakeUpstream = (...call) => {
      trips.push(bed.calls.length)
      return storing(...call)
    }
    return { bed, trips, left: bed.isolate(config, storing), right: bed.isolate(config, noted) }
  }

  test.each(METHODS)(
    'another isolate finds it with one round trip: $method …$below',
    async ({ method, below }) => {
      const { bed, trips, left, right } = isolates()
      for (let nth = 0; nth < 3; nth++) {
        const host = await responseOf(left)
        await bed.clock.advance(5_000)
        const before = bed.calls.length
        const response = await ask(right, `/v1/responses/resp_${host}${below}`, { method })
        expect([response.status, response.headers.get('x-aiload-upstream')]).toEqual([200, host])
        expect(trips.at(-1)).toBe(before + 1)
        await bed.clock.advance(5_000)
        expect([left.inFlight(), right.inFlight(), right.openLeases]).toEqual([0, 0, 0])
      }
    },
  )

  test('an unknown one goes where settings.passthrough says, with one round trip too', async () => {
    const { bed, trips, right } = isolates({ passthrough: 'c.test' })
    const response = await ask(right, '/v1/responses/resp_x')
    expect(response.headers.get('x-aiload-upstream')).toBe('c.test')
    expect(trips).toEqual([1])
    await bed.clock.advance(5_000)
    expect(right.inFlight()).toBe(0)
  })

  test('an unknown one is refused without one, and nothing stays taken', async () => {
    const { bed, trips, right } = isolates()
    expect((await ask(right, '/v1/responses/resp_x')).status).toBe(404)
    await bed.clock.advance(5_000)
    expect([trips.length, right.inFlight(), right.openLeases]).toEqual([0, 0, 0])
  })

  test('while it is away an isolate knows what it made itself', async () => {
    const { bed, right } = isolates()
    bed.isAway = true
    const host = await responseOf(right)
    await bed.clock.advance(5_000)
    const response = await ask(right, `/v1/responses/resp_${host}`)
    expect([response.status, response.headers.get('x-aiload-upstream')]).toEqual([200, host])
  })
})
