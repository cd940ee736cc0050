import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { TransportError } from '../../src/transport/transport.ts'
import { ask, askBare, errorOf, type AskInit } from '../support/ask.ts'
import { createObjectBed } from '../support/object-bed.ts'
import {
  answer,
  configOf,
  createTestApp,
  jsonAnswer,
  TOKEN,
  type ClientInit,
  type FakeUpstream,
  type TestApp,
} from '../support/test-app.ts'

/** The token of a client, as it shows it. */
const secretOf = (name: string): string => `sk-${name}-${'x'.repeat(40)}`
const digestOf = (name: string): string =>
  `sha256:${createHash('sha256').update(secretOf(name)).digest('hex')}`
const tokenOf = (name: string, more: object = {}): object => ({ name, token: digestOf(name), ...more })
const bearer = (name: string) => ({ authorization: `Bearer ${secretOf(name)}` })

const usage = { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 }
const answering: FakeUpstream = ({ host }) =>
  answer(host, {
    usage,
    headers: { 'x-ratelimit-limit-requests': '9', 'x-ratelimit-limit-tokens-minute': '8' },
  })

const gatewayWith = (tokens: object[], more: object = {}, upstream: FakeUpstream = answering): TestApp =>
  createTestApp(configOf(['a.test', 'b.test'], { tokens, ...more }), upstream)
const as = (gateway: TestApp, name: string, path: string, init: AskInit = {}) =>
  askBare(gateway, path, { ...init, headers: { ...bearer(name), ...init.headers } })
const chatAs = (gateway: TestApp, name: string, body: object = {}, init: ClientInit = {}) =>
  gateway.chat(body, { ...init, headers: { ...bearer(name), ...init.headers } })
const codeOf = async (response: Response) => [response.status, (await errorOf(response)).code]

