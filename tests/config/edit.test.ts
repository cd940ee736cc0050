import { expect, test } from 'vitest'
import { editConfig, type EditKind } from '../../src/config/edit.ts'
import { loadSource } from '../../src/config/load.ts'
import { shownConfig } from '../../src/config/shown.ts'
import { readSource, type Source } from '../../src/config/source.ts'

const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----'
const env = { GROQ_KEY: 'gsk_from-the-environment', HOST: 'env.example', OTHER: 'other-secret' }
const load = (source: Source) => loadSource(source, env, 'config.json')

const groq = { vendor: 'groq', api_key: ['gsk_aaaaaaaaaaaaaaaa1111', 'gsk_bbbbbbbbbbbbbbbb2222'], weight: 2 }
const own = {
  name: 'own',
  base_url: 'https://own.example/tenant/v1',
  api_key: 'short',
  model: 'm',
  headers: { 'x-account': 'secret-of-header' },
}
const queried = { name: 'queried', base_url: 'https://q.example/v1?key=secret-of-query', model: 'm' }
const referring = { name: 'referring', base_url: 'https://r.example/v1', model: 'm', api_key: '${GROQ_KEY}' }
const proxied = {
  name: 'proxied',
  base_url: 'https://p.example/v1',
  model: 'm',
  proxy: 'http://login:secret-of-proxy@proxy.example:3128',
  tls: { ca: '/etc/ssl/own.pem' },
}
const ENTRIES = [groq, own, queried, referring, proxied]
const [GROQ, OWN, QUERIED, REFERRING, PROXIED] = [0, 1, 2, 3, 4]
const TEXT = JSON.stringify(
  { auth_token: 'secret-token', models: ENTRIES, quotas: { q: { rpm: 5 } } },
  undefined,
  2,
)

const edit = (kind: EditKind, body: object, text = TEXT) =>
  editConfig({ source: readSource(text), kind, body: body as Record<string, unknown>, load })
const change = (index: number, entry: object) => edit('change', { index, entry })

/** The entries after an edit that is taken. */
function entriesAfter(result: ReturnType<typeof edit>): unknown[] {
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  const document = readSource(result.text).value as { models: object[] }
  return document.models.map((model) => ({ ...model }))
}
/** What a refused edit is refused for: the places in the entry. */
function refusedAt(result: ReturnType<typeof edit>): (string | null)[] {
  if (result.ok) throw new Error(`it was taken: ${result.text}`)
  return result.problems.map((problem) => problem.entry_path)
}
/** An entry as GET /admin/config shows it. */
const shown = (index: number): Record<string, unknown> =>
  shownConfig(readSource(TEXT).value).entries[index] ?? {}
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

test('nothing that is shown holds a key, a header, a login or a query', () => {
  const all = JSON.stringify(shownConfig(readSource(TEXT).value))
  for (const secret of ['secret', 'gsk_aaaa', 'short', 'login']) expect(all).not.toContain(secret)
  expect(shown(GROQ)['keys']).toEqual([
    { position: 1, last4: '…1111', is_variable: null },
    { position: 2, last4: '…2222', is_variable: null },
  ])
  expect(shown(OWN)).toMatchObject({ keys: [{ position: 1, last4: null }], headers: ['x-account'] })
  expect(shown(REFERRING)['keys']).toEqual([{ position: 1, last4: null, is_variable: '${GROQ_KEY}' }])
  expect(shown(PROXIED)).toMatchObject({ proxy: 'http://***@proxy.example:3128', weight: null })
  expect(shown(QUERIED)).toMatchObject({ base_url: 'https://q.example/v1', query: '***' })
})

test.each([
  undefined,
  null,
  [],
  { models: {} },
  {
    models: [null, 'sk-secret', { api_key: { a: 'sk-secret' }, headers: 'sk-secret', proxy: ['sk-secret'] }],
  },
  { models: [{ apikey: 'sk-secret', base_url: ['sk-secret'], tls: 'sk-secret' }] },
  { models: [{ base_url: 'https://user:sk-secret@h/v1#sk', proxy: 'sk-secret@h' }], settings: 'sk-secret' },
])('a file that is wrong all over is shown without a secret too: %j', (document) => {
  expect(JSON.stringify(shownConfig(document))).not.toContain('secret')
})

