import * as fc from 'fast-check'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { watchConfig } from '../../src/adapter/node/config-file.ts'
import { createApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config/load.ts'
import { vendorPresets } from '../../src/config/presets.ts'
import { ask, askBare, errorOf } from '../support/ask.ts'
import { answer, configOf, createTestApp } from '../support/test-app.ts'

const HOSTS = ['a.test', 'b.test', 'c.test']
type Shown = {
  etag: string
  writable: boolean
  why: string | null
  entries: { name: string; keys: object[] }[]
}

/** A gateway that serves a file which may be edited. */
function bed(
  server: object = { admin: 'write' },
  settings: object = {},
  inChinese = (sentence: string): string => sentence,
) {
  const directory = mkdtempSync(join(tmpdir(), 'aiload-edit-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  const file = join(directory, 'config.json')
  const config = configOf(HOSTS, { server, settings: { strategy: 'in_order', ...settings } })
  const text = `// mine\n${JSON.stringify(config, undefined, 2)}\n`
  writeFileSync(file, text)
  const gateway = createTestApp(config, ({ host }) => answer(host))
  const loaded = loadConfig(text, {}, file)
  if (!loaded.ok) throw new Error('the file of the test is wrong')
  const watched = watchConfig({
    ...loaded,
    file,
    text,
    env: {},
    report: gateway.deps.report,
    apply: () => gateway.apply(JSON.parse(textIn().replace('// mine', '')) as object),
  })
  onTestFinished(watched.stop)
  const textIn = (): string => readFileSync(file, 'utf8')
  const test = {
    ...gateway,
    app: createApp({ ...gateway.deps, inChinese: () => inChinese, configEditor: () => watched.editor }),
  }
  const look = async () => (await (await ask(test, '/admin/config')).json()) as Shown
  const send = (path: string, body: unknown, method = 'POST', headers = {}) => {
    const isRaw = typeof body === 'string' || body instanceof Uint8Array
    return ask(test, path, { method, headers, body: isRaw ? body : JSON.stringify(body) })
  }
  return { ...gateway, test, file, text, textIn, send, shown: look, state: watched.state }
}
const UPSTREAMS = '/admin/config/upstreams'
const deepseek = { vendor: 'deepseek', name: 'new', api_key: 'sk-0123456789abcdef' }

test('an upstream that is added is written into the file, served at once, and told in the log', async () => {
  const { shown, send, textIn, test, chat, hosts, events, state } = bed()
  const { etag } = await shown()
  const entry = { base_url: 'https://new.test/v1', model: 'm', name: 'new', api_key: 'sk-0123456789abcdef' }
  const told = await send(UPSTREAMS, { etag, entry, at: 0 })
  const after = (await told.json()) as { etag: string }
  expect([told.status, after]).toEqual([
    200,
    { etag: expect.any(String) as string, problems: [], warnings: [] },
  ])
  expect(textIn()).toMatch(/^\/\/ mine\n\{[^]*"https:\/\/new\.test\/v1"/)
  await chat()
  expect(hosts()).toEqual(['new.test'])
  expect(state()).toMatchObject({ lastReload: { ok: true, problems: [] }, reloads: { ok: 1, refused: 0 } })
  expect(events).toContainEqual(
    expect.objectContaining({
      level: 'info',
      message: expect.stringMatching(
        /^upstream new was added by POST \/admin\/config\/upstreams \(request \S+\)$/,
      ) as string,
    }),
  )
  expect(JSON.stringify(events)).not.toContain('0123456789abcdef')
  const next = await shown()
  expect(next).toMatchObject({ etag: after.etag, writable: true, why: null })
  expect(next.entries[0]).toMatchObject({
    name: 'new',
    keys: [{ position: 1, last4: '…cdef', is_variable: null }],
  })
  expect(JSON.stringify(next)).not.toContain('0123456789')
  expect((await ask(test, '/admin/config')).headers.get('cache-control')).toBe('no-store')
})

test('upstreams are changed, put in order and taken out, and settings too', async () => {
  const { shown, send, textIn } = bed()
  let { etag } = await shown()
  const step = async (path: string, body: object, method?: string) => {
    const told = await send(path, { etag, ...body }, method)
    expect(told.status).toBe(200)
    ;({ etag } = (await told.json()) as { etag: string })
  }
  const names = async () => (await shown()).entries.map(({ name }) => name)
  await step('/admin/config/order', { order: [2, 0, 1] })
  expect(await names()).toEqual(['c.test', 'a.test', 'b.test'])
  await step(UPSTREAMS, { index: 1 }, 'DELETE')
  expect(await names()).toEqual(['c.test', 'b.test'])
  const entry = { name: 'renamed', base_url: 'https://b.test/v1', model: 'model-b.test' }
  await step(UPSTREAMS, { index: 1, entry }, 'PUT')
  expect(await names()).toEqual(['c.test', 'renamed'])
  expect(textIn()).toContain('key-b.test')
  await step('/admin/config/settings', { settings: { strategy: 'headroom' } })
  expect(textIn()).toContain('"strategy": "headroom"')
})

test('an edit of a file that has changed since is refused, and the file stays as it is', async () => {
  const { shown, send, textIn, file, text } = bed()
  const { etag } = await shown()
  const edited = text.replace('// mine', '// by hand')
  writeFileSync(file, edited)
  const refused = await send(UPSTREAMS, { etag, entry: deepseek })
  expect([refused.status, (await errorOf(refused)).code]).toEqual([409, 'config_changed'])
  expect(textIn()).toBe(edited)
})

test('of edits that are sent at once with one etag one is made', async () => {
  const { shown, send } = bed()
  const { etag } = await shown()
  const sent = Array.from({ length: 8 }, (_, at) =>
    send(UPSTREAMS, { etag, entry: { ...deepseek, name: `new-${at}` } }),
  )
  const statuses = (await Promise.all(sent)).map(({ status }) => status)
  expect(statuses.toSorted((a, b) => a - b)).toEqual([200, ...Array<number>(7).fill(409)])
  expect((await shown()).entries).toHaveLength(4)
})

test("an entry with mistakes is refused with all of them, in OpenAI's envelope, and nothing is written", async () => {
  const { shown, send, textIn, text, state } = bed()
  const { etag } = await shown()
  const refused = await send(UPSTREAMS, { etag, entry: { ...deepseek, weight: 0, vendor: 'depseek' } })
  expect(refused.status).toBe(422)
  expect(await refused.json()).toEqual({
    error: {
      message: expect.stringMatching(/^models\[3\]\.\w+ .*\(and 1 more\)\. Nothing was changed\.$/) as string,
      type: 'invalid_request_error',
      param: expect.stringMatching(/^models\[3\]/) as string,
      code: 'config_invalid',
    },
    problems: expect.arrayContaining([
      {
        path: 'models[3].vendor',
        entry_path: 'vendor',
        message: 'is not a vendor that is known here',
        hint: 'did you mean "deepseek"?',
      },
    ]) as unknown,
  })
  expect([textIn(), state().reloads]).toEqual([text, { ok: 0, refused: 0 }])
})

test('who prefers Chinese is told the problems in Chinese, each sentence looked up once, and the error in English', async () => {
  const looked: string[] = []
  const { shown, send } = bed({ admin: 'write' }, {}, (sentence) => {
    looked.push(sentence)
    return `中文 ${sentence}`
  })
  const { etag } = await shown()
  const entry = { ...deepseek, endpoints: Array<string>(1_000).fill('x') }
  const told = await send(UPSTREAMS, { etag, entry }, 'POST', { 'accept-language': 'zh' })
  const { error, problems } = (await told.json()) as {
    error: { message: string }
    problems: { message: string }[]
  }
  expect(error.message).not.toContain('中文')
  expect(problems).toHaveLength(1_000)
  expect(problems.every(({ message }) => message.startsWith('中文 '))).toBe(true)
  expect(looked).toEqual([...new Set(looked)])
})

test('settings without a setting are no edit', async () => {
  const { shown, send, state } = bed()
  const { etag } = await shown()
  const refused = await send('/admin/config/settings', { etag, settings: {} })
  expect([refused.status, (await errorOf(refused)).param]).toEqual([400, 'settings'])
  expect(state()).toMatchObject({ reloads: { ok: 0 } })
})

test.each(['constructor', 'toString', '__proto__'])('%s is no method', async (method) => {
  const refused = await ask(bed().test, '/admin/status', { method })
  expect([refused.status, (await errorOf(refused)).code]).toEqual([405, 'method_not_allowed'])
})

test('an edit makes up for a reload that was refused', async () => {
  const { shown, send, file, text, state } = bed()
  writeFileSync(file, text.replace('"key-a.test"', '["key-a.test"], "weight": 0'))
  const { etag, problems } = (await shown()) as unknown as { etag: string; problems: object[] }
  expect(problems).toMatchObject([{ path: 'models[0].weight', message: 'must be a number above 0' }])
  const entry = { name: 'a.test', base_url: 'https://a.test/v1', model: 'model-a.test' }
  expect((await send(UPSTREAMS, { etag, index: 0, entry }, 'PUT')).status).toBe(200)
  expect(state().lastReload).toMatchObject({ ok: true })
})

test('warnings of what is odd in it come with the answer', async () => {
  const { shown, send } = bed()
  const { etag } = await shown()
  const told = await send(UPSTREAMS, { etag, entry: { ...deepseek, api_key: 'your-api-key' } })
  expect(await told.json()).toMatchObject({
    warnings: [{ path: 'models[3].api_key', entry_path: 'api_key', message: 'is still a placeholder' }],
  })
})

test('without the right to write everything is shown, and an edit is refused by the name of the setting', async () => {
  for (const server of [{ admin: 'read' }, {}]) {
    const { shown, send, textIn, text } = bed(server)
    const before = await shown()
    expect(before).toMatchObject({
      writable: false,
      why: expect.stringContaining('server.admin is "read"') as string,
    })
    expect(before.entries).toHaveLength(3)
    for (const [path, method] of [
      [UPSTREAMS, 'POST'],
      [UPSTREAMS, 'PUT'],
      [UPSTREAMS, 'DELETE'],
      ['/admin/config/order', 'POST'],
      ['/admin/config/settings', 'POST'],
    ] as const) {
      const refused = await send(path, { etag: before.etag, index: 0, entry: deepseek }, method)
      const { code, message } = await errorOf(refused)
      expect([refused.status, code]).toEqual([403, 'admin_read_only'])
      expect(message).toContain('"admin": "write"')
    }
    expect(textIn()).toBe(text)
  }
})

test('with server.admin "off" nothing is there, with a token or without, and the metrics still are', async () => {
  const { test, send } = bed({ admin: 'off' })
  for (const path of [
    '/admin/status',
    '/admin/config',
    '/admin/presets',
    '/admin/none',
    '/admin/',
    '/admin/forget',
  ])
    for (const told of [await ask(test, path), await askBare(test, path)]) {
      expect([told.status, (await errorOf(told)).code]).toEqual([404, 'not_found'])
      expect(told.headers.get('cache-control')).toBe('no-store')
    }
  expect((await send(UPSTREAMS, {})).status).toBe(404)
  expect((await ask(test, '/metrics')).status).toBe(200)
  expect((await askBare(test, '/healthz')).status).toBe(200)
})

test('the right that a reload gives or takes holds from the next request on', async () => {
  const { test, apply } = bed()
  const statusWith = async (server: object): Promise<number> => {
    apply(configOf(HOSTS, { server }))
    return (await ask(test, '/admin/config/order', { body: '{}' })).status
  }
  expect(await statusWith({ admin: 'write' })).toBe(400)
  expect(await statusWith({ admin: 'read' })).toBe(403)
  expect(await statusWith({ admin: 'off' })).toBe(404)
  expect(await statusWith({ admin: 'write' })).toBe(400)
})

test('a gateway without a file says so, and what to do', async () => {
  const gateway = createTestApp(configOf(HOSTS, { server: { admin: 'write' } }), ({ host }) => answer(host))
  const shown = await ask(gateway, '/admin/config')
  expect(await shown.json()).toMatchObject({
    etag: null,
    file: null,
    entries: [],
    writable: false,
    why: expect.stringContaining('Write a file') as string,
  })
  const refused = await ask(gateway, UPSTREAMS, { body: '{}' })
  expect([refused.status, (await errorOf(refused)).code]).toEqual([403, 'config_not_writable'])
})

test('a file that is gone is told, and nothing is written in its place', async () => {
  const { shown, send, file } = bed()
  const { etag } = await shown()
  rmSync(file)
  expect(await shown()).toMatchObject({
    etag: null,
    writable: false,
    why: expect.stringContaining('no such file') as string,
  })
  expect((await send(UPSTREAMS, { etag, entry: deepseek })).status).toBe(403)
  expect(() => readFileSync(file)).toThrow()
})

test('presets are listed with what an entry may leave out', async () => {
  const { test } = bed({ admin: 'read' })
  const presets = (await (await ask(test, '/admin/presets')).json()) as { vendor: string }[]
  expect(presets).toHaveLength(vendorPresets.length)
  expect(presets.find(({ vendor }) => vendor === 'groq')).toMatchObject({
    title: 'Groq',
    base_url: 'https://api.groq.com/openai/v1',
    models: expect.arrayContaining([expect.any(String)]) as unknown,
    key_variable: 'GROQ_API_KEY',
    key_optional: false,
  })
})

test('nobody without the token sees or edits anything, and no page of another origin does', async () => {
  const { test, textIn, text } = bed()
  const headers = { origin: 'https://app.example' }
  for (const path of ['/admin/config', '/admin/presets', UPSTREAMS]) {
    const told = await askBare(test, path, { headers, ...(path === UPSTREAMS && { body: '{}' }) })
    expect(told.status).toBe(401)
  }
  const told = await ask(test, '/admin/config', { headers })
  expect([...told.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([])
  expect(textIn()).toBe(text)
})

test.each([
  { body: '', status: 400, because: 'there is none' },
  { body: 'null', status: 400, because: 'it is no object' },
  { body: '[]', status: 400, because: 'it is a list' },
  { body: '"etag"', status: 400, because: 'it is a text' },
  { body: '{"etag": 3}', status: 400, because: 'its etag is a number' },
  { body: '{"etag": ["x"]}', status: 400, because: 'its etag is a list' },
  { body: '{"etag": NaN}', status: 400, because: 'it is no JSON' },
  { body: Buffer.from('{"etag": "caf\u00e9"}', 'latin1'), status: 400, because: 'it is no UTF-8' },
  { body: '{"etag": ""}', status: 409, because: 'its etag is empty' },
  { body: '{"etag": "x", "index": 0}', status: 409, because: 'nobody gave out its etag' },
  { body: `{"etag": "${'x'.repeat(70_000)}"}`, status: 413, because: 'it is larger than any edit' },
])('a body is refused with $status, since $because', async ({ body, status }) => {
  const { send, textIn, text, memory } = bed()
  const refused = await send(UPSTREAMS, body)
  expect(refused.status).toBe(status)
  expect((await errorOf(refused)).type).toBe('invalid_request_error')
  expect([textIn(), memory.held]).toEqual([text, 0])
})

/** Entries as people and programs mistake them, and anything else. */
const anyValue = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<unknown>,
  fc.constantFrom<unknown>('groq', 'sk-1', '${HOME}', '/etc/passwd', -1, 0, 1, 1e308, true, null, [], {}, [
    'k',
    'l',
  ]),
  fc.constantFrom<unknown>(
    { keep: [1] },
    { rpm: 3 },
    { ca: 'x' },
    { set: { a: 1 } },
    'https://x.test/v1',
    'https://a.test/v1',
    'm',
  ),
)
const keys = [
  'vendor',
  'base_url',
  'model',
  'models',
  'api_key',
  'name',
  'groups',
  'weight',
  'priority',
  'limits',
]
const others = [
  'headers',
  'params',
  'proxy',
  'tls',
  'enabled',
  'quota',
  'can',
  '__proto__',
  'constructor',
  'x',
]
const valid = { name: 'v', base_url: 'https://b.test/v1', model: 'm', api_key: 'k' }
const anyEntry = fc
  .tuple(fc.boolean(), fc.dictionary(fc.constantFrom(...keys, ...others), anyValue, { maxKeys: 3 }))
  .map(([isWhole, parts]) => (isWhole ? { ...valid, ...parts } : parts))
const anyBody = fc.record(
  {
    index: fc.oneof({ weight: 3, arbitrary: fc.nat(3) }, { weight: 1, arbitrary: anyValue }),
    at: fc.oneof(fc.nat(4), anyValue),
    order: fc.oneof(fc.shuffledSubarray([0, 1, 2], { minLength: 2 }), anyValue),
    entry: fc.oneof({ weight: 5, arbitrary: anyEntry }, { weight: 1, arbitrary: anyValue }),
    settings: fc.oneof(fc.dictionary(fc.constantFrom('strategy', 'affinity', 'x'), anyValue), anyValue),
  },
  { requiredKeys: ['index', 'entry'] },
)
const anyRoute = fc.constantFrom(
  ...([
    ['POST', UPSTREAMS],
    ['PUT', UPSTREAMS],
    ['DELETE', UPSTREAMS],
    ['POST', '/admin/config/order'],
    ['POST', '/admin/config/settings'],
  ] as const),
)

test('whatever is sent, it is made or refused in the envelope, and the file is valid and keeps its secrets', async () => {
  const { shown, send, textIn } = bed()
  let made = 0
  await fc.assert(
    fc.asyncProperty(anyRoute, anyBody, async ([method, path], body) => {
      const now = await shown()
      expect(JSON.stringify(now)).not.toMatch(/key-[abc]\.test/)
      const before = textIn()
      const told = await send(path, { ...body, etag: now.etag }, method)
      if (told.status === 200) made += 1
      else {
        expect([400, 422]).toContain(told.status)
        expect((await errorOf(told)).type).toBe('invalid_request_error')
        expect(textIn()).toBe(before)
      }
      expect(loadConfig(textIn(), {}, 'config.json').ok).toBe(true)
      expect(textIn()).toContain('// mine')
    }),
    { numRuns: 120 },
  )
  expect(made).toBeGreaterThan(0)
})