describe('the token of a client', () => {
  test.each([
    { token: digestOf('alice') },
    { token: digestOf('alice').toUpperCase().replace('SHA', 'sha') },
    { token: secretOf('alice') },
  ])('opens the door, written as its digest or plain: $token', async ({ token }) => {
    const gateway = gatewayWith([
      { name: 'bob', token: digestOf('bob') },
      { name: 'alice', token },
    ])
    for (const headers of [bearer('alice'), { 'x-api-key': secretOf('alice') }, bearer('bob')])
      expect((await askBare(gateway, '/v1/models', { headers })).status).toBe(200)
    expect((await ask(gateway, '/v1/models')).status).toBe(200)
    for (const given of [digestOf('alice'), secretOf('carol'), `${secretOf('alice')}x`, 'x'.repeat(10_000)])
      expect((await askBare(gateway, '/v1/models', { headers: { 'x-api-key': given } })).status).toBe(401)
  })

  test('that was taken out of the configuration is dead', async () => {
    const gateway = gatewayWith([tokenOf('alice')])
    expect((await chatAs(gateway, 'alice')).status).toBe(200)
    gateway.apply(configOf(['a.test'], { tokens: [] }))
    expect(await codeOf(await chatAs(gateway, 'alice'))).toEqual([401, 'invalid_api_key'])
  })

  test('that has expired is told so', async () => {
    const gateway = gatewayWith([])
    const at = (ms: number): string => new Date(gateway.clock.wall() + ms).toISOString()
    gateway.apply(configOf(['a.test'], { tokens: [tokenOf('alice', { expires: at(1_000) })] }))
    expect((await chatAs(gateway, 'alice')).status).toBe(200)
    await gateway.clock.advance(1_000)
    const error = await errorOf(await chatAs(gateway, 'alice'))
    expect(error).toMatchObject({ code: 'invalid_api_key', message: expect.stringContaining('expired on') })
  })

  test('reaches nothing of the operator, unless it is an admin', async () => {
    const gateway = gatewayWith([tokenOf('alice'), tokenOf('root', { admin: true })])
    for (const path of ['/admin/status', '/admin/tokens', '/admin/nothing', '/metrics']) {
      expect(await codeOf(await as(gateway, 'alice', path))).toEqual([403, 'admin_only'])
      expect((await as(gateway, 'root', path)).status).toBe(path === '/admin/nothing' ? 404 : 200)
    }
    gateway.apply(configOf(['a.test'], { tokens: [tokenOf('alice')], server: { metrics_public: true } }))
    expect((await as(gateway, 'alice', '/metrics')).status).toBe(200)
  })

  test.each([
    (token: string) => `/v1/${token}/models`,
    (token: string) => `/v1/Bearer%20${token}`,
    (token: string) => `/v1/${'x'.repeat(180)}/${token}`,
    (token: string) => `/nowhere/${token.repeat(1)}?key=${token}`,
  ])('is masked in the path of a request that is refused (%#)', async (pathOf) => {
    const made = `sk-${'Ab_-1'.repeat(9).slice(0, 43)}`
    const gateway = gatewayWith([{ name: 'alice', token: made }])
    await askBare(gateway, pathOf(made), { headers: { 'x-api-key': made } })
    const { path = '' } = gateway.requests()[0] ?? {}
    expect(path).toContain('***')
    expect(path).not.toContain(made.slice(0, 12))
  })

  test('is masked in such a path behind its scheme too, where it was not made here', async () => {
    const gateway = gatewayWith([tokenOf('alice')])
    await as(gateway, 'alice', `/nowhere/Bearer%20${secretOf('alice')}%20/models`)
    expect(gateway.requests()[0]?.path).toBe('/nowhere/Bearer%20***%20/models')
  })

  test('is masked in a path that is passed on and fails there', async () => {
    const settings = { passthrough: 'a.test', passthrough_paths: ['files'] }
    const tokens = [tokenOf('alice', { passthrough: true })]
    const gateway = gatewayWith(tokens, { settings }, () => {
      throw new TransportError('not-sent', 'gone')
    })
    const asked = await as(gateway, 'alice', `/v1/files/${secretOf('alice')}/content`)
    expect(asked.status).toBe(502)
    expect(gateway.calls[0]?.url).toContain(secretOf('alice'))
    expect(gateway.requests()[0]?.attempts[0]?.failure?.url).toBe('https://a.test/v1/files/***/content')
  })

  test.each([
    { name: 'alice' },
    { name: 'operator' },
    { name: 'alice', scheme: 'Bearer ' },
    { name: 'operator', scheme: 'bearer ' },
  ])(
    'of $name is masked where it stands in the place of the model, behind "$scheme"',
    async ({ name, scheme = '' }) => {
      const token = `${scheme}${secretOf(name)}`
      const config = configOf(['a.test'], { tokens: [tokenOf('alice')] })
      const gateway = createTestApp({ ...config, auth_token: secretOf('operator') }, answering)
      const refused = await chatAs(gateway, 'alice', { model: token })
      expect(refused.status).toBe(404)
      expect(gateway.requests().map(({ requestedModel }) => requestedModel)).toEqual(['***'])
      await chatAs(gateway, 'alice', { model: 'a-model-that-nobody-has-here' })
      expect(gateway.requests()[1]?.requestedModel).toBe('a-model-that-nobody-has-here')
    },
  )

  test('stands in the record of its requests by its name, and nowhere else', async () => {
    const gateway = gatewayWith([tokenOf('alice', { limits: { rpm: 2 } })])
    await chatAs(gateway, 'alice')
    await gateway.chat()
    await as(gateway, 'alice', `/v1/${secretOf('alice')}/models`)
    await as(gateway, 'alice', '/v1/models')
    expect(gateway.requests().map(({ token }) => token)).toEqual(['alice', undefined, 'alice', 'alice'])
    expect(gateway.requests()[2]?.path).toBe('/v1/***/models')
    const kept = JSON.stringify([gateway.events, gateway.store.keep({ now: gateway.clock.now(), wall: 0 })])
    for (const secret of [secretOf('alice'), digestOf('alice').slice(7)]) expect(kept).not.toContain(secret)
  })
})