test('what is sent back as it was shown changes nothing', () => {
  for (const index of ENTRIES.keys()) {
    const result = change(index, shown(index))
    expect(result).toMatchObject({ ok: true, text: TEXT })
  }
})

test('an entry is replaced: what is not sent goes, but for what guards the key', () => {
  const entries = entriesAfter(change(OWN, { base_url: own.base_url, model: 'other', weight: 3 }))
  const { name: _, ...kept } = own
  expect(plain(entries[OWN])).toEqual({ ...kept, model: 'other', weight: 3 })
  const bare = entriesAfter(change(PROXIED, { base_url: proxied.base_url, model: 'n', weight: null }))
  expect(plain(bare[PROXIED])).toEqual({
    base_url: proxied.base_url,
    model: 'n',
    proxy: proxied.proxy,
    tls: proxied.tls,
  })
})

test('null takes out what guards the key, where no key is left to guard', () => {
  const { base_url, model } = proxied
  const entries = entriesAfter(change(PROXIED, { base_url, model, proxy: null, tls: null }))
  expect(plain(entries[PROXIED])).toEqual({ base_url, model })
})

test('a file whose entry has keys that are not known here keeps them', () => {
  const text = TEXT.replace('"name": "own"', '"name": "own", "note": "of the team"')
  const result = edit('change', { index: OWN, entry: { ...shown(OWN), weight: 9 } }, text)
  expect(entriesAfter(result)[OWN]).toMatchObject({ note: 'of the team', weight: 9 })
})

test.each([
  { sent: 'new', written: 'new' },
  { sent: ['new', 'newer'], written: ['new', 'newer'] },
  { sent: { keep: [2] }, written: [groq.api_key[1]] },
  { sent: { keep: [2, 1], add: 'new' }, written: [groq.api_key[1], groq.api_key[0], 'new'] },
  { sent: { add: ['new'] }, written: ['new'] },
  { sent: undefined, written: groq.api_key },
])('keys are new, or kept by their positions: $sent', ({ sent, written }) => {
  const entry = { vendor: 'groq', ...(sent !== undefined && { api_key: sent }) }
  expect(plain(entriesAfter(change(GROQ, entry))[GROQ])).toMatchObject({ api_key: written })
})

test('a key is taken out with null', () => {
  expect(plain(entriesAfter(change(GROQ, { vendor: 'groq', api_key: null }))[GROQ])).toEqual({
    vendor: 'groq',
  })
})

test.each([
  { keep: [0] },
  { keep: [3] },
  { keep: [1, 1] },
  { keep: ['1'] },
  { keep: [1.5] },
  { keep: [-1] },
  { keep: '12' },
  { keep: [null] },
  { keep: [{}] },
  { keep: [1], from: 0 },
  { keep: ['length'] },
])('what keeps no key that is there is refused: %j', (api_key) => {
  expect(refusedAt(change(GROQ, { vendor: 'groq', api_key }))).toContain('api_key')
})

test('a new entry has no keys to keep', () => {
  expect(refusedAt(edit('add', { entry: { vendor: 'groq', api_key: { keep: [1] } } }))).toEqual(['api_key'])
})

/* Whoever may edit may not read the keys: no edit may send them where he can. */
test.each([
  { what: 'another host', index: OWN, with: { base_url: 'https://evil.example/tenant/v1' } },
  { what: 'another scheme', index: OWN, with: { base_url: 'http://own.example/tenant/v1' } },
  { what: 'another port', index: OWN, with: { base_url: 'https://own.example:8443/tenant/v1' } },
  { what: "another account's path", index: OWN, with: { base_url: 'https://own.example/evil/v1' } },
  { what: 'another query', index: OWN, with: { base_url: `${own.base_url}?to=evil` } },
  { what: 'the address of a preset', index: OWN, with: { base_url: null, vendor: 'deepseek' } },
  { what: 'a proxy', index: OWN, with: { proxy: 'http://evil.example:3128' } },
  { what: 'no proxy where settings has one', index: OWN, with: { proxy: 'direct' } },
  { what: 'an unchecked certificate', index: OWN, with: { tls: { insecure: true } } },
  { what: 'another authority', index: OWN, with: { tls: { ca: PEM } } },
  { what: 'another vendor', index: GROQ, with: { vendor: 'deepseek' } },
  { what: 'an address beside the vendor', index: GROQ, with: { base_url: 'https://evil.example/v1' } },
  { what: 'headers', index: GROQ, with: { headers: { 'x-forward-to': 'evil.example' } } },
  { what: 'no headers', index: OWN, with: { headers: null } },
  { what: 'other headers', index: OWN, with: { headers: { 'x-account': 'guess' } } },
])('a key is not kept on the way to $what', ({ index, with: changed }) => {
  expect(refusedAt(change(index, { ...shown(index), ...changed }))).toContain('api_key')
  const anew = { ...shown(index), headers: { 'x-account': 'new' }, ...changed, api_key: 'given-anew' }
  expect(change(index, anew)).toMatchObject({ ok: true })
  const kept = { ...shown(index), ...changed, api_key: { keep: [1], add: ['new'] } }
  expect(refusedAt(change(index, kept))).toContain('api_key')
})

