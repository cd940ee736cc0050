import { describe, expect, test } from 'vitest'
import { answer, configOf, createTestApp, type ClientInit, type TestApp } from '../support/test-app.ts'

const HOSTS = Array.from({ length: 8 }, (_, at) => `u${at}.test`)
const create = (affinity: string, server: object = {}): TestApp =>
  createTestApp(configOf(HOSTS, { settings: { affinity }, server }), ({ host }) => answer(host))

interface Asked extends ClientInit {
  readonly json?: object
}

/** The host that takes each request. */
async function hostsOf(gateway: TestApp, requests: readonly Asked[]): Promise<string[]> {
  const before = gateway.calls.length
  for (const { json = {}, ...init } of requests) expect((await gateway.chat(json, init)).status).toBe(200)
  return gateway.hosts().slice(before)
}

/** Whether all go to one host. By chance eight hosts would agree on 12 requests once in 8^11. */
async function stick(gateway: TestApp, ...kinds: Asked[]): Promise<boolean> {
  const requests = Array.from({ length: 12 }, (_, at) => kinds[at % kinds.length]!)
  return new Set(await hostsOf(gateway, requests)).size === 1
}

const xff = (value: string): Asked => ({ headers: { 'x-forwarded-for': value }, peer: '10.0.0.1' })

describe('the client’s address', () => {
  test.each([
    {
      same: [{ peer: '203.0.113.5' }, { peer: '::ffff:203.0.113.5' }],
      because: 'a mapped address is the address',
    },
    { same: [xff('203.0.113.5'), { peer: '203.0.113.5' }], because: 'a private peer is believed' },
    { same: [xff('203.0.113.5:1234'), xff('203.0.113.5')], because: 'a port is no part of it' },
    { same: [xff('[2001:DB8::5]:80'), xff('2001:db8:0:0::5')], because: 'an address has many spellings' },
    {
      same: [xff('6.6.6.6, 203.0.113.5, 10.0.0.9'), xff('203.0.113.5')],
      because: 'the right-most untrusted hop counts',
    },
    {
      same: [xff('1.1.1.1, 203.0.113.5'), xff('2.2.2.2, 203.0.113.5')],
      because: 'what a client puts in front is not believed',
    },
    {
      same: [{ headers: { 'x-real-ip': '203.0.113.5' }, peer: '127.0.0.1' }, { peer: '203.0.113.5' }],
      because: 'X-Real-IP is believed too',
    },
    {
      same: [
        { headers: { 'x-forwarded-for': '1.1.1.1' }, peer: '198.51.100.1' },
        { headers: { 'x-forwarded-for': '2.2.2.2' }, peer: '198.51.100.1' },
      ],
      because: 'a public peer is not believed',
    },
    { same: [xff('junk, <script>'), xff('')], because: 'junk leaves the peer' },
  ] satisfies { same: Asked[]; because: string }[])('sticks: $because', async ({ same }) => {
    expect(await stick(create('ip'), ...same)).toBe(true)
  })

  test('with trusted_proxies [] nobody is believed', async () => {
    expect(await stick(create('ip', { trusted_proxies: [] }), xff('1.1.1.1'), xff('2.2.2.2'))).toBe(true)
  })

  test('different clients spread', async () => {
    const clients = Array.from({ length: 40 }, (_, at) => ({ peer: `203.0.113.${at}` }))
    const gateway = create('ip')
    const first = await hostsOf(gateway, clients)
    expect(new Set(first).size).toBeGreaterThan(4)
    expect(await hostsOf(gateway, clients)).toEqual(first)
  })
})

const talk = (system: string, ...turns: string[]): Asked => ({
  json: {
    messages: [
      { role: 'system', content: system },
      ...turns.map((content, at) => ({ role: at % 2 === 0 ? 'user' : 'assistant', content })),
    ],
  },
})
const long = (end: string): string => `${'a long document '.repeat(1000)}${end}${' and its end'.repeat(1000)}`