describe('allow_ips', () => {
  const allowed = [
    tokenOf('alice', { allow_ips: ['10.0.0.0/8', '2001:db8::1'] }),
    tokenOf('bob', { allow_ips: ['private'] }),
  ]

  test('looks at the peer, and believes no header', async () => {
    const gateway = gatewayWith(allowed)
    const headers = { 'x-forwarded-for': '10.9.9.9', 'x-real-ip': '10.9.9.9' }
    for (const [peer, status] of [
      ['10.1.2.3', 200],
      ['::ffff:10.1.2.3', 200],
      ['2001:db8:0::1', 200],
      ['11.1.2.3', 403],
      ['2001:db8::2', 403],
      // The default of trusted_proxies is no word of the operator.
      ['127.0.0.1', 403],
      ['', 403],
    ] as const)
      expect([peer, (await as(gateway, 'alice', '/v1/models', { peer, headers })).status]).toEqual([
        peer,
        status,
      ])
    expect((await as(gateway, 'bob', '/v1/models', { peer: '192.168.1.1' })).status).toBe(200)
    const refused = await as(gateway, 'alice', '/v1/models', { peer: '11.1.2.3' })
    expect(await errorOf(refused)).toMatchObject({
      code: 'ip_not_allowed',
      message: expect.stringContaining('11.1.2.3'),
    })
  })

  test('looks at what a proxy says that the configuration names', async () => {
    const gateway = gatewayWith(allowed, { server: { trusted_proxies: ['192.0.2.1'] } })
    const from = async (peer: string, forwarded: string) =>
      (await as(gateway, 'alice', '/v1/models', { peer, headers: { 'x-forwarded-for': forwarded } })).status
    expect(await from('192.0.2.1', '10.0.0.5')).toBe(200)
    expect(await from('192.0.2.1', '11.0.0.5')).toBe(403)
    expect(await from('192.0.2.2', '10.0.0.5')).toBe(403)
    expect(await from('192.0.2.1', '10.0.0.5, 11.0.0.1')).toBe(403)
  })
})

describe('models', () => {
  const models = { groups: ['fast'] }
  const create = (...names: string[]) =>
    createTestApp(
      {
        ...configOf(['a.test', 'b.test', 'c.test'], {
          tokens: [tokenOf('alice', { models: names })],
          models,
        }),
      },
      answering,
    )
  const listed = async (gateway: TestApp, name: string) => {
    const list = (await (await as(gateway, name, '/v1/models')).json()) as { data: { id: string }[] }
    return list.data.map(({ id }) => id)
  }

  test.each([
    { names: ['model-a.test'], reached: ['a.test'], list: ['auto', 'fast', 'model-a.test'] },
    { names: ['b.test'], reached: ['b.test'], list: ['auto', 'fast', 'model-b.test'] },
    {
      names: ['fast'],
      reached: ['a.test', 'b.test', 'c.test'],
      list: ['auto', 'fast', 'model-a.test', 'model-b.test', 'model-c.test'],
    },
    {
      names: ['Auto'],
      reached: ['a.test', 'b.test', 'c.test'],
      list: ['auto', 'fast', 'model-a.test', 'model-b.test', 'model-c.test'],
    },
    {
      names: ['model-a.test', 'c.test'],
      reached: ['a.test', 'c.test'],
      list: ['auto', 'fast', 'model-a.test', 'model-c.test'],
    },
  ])('$names cut auto, groups, names and the list', async ({ names, reached, list }) => {
    const gateway = create(...names)
    for (const model of ['auto', 'fast', '']) {
      const hosts = new Set<string>()
      for (let nth = 0; nth < 30; nth++)
        hosts.add((await chatAs(gateway, 'alice', { model })).headers.get('x-aiload-upstream') ?? '')
      expect([...hosts].toSorted()).toEqual(reached)
    }
    expect(await listed(gateway, 'alice')).toEqual(list)
    for (const host of ['a.test', 'b.test', 'c.test'])
      for (const model of [host, `model-${host}`]) {
        const isAllowed = reached.includes(host)
        const response = await chatAs(gateway, 'alice', { model })
        const one = await as(gateway, 'alice', `/v1/models/${model}`)
        expect([response.status, one.status]).toEqual(isAllowed ? [200, 200] : [404, 404])
        if (isAllowed) continue
        const { code, message } = await errorOf(response)
        expect(code).toBe('model_not_found')
        expect(message).toContain(list.join(', '))
        for (const other of ['model-a.test', 'model-b.test', 'model-c.test'])
          if (!list.includes(other) && other !== model) expect(message).not.toContain(other)
      }
    expect((await gateway.chat({ model: 'c.test' })).status).toBe(200)
  })

  test('that name nothing leave nothing', async () => {
    const gateway = create('gone')
    expect((await chatAs(gateway, 'alice')).status).toBe(404)
    expect(await listed(gateway, 'alice')).toEqual(['auto'])
  })

  test('keep conversations apart only where they cut: affinity remembers each set of upstreams', async () => {
    const tokens = [tokenOf('alice', { models: ['a.test'] }), tokenOf('bob', { models: ['b.test'] })]
    const gateway = gatewayWith(tokens, { settings: { affinity: 'ip' } })
    const hosts: (string | null)[] = []
    for (const name of ['alice', 'bob', 'alice', 'bob'])
      hosts.push((await chatAs(gateway, name)).headers.get('x-aiload-upstream'))
    expect(hosts).toEqual(['a.test', 'b.test', 'a.test', 'b.test'])
  })
})