test.each([
  { base_url: 'https://OWN.example:443/tenant/v1/' },
  { base_url: 'https://own.example/tenant/v1/chat/completions' },
  { tls: { insecure: false } },
  { tls: {} },
  { headers: { ...own.headers } },
])('the same way in other words keeps the key: %j', (changed) => {
  expect(change(OWN, { ...shown(OWN), ...changed }).ok).toBe(true)
})

test('with another address the headers are given anew too', () => {
  const moved = { ...shown(OWN), base_url: 'https://evil.example/v1', api_key: 'new' }
  expect(refusedAt(change(OWN, moved))).toEqual(['headers'])
  expect(refusedAt(change(OWN, { ...moved, headers: undefined }))).toEqual(['headers'])
  const entries = entriesAfter(change(OWN, { ...moved, headers: { 'x-account': 'new' } }))
  expect(entries[OWN]).toMatchObject({ base_url: 'https://evil.example/v1', headers: { 'x-account': 'new' } })
  expect(change(OWN, { ...moved, headers: null }).ok).toBe(true)
})

test('a query that is not shown does not go through a new proxy', () => {
  const changed = { ...shown(QUERIED), proxy: 'http://evil.example:3128' }
  expect(refusedAt(change(QUERIED, changed))).toEqual(['base_url'])
  expect(change(QUERIED, { ...changed, base_url: 'https://q.example/v1?key=new' }).ok).toBe(true)
})

test('the login of a proxy does not go to one that another authority vouches for', () => {
  expect(refusedAt(change(PROXIED, { ...shown(PROXIED), tls: { insecure: true } }))).toEqual(['proxy'])
})

test.each([
  { where: 'the key', entry: { vendor: 'groq', api_key: '${OTHER}' }, at: 'api_key' },
  {
    where: 'a key that another entry refers to',
    entry: { vendor: 'groq', api_key: '${GROQ_KEY}' },
    at: 'api_key',
  },
  { where: 'a list of keys', entry: { vendor: 'groq', api_key: ['k', 'a${OTHER}'] }, at: 'api_key[1]' },
  {
    where: 'keys that are added',
    entry: { vendor: 'groq', api_key: { add: ['${OTHER}', 'k'] } },
    at: 'api_key[0]',
  },
  {
    where: 'the address',
    entry: { base_url: 'https://${OTHER}.evil.example/v1', model: 'm' },
    at: 'base_url',
  },
  { where: 'the name', entry: { vendor: 'groq', name: '${OTHER}' }, at: 'name' },
  { where: 'a header', entry: { vendor: 'groq', headers: { 'x-a': '${OTHER}' } }, at: 'headers["x-a"]' },
  {
    where: 'a body',
    entry: { vendor: 'groq', params: { set: { user: { id: ['${OTHER}'] } } } },
    at: 'params.set.user.id[0]',
  },
  { where: 'a proxy', entry: { vendor: 'groq', proxy: 'http://${OTHER}@evil.example' }, at: 'proxy' },
  { where: 'an escape', entry: { vendor: 'groq', name: '$${OTHER}' }, at: 'name' },
  { where: 'half a reference', entry: { vendor: 'groq', name: 'x${' }, at: 'name' },
  { where: 'a group', entry: { vendor: 'groq', groups: ['${OTHER}'] }, at: 'groups[0]' },
  { where: 'a variable that does not exist', entry: { vendor: 'groq', name: '${NOT_THERE}' }, at: 'name' },
])('no edit brings in a reference to the environment: $where', ({ entry, at }) => {
  const added = edit('add', { entry })
  expect(refusedAt(added)).toContain(at)
  // Whether a variable exists, or what it holds, is not told either.
  for (const word of ['not set', 'secret', 'gsk_']) expect(JSON.stringify(added)).not.toContain(word)
  expect(refusedAt(change(GROQ, entry))).toContain(at)
})