describe('a conversation', () => {
  test('sticks with every turn of it', async () => {
    expect(
      await stick(
        create('conversation'),
        talk('s', 'a'),
        talk('s', 'a', 'b', 'c'),
        talk('s', 'a', 'b', 'd', 'e'),
      ),
    ).toBe(true)
  })

  test.each([
    { kind: 'the first message', one: (at: number) => talk('s', `hello ${at}`, 'x') },
    { kind: 'the system message', one: (at: number) => talk(`you are ${at}`, 'hello') },
    {
      kind: 'a character in the middle of a long message',
      one: (at: number) => talk('s', long(String.fromCharCode(97 + at))),
    },
    {
      kind: 'prompt_cache_key',
      one: (at: number) => ({ json: { ...talk('s', 'a').json, prompt_cache_key: `k${at}` } }),
    },
  ])('spreads by $kind', async ({ one }) => {
    const gateway = create('conversation')
    const requests = Array.from({ length: 24 }, (_, at) => one(at))
    const first = await hostsOf(gateway, requests)
    expect(new Set(first).size).toBeGreaterThan(3)
    expect(await hostsOf(gateway, requests)).toEqual(first)
  })

  test('sticks by prompt_cache_key whatever is said', async () => {
    const one = (text: string): Asked => ({ json: { ...talk('s', text).json, prompt_cache_key: 'k' } })
    expect(await stick(create('conversation'), one('a'), one('b'), one('c'))).toBe(true)
  })

  test.each(['responses', 'completions'])(
    'is known on %s by its input, its instructions or its prompt',
    async (path) => {
      const one = (json: object): Asked => ({ path, body: JSON.stringify(json) })
      const gateway = create('conversation')
      expect(await stick(gateway, one({ input: 'a', instructions: 'i', prompt: 'p' }))).toBe(true)
      const many = Array.from({ length: 24 }, (_, at) => one({ input: 'a', instructions: `i${at}` }))
      expect(new Set(await hostsOf(gateway, many)).size).toBeGreaterThan(3)
    },
  )
})

describe('the session of an agent', () => {
  /** Turns of one session: what an agent says first has the date in it, or the state of a repository. */
  const turn = (at: number, more: object, headers: Record<string, string> = {}): Asked => ({
    json: {
      messages: [
        { role: 'system', content: `it is ${at} o'clock` },
        { role: 'user', content: `${at}` },
      ],
      ...more,
    },
    headers,
  })
  const uuid = (at: number): string => `0196c5d2-0000-7000-8000-${String(at).padStart(12, '0')}`
  const legacy = (session: string): string => `user_${'a1'.repeat(32)}_account_${uuid(7)}_session_${session}`
  const written = (session: string): string =>
    JSON.stringify({ device_id: 'd'.repeat(64), account_uuid: '', session_id: session })

  const WAYS: { way: string; one: (session: string, at: number) => Asked }[] = [
    ...['x-session-id', 'session_id', 'session-id', 'X-Session-Affinity', 'x-opencode-session'].map(
      (name) => ({
        way: name,
        one: (session: string, at: number) => turn(at, {}, { [name]: session }),
      }),
    ),
    {
      way: 'X-Claude-Code-Session-Id',
      one: (session, at) => turn(at, {}, { 'X-Claude-Code-Session-Id': session }),
    },
    { way: 'prompt_cache_key', one: (session, at) => turn(at, { prompt_cache_key: session }) },
    { way: 'metadata.user_id', one: (session, at) => turn(at, { metadata: { user_id: legacy(session) } }) },
    {
      way: 'metadata.user_id in JSON',
      one: (session, at) => turn(at, { metadata: { a: 'b', user_id: written(session) } }),
    },
    { way: 'user, where LiteLLM writes it', one: (session, at) => turn(at, { user: legacy(session) }) },
  ]

  test.each(WAYS)(
    '$way: turns of one session stick although their first messages differ',
    async ({ one }) => {
      const gateway = create('conversation')
      expect(await stick(gateway, ...[0, 1, 2, 3, 4, 5].map((at) => one(uuid(1), at)))).toBe(true)
    },
  )

  test.each(WAYS)('$way: the sessions of one person spread', async ({ one }) => {
    const sessions = Array.from({ length: 24 }, (_, at) => one(uuid(at + 1), 0))
    expect(new Set(await hostsOf(create('conversation'), sessions)).size).toBeGreaterThan(3)
  })

  test('the header goes before the body, and both before the talk', async () => {
    const both = (at: number): Asked => turn(at, { prompt_cache_key: `k${at}` }, { 'x-session-id': 's' })
    expect(await stick(create('conversation'), both(0), both(1), both(2))).toBe(true)
  })

  test('a header that the operator names goes before all of them', async () => {
    const one = (at: number): Asked => turn(at, {}, { 'x-session-id': `s${at}`, 'x-mine': 'm' })
    expect(await stick(create('header:x-mine'), one(0), one(1), one(2))).toBe(true)
  })

  test.each([
    { what: 'an empty header', of: () => turn(0, {}, { 'x-session-id': '  ' }) },
    { what: 'a program’s word for nothing', of: () => turn(0, {}, { 'x-session-id': 'undefined' }) },
    { what: 'the null UUID', of: () => turn(0, {}, { session_id: '00000000-0000-0000-0000-000000000000' }) },
    { what: 'a header of more than 4 KB', of: () => turn(0, {}, { 'x-session-id': 'x'.repeat(5_000) }) },
    { what: 'an empty prompt_cache_key', of: () => turn(0, { prompt_cache_key: '' }) },
    { what: 'a user id that is a person’s', of: () => turn(0, { metadata: { user_id: 'user-17' } }) },
    { what: 'one that is no text', of: () => turn(0, { metadata: { user_id: { session_id: 's' } } }) },
    { what: 'metadata that is no object', of: () => turn(0, { metadata: legacy(uuid(1)) }) },
    { what: 'a session that is empty', of: () => turn(0, { metadata: { user_id: written('') } }) },
    {
      what: 'a very long user id',
      of: () => turn(0, { metadata: { user_id: `${'x'.repeat(600)}${legacy('s')}` } }),
    },
  ])('$what is no session: the talk tells conversations apart', async ({ of }) => {
    const gateway = create('conversation')
    const spoken = Array.from({ length: 24 }, (_, at) => {
      const { json, headers = {} } = of()
      return { headers, json: { ...json, messages: [{ role: 'user', content: `question ${at}` }] } }
    })
    const first = await hostsOf(gateway, spoken)
    expect(new Set(first).size).toBeGreaterThan(3)
    expect(await hostsOf(gateway, spoken)).toEqual(first)
  })

  test('other rules do not look at it', async () => {
    const one = (at: number): Asked => ({
      ...turn(at, {}, { 'x-session-id': `s${at}` }),
      peer: '203.0.113.9',
    })
    expect(await stick(create('ip'), one(0), one(1), one(2), one(3))).toBe(true)
  })
})