test('affinity by token tells clients apart, and one of auth_token sticks as it did', async () => {
  const tokens = [tokenOf('alice'), tokenOf('bob')]
  const hosts = Array.from({ length: 20 }, (_, nth) => `h${nth}.test`)
  const gateway = createTestApp(configOf(hosts, { tokens, settings: { affinity: 'token' } }), answering)
  const ofOne = async (headers: Record<string, string>) => {
    const seen = new Set<string | null>()
    for (let nth = 0; nth < 5; nth++)
      seen.add((await gateway.chat({}, { headers })).headers.get('x-aiload-upstream'))
    expect(seen.size).toBe(1)
    return [...seen][0]
  }
  const [alice, bob, own] = [await ofOne(bearer('alice')), await ofOne(bearer('bob')), await ofOne({})]
  expect(new Set([alice, bob, own]).size).toBe(3)
})

describe('limits of a token', () => {
  test('are told of in the headers of OpenAI, and an upstream is not heard of', async () => {
    const gateway = gatewayWith([
      tokenOf('alice', { limits: { rpm: 3, rpd: 100, tpm: 10_000 } }),
      tokenOf('bob'),
    ])
    const first = await chatAs(gateway, 'alice', { max_tokens: 100 })
    const told = Object.fromEntries([...first.headers].filter(([name]) => name.includes('ratelimit')))
    expect(told).toEqual({
      'x-ratelimit-limit-requests': '3',
      'x-ratelimit-remaining-requests': '2',
      'x-ratelimit-reset-requests': '1m0s',
      'x-ratelimit-limit-tokens': '10000',
      'x-ratelimit-remaining-tokens': expect.stringMatching(/^98\d\d$/),
      'x-ratelimit-reset-tokens': '1m0s',
    })
    await gateway.clock.advance(20_000)
    const second = await chatAs(gateway, 'alice', { max_tokens: 100 })
    // Of the first one 10 tokens are left over, which is what it has cost.
    expect(second.headers.get('x-ratelimit-remaining-tokens')).toMatch(/^98\d\d$/)
    for (const headers of [{}, bearer('bob')])
      expect((await gateway.chat({}, { headers })).headers.get('x-ratelimit-limit-requests')).toBe('9')
  })

  test('refuse with 429 before anybody is asked, and open again a minute after the first', async () => {
    const gateway = gatewayWith([tokenOf('alice', { limits: { rpm: 2 } })], {
      settings: { queue_timeout: 60 },
    })
    await chatAs(gateway, 'alice')
    await gateway.clock.advance(20_000)
    await chatAs(gateway, 'alice')
    const refused = await chatAs(gateway, 'alice')
    const { code, message, type } = await errorOf(refused)
    expect([refused.status, code, type]).toEqual([429, 'rate_limit_exceeded', 'rate_limit_error'])
    expect(message).toContain('"alice"')
    expect(message).toContain('2 requests per minute')
    expect(Object.fromEntries(refused.headers)).toMatchObject({
      'retry-after': '40',
      'x-ratelimit-limit-requests': '2',
      'x-ratelimit-remaining-requests': '0',
      'x-ratelimit-reset-requests': '1m0s',
      'x-aiload-attempts': '0',
    })
    expect(gateway.calls).toHaveLength(2)
    expect(gateway.requests().at(-1)).toMatchObject({
      status: 429,
      token: 'alice',
      attempts: [],
      requestedModel: 'auto',
    })
    expect((await gateway.chat()).status).toBe(200)
    await gateway.clock.advance(40_250)
    expect((await chatAs(gateway, 'alice')).status).toBe(200)
    expect((await chatAs(gateway, 'alice')).status).toBe(429)
  })

  test('count a request from when it came, however long its answer takes to begin', async () => {
    const slow: FakeUpstream = async (request, _signal, clock) => {
      await new Promise<void>((go) => void clock.after(50_000, go))
      return answer(request.host)
    }
    const gateway = gatewayWith([tokenOf('alice', { limits: { rpm: 1 } })], {}, slow)
    const first = chatAs(gateway, 'alice')
    await gateway.clock.advance(50_000)
    expect((await first).status).toBe(200)
    expect((await chatAs(gateway, 'alice')).status).toBe(429)
    await gateway.clock.advance(10_250)
    const second = chatAs(gateway, 'alice')
    await gateway.clock.advance(50_000)
    expect((await second).status).toBe(200)
  })

  test('of tokens: reserved by estimate, corrected by usage; what never fits is told so', async () => {
    const gateway = gatewayWith([tokenOf('alice', { limits: { tpm: 1_000 } })])
    const tooLarge = await chatAs(gateway, 'alice', { max_tokens: 2_000 })
    expect([tooLarge.status, tooLarge.headers.get('x-should-retry')]).toEqual([429, 'false'])
    expect(gateway.calls).toHaveLength(0)
    for (let nth = 0; nth < 20; nth++)
      expect((await chatAs(gateway, 'alice', { max_tokens: 700 })).status).toBe(200)
    expect((await chatAs(gateway, 'alice', { max_tokens: 900 })).status).toBe(429)
  })

  test('at once: the end of one lets the next one in', async () => {
    const waits: (() => void)[] = []
    const held: FakeUpstream = async ({ host }) => {
      await new Promise<void>((go) => void waits.push(go))
      return answer(host)
    }
    const gateway = gatewayWith([tokenOf('alice', { limits: { concurrency: 2 } })], {}, held)
    const running = [chatAs(gateway, 'alice'), chatAs(gateway, 'alice')]
    await gateway.clock.advance(0)
    const refused = await chatAs(gateway, 'alice')
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1'])
    expect((await errorOf(refused)).message).toContain('2 requests at once')
    waits.shift()?.()
    await running[0]
    const third = chatAs(gateway, 'alice')
    await gateway.clock.advance(0)
    for (const go of waits) go()
    expect(await Promise.all([...running, third].map(async (one) => (await one).status))).toEqual([
      200, 200, 200,
    ])
    expect(gateway.openLeases).toBe(0)
  })

  test.each([
    { status: 429, isCounted: false, because: 'the upstreams refused it' },
    { status: 503, isCounted: false, because: 'the upstreams refused it' },
    { status: 400, isCounted: true, because: 'the client has made it so' },
    { status: 500, isCounted: true, because: 'the work may have been done' },
  ])(
    'after $status of all upstreams a request is counted: $isCounted, since $because',
    async ({ status, isCounted }) => {
      const gateway = gatewayWith(
        [tokenOf('alice', { limits: { rpm: 1 } })],
        { settings: { queue_timeout: 0 } },
        () => jsonAnswer(status, { error: { message: 'no' } }),
      )
      await (await chatAs(gateway, 'alice')).text()
      const calls = gateway.calls.length
      expect(calls).toBeGreaterThan(0)
      const again = await chatAs(gateway, 'alice')
      const isOwn = (await again.text()).includes('The token \\"alice\\"')
      expect(isOwn).toBe(isCounted)
      expect(gateway.openLeases).toBe(0)
    },
  )

  test('are not touched by what never gets as far', async () => {
    const gateway = gatewayWith([tokenOf('alice', { limits: { rpm: 1 } })])
    for (const body of ['{', '{"model":"nobody","messages":[]}'])
      expect((await chatAs(gateway, 'alice', {}, { body })).status).toBeGreaterThanOrEqual(400)
    expect((await as(gateway, 'alice', '/v1/models')).status).toBe(200)
    expect((await chatAs(gateway, 'alice')).status).toBe(200)
    expect((await chatAs(gateway, 'alice')).status).toBe(429)
  })

  test('are shared by all isolates of a deployment', async () => {
    const bed = createObjectBed()
    const config = configOf(['a.test'], { tokens: [tokenOf('alice', { limits: { rpm: 3 } })] })
    const [left, right] = [bed.isolate(config, answering), bed.isolate(config, answering)]
    const statuses: number[] = []
    for (const gateway of [left, right, left, right, left]) {
      const response = await chatAs(gateway, 'alice')
      await response.text()
      statuses.push(response.status)
      await bed.clock.advance(30)
    }
    expect(statuses).toEqual([200, 200, 200, 429, 429])
    bed.isAway = true
    // By itself an isolate counts what it knows.
    expect((await chatAs(right, 'alice')).status).toBe(200)
  })
})