test('a reference that stands in the entry stays there, and goes nowhere else', () => {
  expect(change(REFERRING, { ...shown(REFERRING), weight: 3 }).ok).toBe(true)
  expect(change(REFERRING, { ...shown(REFERRING), api_key: '${GROQ_KEY}' }).ok).toBe(true)
  expect(change(REFERRING, { ...shown(REFERRING), api_key: { keep: [1], add: ['x'] } }).ok).toBe(true)
  const moved = { ...shown(REFERRING), base_url: 'https://evil.example/v1' }
  expect(refusedAt(change(REFERRING, moved))).toEqual(['api_key'])
  expect(refusedAt(change(REFERRING, { ...moved, api_key: '${GROQ_KEY}' }))).toEqual(['api_key'])
  expect(refusedAt(change(REFERRING, { ...shown(REFERRING), name: '${GROQ_KEY}' }))).toEqual(['name'])
})

test('what a body takes from the environment does not go to another host with it', () => {
  const text = TEXT.replace(
    '"name": "queried"',
    '"name": "queried", "params": { "set": { "user": "${OTHER}" } }',
  )
  const params = { set: { user: '${OTHER}' } }
  const entry = { name: 'queried', model: 'm', params, base_url: 'https://evil.example/v1' }
  expect(refusedAt(edit('change', { index: QUERIED, entry }, text))).toEqual(['params'])
  expect(
    edit('change', { index: QUERIED, entry: { ...entry, base_url: 'https://q.example/v1' } }, text).ok,
  ).toBe(true)
})

test('no edit brings in the path of a file, and none tells whether there is one', () => {
  for (const ca of ['/etc/shadow', 'own.pem', '/not/there', '/etc/ssl/own.pem']) {
    const added = edit('add', { entry: { vendor: 'groq', tls: { ca } } })
    expect(added).toMatchObject({
      ok: false,
      problems: [{ entry_path: 'tls.ca', message: 'names a file, which an edit cannot bring in' }],
    })
  }
  expect(change(PROXIED, { ...shown(PROXIED), weight: 3 }).ok).toBe(true)
})

test.each([
  { what: 'unknown', entry: { vendor: 'groq', wieght: 3 }, at: 'wieght', hint: 'did you mean weight?' },
  {
    what: 'unknown within',
    entry: { vendor: 'groq', limits: { rmp: 3 } },
    at: 'limits.rmp',
    hint: 'did you mean rpm?',
  },
  {
    what: 'inherited',
    entry: JSON.parse('{"vendor":"groq","__proto__":{"weight":3}}') as object,
    at: '__proto__',
    hint: 'known: ',
  },
  { what: 'inherited', entry: { vendor: 'groq', constructor: 1 }, at: 'constructor', hint: 'known: ' },
  {
    what: 'inherited',
    entry: JSON.parse('{"vendor":"groq","headers":{"__proto__":"x"}}') as object,
    at: 'headers.__proto__',
    hint: 'choose another name',
  },
])('a key that is $what is refused: $at', ({ entry, at, hint }) => {
  const added = edit('add', { entry })
  expect(refusedAt(added)).toContain(at)
  expect(JSON.stringify(added)).toContain(hint)
})