describe('other rules', () => {
  const user = (name: string, text: string): Asked => ({ json: { ...talk('s', text).json, user: name } })
  const session = (id: string, text: string): Asked => ({ ...talk('s', text), headers: { 'X-Session': id } })

  test.each([
    { rule: 'user', same: [user('u', 'a'), user('u', 'b')] },
    { rule: 'header:X-Session', same: [session('1', 'a'), session('1', 'b')] },
    { rule: 'header:x-session', same: [talk('s', 'a'), talk('s', 'a', 'b', 'c')] },
    { rule: 'token', same: [{ peer: '1.1.1.1' }, talk('s', 'x')] },
  ])('$rule sticks', async ({ rule, same }) => {
    expect(await stick(create(rule), ...same)).toBe(true)
  })

  test.each([
    { rule: 'user', one: (at: number) => user(`u${at}`, 'a') },
    { rule: 'header:x-session', one: (at: number) => session(`s${at}`, 'a') },
    { rule: 'off', one: () => talk('s', 'a') },
    { rule: 'user', one: () => talk('s', 'a') },
  ])('$rule spreads the rest (case %#)', async ({ rule, one }) => {
    const hosts = await hostsOf(
      create(rule),
      Array.from({ length: 24 }, (_, at) => one(at)),
    )
    expect(new Set(hosts).size).toBeGreaterThan(3)
  })

  test('with several tokens each keeps its upstream, in whichever header it comes', async () => {
    const tokens = Array.from({ length: 24 }, (_, at) => `sk-${at}`)
    const config = { ...configOf(HOSTS, { settings: { affinity: 'token' } }), auth_token: tokens }
    const gateway = createTestApp(config, ({ host }) => answer(host))
    const asked = (headersOf: (token: string) => Record<string, string>) =>
      hostsOf(
        gateway,
        tokens.map((token) => ({ headers: headersOf(token) })),
      )
    const first = await asked((token) => ({ authorization: `Bearer ${token}` }))
    expect(new Set(first).size).toBeGreaterThan(3)
    expect(await asked((token) => ({ authorization: 'Bearer none', 'x-api-key': token }))).toEqual(first)
  })

  test('a key is forgotten affinity_ttl after its last request', async () => {
    const gateway = createTestApp(
      configOf(HOSTS, { settings: { affinity: 'ip', affinity_ttl: 60, strategy: 'round_robin' } }),
      ({ host }) => answer(host),
    )
    const [first] = await hostsOf(gateway, [{}])
    for (let at = 0; at < 3; at++) {
      await gateway.clock.advance(59_000)
      expect(await hostsOf(gateway, [{}])).toEqual([first])
    }
    await gateway.clock.advance(60_001)
    expect(await hostsOf(gateway, [{}])).not.toEqual([first])
  })
})