describe('the use of a token', () => {
  const used = async (gateway: TestApp) => {
    const { tokens } = (await (await ask(gateway, '/admin/tokens')).json()) as { tokens: { usage: object }[] }
    return tokens[0]
  }

  test('is summed up by day, week and month, and shown with its limits and without a secret', async () => {
    const gateway = gatewayWith([
      tokenOf('alice', {
        limits: { rpm: 5 },
        models: ['a.test'],
        allow_ips: ['203.0.113.1'],
        expires: '2999-01-01',
      }),
    ])
    await chatAs(gateway, 'alice')
    await (await chatAs(gateway, 'alice')).text()
    await gateway.chat()
    const sum = { requests: 2, input_tokens: 14, output_tokens: 6 }
    expect(await used(gateway)).toEqual({
      name: 'alice',
      admin: false,
      passthrough: false,
      models: ['a.test'],
      allow_ips: ['203.0.113.1'],
      expires: '2999-01-02T00:00:00.000Z',
      expired: false,
      in_flight: 0,
      limits: [
        expect.objectContaining({
          counts: 'requests',
          window: 'minute',
          used: 2,
          limit: 5,
          left: 3,
          scope: 'token',
        }),
      ],
      usage: { day: sum, week: sum, month: sum, since_start: sum },
    })
    const all = (await (await ask(gateway, '/admin/usage')).json()) as { tokens: object[] }
    expect(all.tokens).toEqual([{ name: 'alice', day: sum, week: sum, month: sum }])
  })

  test('is estimated where the answer does not say', async () => {
    const body = { id: 'x', choices: [{ message: { role: 'assistant', content: 'Hello there' } }] }
    const gateway = gatewayWith([tokenOf('alice')], {}, () => jsonAnswer(200, body))
    await (await chatAs(gateway, 'alice')).text()
    const { usage } = (await used(gateway)) as {
      usage: { day: { input_tokens: number; output_tokens: number } }
    }
    expect(usage.day.input_tokens).toBeGreaterThan(0)
    expect(usage.day.output_tokens).toBeGreaterThan(0)
  })
})