test("all that is wrong is told at once, with its place in the entry and in the file, and the schema's words", () => {
  const result = edit('add', {
    at: 1,
    entry: { vendor: 'grok', weight: -1, limits: { rpm: '3' }, nmae: 'x' },
  })
  expect(result).toMatchObject({
    ok: false,
    problems: expect.arrayContaining([
      {
        path: 'models[1].nmae',
        entry_path: 'nmae',
        message: 'is not a key that is known here',
        hint: 'did you mean name?',
      },
      {
        path: 'models[1].vendor',
        entry_path: 'vendor',
        message: 'is not a vendor that is known here',
        hint: 'did you mean "groq"?',
      },
      {
        path: 'models[1].weight',
        entry_path: 'weight',
        message: 'must be a number above 0',
        hint: expect.any(String) as string,
      },
      {
        path: 'models[1].limits.rpm',
        entry_path: 'limits.rpm',
        message: expect.stringContaining('whole number') as string,
        hint: expect.any(String) as string,
      },
    ]) as unknown,
  })
})

test('a mistake elsewhere in the file is told with its place there', () => {
  const text = TEXT.replace('"rpm": 5', '"rpm": 0')
  const result = edit('add', { entry: { vendor: 'deepseek', api_key: 'k' } }, text)
  expect(result).toMatchObject({ ok: false, problems: [{ path: 'quotas.q.rpm', entry_path: null }] })
  const broken = edit('add', { entry: { vendor: 'deepseek' } }, TEXT.replace('"models"', 'models'))
  expect(broken).toMatchObject({ ok: false })
  expect(refusedAt(broken)[0]).toBe(null)
})

test.each([
  { text: '[]', because: 'a list holds no models' },
  { text: '"models"', because: 'a text holds none either' },
  { text: JSON.stringify({ auth_token: 't', models: own }), because: 'braces forgotten are not to be lost' },
  {
    text: JSON.stringify({ auth_token: 't', models: [own], settings: ['headroom'] }),
    because: 'settings too',
  },
])('a file of another form than a configuration is told of, and never overwritten: $because', ({ text }) => {
  for (const [kind, body] of [
    ['add', { entry: { vendor: 'groq', api_key: 'gsk_new' } }],
    ['settings', { settings: { strategy: 'headroom' } }],
  ] as const) {
    const result = edit(kind, body, text)
    const problems = load(readSource(text))
    expect(result.ok || result.problems.map(({ message }) => message)).toEqual(
      problems.ok || problems.problems.map(({ message }) => message),
    )
  }
})

test('an edit mends the entry for which the file was refused', () => {
  const text = TEXT.replace('"weight": 2', '"weight": 0')
  expect(edit('change', { index: GROQ, entry: { vendor: 'groq', weight: 1 } }, text).ok).toBe(true)
})

test('entries are added in their place, taken out and put in order', () => {
  const names = (result: ReturnType<typeof edit>): unknown[] =>
    entriesAfter(result).map((entry) => (entry as { name?: string }).name)
  const added = { entry: { vendor: 'deepseek', api_key: 'k', name: 'new' } }
  expect(names(edit('add', added)).at(-1)).toBe('new')
  expect(names(edit('add', { ...added, at: 1 }))).toEqual([
    undefined,
    'new',
    'own',
    'queried',
    'referring',
    'proxied',
  ])
  expect(names(edit('remove', { index: OWN }))).toEqual([undefined, 'queried', 'referring', 'proxied'])
  expect(names(edit('order', { order: [4, 3, 2, 1, 0] }))).toEqual([
    'proxied',
    'referring',
    'queried',
    'own',
    undefined,
  ])
})

test('keys go with their entries, whatever their order', () => {
  const turned = entriesAfter(edit('order', { order: [3, 1, 4, 0, 2] }))
  expect(plain(turned)).toEqual([referring, own, proxied, groq, queried])
})

test('the last entry stays: there is no gateway without one', () => {
  const text = JSON.stringify({ auth_token: 't', models: [own] })
  expect(edit('remove', { index: 0 }, text)).toMatchObject({
    ok: false,
    problems: [{ path: 'models', message: 'is empty' }],
  })
})