describe('ids of answers', () => {
  let made = 0
  const storing: FakeUpstream = ({ host, method }) =>
    jsonAnswer(200, method === 'POST' ? { id: `resp_${host}_${made++}`, output: [{}] } : { by: host })
  const tokens = [
    tokenOf('alice'),
    tokenOf('bob'),
    tokenOf('pat', { passthrough: true }),
    tokenOf('root', { admin: true }),
  ]
  const create = (more: object = {}) => gatewayWith(tokens, more, storing)
  const make = async (gateway: TestApp, headers: Record<string, string>, body: object = {}) => {
    const response = await gateway.chat({ input: 'hi', ...body }, { headers, path: 'responses' })
    return ((await response.json()) as { id: string }).id
  }

  test('are known to the token that made them, to admins, and to nobody else', async () => {
    const gateway = create()
    const id = await make(gateway, bearer('alice'))
    const ofAdmin = await make(gateway, {})
    const seen = async (name: string, of = id) => (await as(gateway, name, `/v1/responses/${of}`)).status
    expect([await seen('alice'), await seen('root')]).toEqual([200, 200])
    expect((await ask(gateway, `/v1/responses/${id}`)).status).toBe(200)
    for (const name of ['bob', 'pat']) expect(await seen(name)).toBe(404)
    for (const name of ['alice', 'bob', 'pat']) expect(await seen(name, ofAdmin)).toBe(404)
    // What was made for others is as unknown as what nobody made.
    const texts = await Promise.all(
      [id, 'resp_nobody'].map(async (one) => (await as(gateway, 'bob', `/v1/responses/${one}`)).text()),
    )
    expect(texts[0]).toBe(texts[1])
    for (const path of [
      `responses/${id}/cancel`,
      `Responses//${id}`,
      `responses/%72${id.slice(1)}/input_items`,
    ])
      expect((await as(gateway, 'bob', `/v1/${path}`)).status).toBe(404)
    expect(gateway.openLeases).toBe(0)
  })

  test('are those of others in whatever spelling an upstream may read', async () => {
    const gateway = create({ settings: { passthrough: 'a.test' } })
    const id = await make(gateway, bearer('alice'))
    const status = async (path: string) => (await as(gateway, 'pat', `/v1/${path}`)).status
    // Who may have other paths passed on reaches what nobody made here.
    expect(await status('responses/resp_nobody')).toBe(200)
    const calls = gateway.calls.length
    for (const path of [
      `responses/${id}%2F`,
      `responses%2F${id}`,
      `%72esponses/${id}`,
      `respon%C5%BFes/${id}`,
      `responses./${id}`,
      `responses/${id}%20`,
      `responses/${id}.`,
      `responses/${id}%2Finput_items`,
      `chat%2Fcompletions/${id}`,
      `%2Fresponses/${id}`,
    ])
      expect([path, await status(path)]).toEqual([path, 404])
    expect(gateway.calls).toHaveLength(calls)
  })

  test.each([
    (id: string) => ({ previous_response_id: id }),
    (id: string) => ({ conversation: id }),
    (id: string) => ({ conversation: { id } }),
    (id: string) => ({
      input: [
        { role: 'user', content: 'hi' },
        { type: 'item_reference', id },
      ],
    }),
    (id: string) => ({ input: [{ id }] }),
    (id: string) => ({ input: [{ type: null, id }] }),
    (id: string) => ({ input: [{ type: 'reasoning', id, summary: [], encrypted_content: null }] }),
    (id: string) => ({ input: [{ type: 'image_generation_call', id, result: '' }] }),
  ])('can be built upon by the token that made them alone (%#)', async (on) => {
    const gateway = create()
    const id = await make(gateway, bearer('alice'))
    const status = async (name: string, of: string) => {
      const response = await gateway.chat(
        { input: 'hi', ...on(of) },
        { headers: bearer(name), path: 'responses' },
      )
      await response.text()
      return response.status
    }
    expect([await status('alice', id), await status('root', id)]).toEqual([200, 200])
    expect([await status('bob', id), await status('bob', 'resp_x'), await status('pat', id)]).toEqual([
      404, 404, 404,
    ])
    // Who reaches the account may have made it there.
    expect(await status('pat', 'resp_x')).toBe(200)
    expect((await gateway.chat({ input: 'hi', ...on(id) }, { path: 'responses' })).status).toBe(200)
    expect(gateway.openLeases).toBe(0)
  })

  // Of two readers of such a body one goes by the first, one by the last.
  test.each([
    (own: string, other: string) => `"previous_response_id":"${other}","previous_response_id":"${own}"`,
    (own: string, other: string) => `"previous_response_id":"${own}","previous_response_id":"${other}"`,
    (_: string, other: string) => `"previous_response_id":"${other}","previous_response_id":null`,
    (own: string, other: string) => `"previous_response_id":"${own}","previous\\u005fresponse_id":"${other}"`,
    (own: string, other: string) => `"conversation":{"id":"${other}"},"conversation":"${own}"`,
    (own: string, other: string) => `"conversation":{"id":"${other}","\\u0069d":"${own}"}`,
    (_: string, other: string) => `"input":[{"type":"item_reference","id":"${other}"}],"input":"hi"`,
    (own: string, other: string) => `"input":[{"type":"item_reference","id":"${other}","id":"${own}"}]`,
    (_: string, other: string) =>
      `"input":[{"type":"message","type":"item_\\u0072eference","id":"${other}"}]`,
    (_: string, other: string) =>
      `"input":[{"type":"reasoning","id":"${other}","encrypted_content":"x","encrypted_content":null}]`,
  ])('are those of others where a body names them twice (%#)', async (fieldsOf) => {
    const gateway = create()
    const [own, other] = [await make(gateway, bearer('bob')), await make(gateway, bearer('alice'))]
    const status = async (id: string) => {
      const body = `{"model":"auto",${fieldsOf(own, id)}}`
      const headers = { ...bearer('bob'), 'content-type': 'application/json' }
      return (await askBare(gateway, '/v1/responses', { method: 'POST', headers, body })).status
    }
    expect(await status(other)).toBe(404)
    expect(await status(own)).toBe(200)
  })

  // Readers that ignore case, as Go's is, take the last of both for the field.
  test.each([
    'Model',
    'MODEL',
    'mod\\u0045l',
    'Previous_Response_ID',
    'previou\u017f_response_id',
    'Conversation',
    'INPUT',
  ])('and names of models are not to be had by the key %s', async (key) => {
    const gateway = create()
    const body = `{"model":"auto","input":"hi","${key}":"gpt-dear"}`
    const status = async (headers: object) =>
      (await askBare(gateway, '/v1/responses', { method: 'POST', headers: { ...headers }, body })).status
    expect(await status(bearer('bob'))).toBe(400)
    expect(gateway.calls).toHaveLength(0)
    expect(await status({ authorization: `Bearer ${TOKEN}` })).toBe(200)
  })

  test.each(['events', 'a whole answer'])(
    'of items that %s brought are known to the token that made them, and lead to their upstream',
    async (form) => {
      const gateway = gatewayWith(tokens, { settings: { strategy: 'round_robin' } }, ({ host }) => {
        const item = { id: `msg_${host}`, type: 'message', content: [{ text: '"id":"msg_of-nobody"' }] }
        const response = { id: `resp_${host}`, metadata: { id: 'msg_of-nobody' }, output: [item] }
        if (form !== 'events') return jsonAnswer(200, response)
        const events = [
          { type: 'response.created', response: { ...response, output: [] } },
          { type: 'response.output_item.added', output_index: 0, item },
          { type: 'response.completed', response },
        ]
        const text = events
          .map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
          .join('')
        const headers = { 'content-type': 'text/event-stream' }
        return { status: 200, headers, body: new TextEncoder().encode(text) }
      })
      const ask = async (name: string, input: unknown) => {
        const body = { input, stream: form === 'events' }
        const response = await gateway.chat(body, { headers: bearer(name), path: 'responses' })
        await response.text()
        return [response.status, response.headers.get('x-aiload-upstream')]
      }
      const [, host] = await ask('alice', 'hi')
      const made = [{ type: 'item_reference', id: `msg_${host}` }]
      for (let nth = 0; nth < 3; nth++) expect(await ask('alice', made)).toEqual([200, host])
      expect((await ask('bob', made))[0]).toBe(404)
      // What the client itself has said, and an upstream repeats, makes nothing its own.
      expect((await ask('alice', [{ id: 'msg_of-nobody' }]))[0]).toBe(404)
      // What is brought along whole is asked of nobody.
      expect((await ask('bob', [{ ...made[0], type: 'message', role: 'assistant', content: 'hi' }]))[0]).toBe(
        200,
      )
    },
  )

  test('are known to the same tokens on another isolate', async () => {
    const bed = createObjectBed()
    const config = configOf(['a.test', 'b.test'], { tokens })
    const [left, right] = [bed.isolate(config, storing), bed.isolate(config, storing)]
    const id = await make(left, bearer('alice'))
    await bed.clock.advance(50)
    expect((await as(right, 'alice', `/v1/responses/${id}`)).status).toBe(200)
    await bed.clock.advance(2_000)
    expect((await as(right, 'bob', `/v1/responses/${id}`)).status).toBe(404)
    await make(right, bearer('alice'), { previous_response_id: id })
    const refused = await right.chat(
      { previous_response_id: id },
      { headers: bearer('bob'), path: 'responses' },
    )
    expect(refused.status).toBe(404)
  })
})

describe('passing on', () => {
  const tokens = [tokenOf('alice'), tokenOf('pat', { passthrough: true, limits: { rpm: 2 } })]
  const create = () =>
    createTestApp(configOf(['a.test'], { tokens }), ({ method }) => jsonAnswer(200, { method }))

  test('needs passthrough on the token', async () => {
    const gateway = create()
    for (const path of ['/v1/files', '/v1/batches/b_1', '/v1/chat/completions'])
      expect(await codeOf(await as(gateway, 'alice', path))).toEqual([403, 'passthrough_not_allowed'])
    expect(gateway.calls).toHaveLength(0)
    expect((await as(gateway, 'alice', '/v1/nothing')).status).toBe(404)
    expect((await ask(gateway, '/v1/files')).status).toBe(200)
  })

  test('counts as a request', async () => {
    const gateway = create()
    const statuses: number[] = []
    for (let nth = 0; nth < 3; nth++) statuses.push((await as(gateway, 'pat', '/v1/files')).status)
    expect(statuses).toEqual([200, 200, 429])
    expect(gateway.requests().map(({ token, endpoint }) => [token, endpoint])).toEqual([
      ['pat', 'passthrough'],
      ['pat', 'passthrough'],
      ['pat', 'other'],
    ])
  })
})

test('who shows an auth_token is asked for nothing, and told of the limits of upstreams', async () => {
  const gateway = gatewayWith([tokenOf('alice', { limits: { rpm: 1 } })])
  const response = await gateway.chat({}, { headers: { authorization: `Bearer ${TOKEN}` } })
  expect(response.headers.get('x-ratelimit-limit-requests')).toBe('9')
  expect(gateway.requests()[0]).not.toHaveProperty('token', expect.anything())
})