test.each([
  { kind: 'change', body: { index: 5, entry: {} }, param: 'index' },
  { kind: 'change', body: { index: -1, entry: {} }, param: 'index' },
  { kind: 'change', body: { index: 0.5, entry: {} }, param: 'index' },
  { kind: 'change', body: { index: '0', entry: {} }, param: 'index' },
  { kind: 'change', body: { index: Number.NaN, entry: {} }, param: 'index' },
  { kind: 'change', body: { entry: {} }, param: 'index' },
  { kind: 'change', body: { index: 0 }, param: 'entry' },
  { kind: 'change', body: { index: 0, entry: [] }, param: 'entry' },
  { kind: 'change', body: { index: 0, entry: null }, param: 'entry' },
  { kind: 'add', body: { entry: 'groq' }, param: 'entry' },
  { kind: 'add', body: { entry: { vendor: 'groq' }, at: 6 }, param: 'at' },
  { kind: 'add', body: { entry: { vendor: 'groq' }, at: null }, param: 'at' },
  { kind: 'remove', body: {}, param: 'index' },
  { kind: 'remove', body: { index: Infinity }, param: 'index' },
  { kind: 'order', body: {}, param: 'order' },
  { kind: 'order', body: { order: [0, 1, 2, 3] }, param: 'order' },
  { kind: 'order', body: { order: [0, 1, 2, 3, 3] }, param: 'order' },
  { kind: 'order', body: { order: [0, 1, 2, 3, 5] }, param: 'order' },
  { kind: 'order', body: { order: ['0', '1', '2', '3', '4'] }, param: 'order' },
  { kind: 'order', body: { order: { length: 5 } }, param: 'order' },
  { kind: 'settings', body: { settings: 'headroom' }, param: 'settings' },
  { kind: 'settings', body: { settings: {} }, param: 'settings' },
] as const)('what is no edit is told by its field: $kind $body', ({ kind, body, param }) => {
  expect(() => edit(kind, body)).toThrow(expect.objectContaining({ code: 'bad_request', param }))
})

test('what JSON can say and a file cannot is refused', () => {
  const deep: unknown = JSON.parse(`${'['.repeat(9_000)}${']'.repeat(9_000)}`)
  for (const value of [deep, { set: { a: deep } }, { set: { temperature: Infinity } }]) {
    expect(refusedAt(edit('add', { entry: { vendor: 'groq', params: value } }))[0]).toMatch(/^params/)
  }
  expect(refusedAt(edit('add', { entry: { vendor: 'groq', api_key: { keep: deep } } }))[0]).toMatch(
    /^api_key/,
  )
  expect(edit('settings', { settings: { strategy: deep } }).ok).toBe(false)
})

test('strategy and affinity change, and nothing else of the settings does', () => {
  const result = edit('settings', { settings: { strategy: 'headroom', affinity: 'off' } })
  expect(result).toMatchObject({ ok: true, what: 'settings.strategy, settings.affinity was changed' })
  expect(result.ok && readSource(result.text).value).toMatchObject({
    settings: { strategy: 'headroom', affinity: 'off' },
  })
  expect(edit('settings', { settings: { proxy: 'http://evil.example' } })).toMatchObject({
    ok: false,
    problems: [{ path: 'settings.proxy', message: 'is not edited here' }],
  })
  expect(edit('settings', { settings: { strategy: 'quickest' } })).toMatchObject({
    ok: false,
    problems: [{ path: 'settings.strategy', message: 'is not a known value' }],
  })
})

test('a file does not grow without end', () => {
  const text = TEXT.replace('{', `{ /* ${'x'.repeat(2 ** 20)} */`)
  expect(edit('add', { entry: { vendor: 'deepseek', api_key: 'k' } }, text)).toMatchObject({
    ok: false,
    problems: [{ message: 'would be larger than 1 MiB' }],
  })
  expect(edit('remove', { index: 0 }, text).ok).toBe(true)
})

test('an edit checks the whole file once, and warns of nothing that was told before', () => {
  let checks = 0
  const edited = (told: ReadonlySet<string>) =>
    editConfig({
      source: readSource(TEXT.replace('"quotas"', '"quotes": 1, "quotas"')),
      kind: 'settings',
      body: { settings: { strategy: 'headroom' } },
      told,
      load(source) {
        checks += 1
        return load(source)
      },
    })
  const before = load(readSource(TEXT.replace('"quotas"', '"quotes": 1, "quotas"'))).warnings
  expect(edited(new Set())).toMatchObject({ ok: true, warnings: [{ path: 'quotes' }] })
  expect(edited(new Set(before.map(({ message }) => message)))).toMatchObject({ ok: true, warnings: [] })
  expect(checks).toBe(2)
})
