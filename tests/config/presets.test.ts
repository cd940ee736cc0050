import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { environmentText, keyVariables, lackingIn, vendorsIn } from '../../src/config/environment.ts'
import { presetOf, vendorAt, vendorOfKey, vendorPresets } from '../../src/config/presets.ts'
import { discoveriesOf, matchesGlobs, upstreamsOf } from '../../src/config/upstreams.ts'
import { createPools } from '../../src/pool/pool.ts'
import { loadConfig } from '../../src/config/load.ts'
import { configOf, problemsOf, textOf, warningsOf } from './texts.ts'

const withModels = (...models: readonly object[]): string => textOf({ models })
const upstreamsIn = (...models: readonly object[]) => upstreamsOf(configOf(withModels(...models)))

test('a vendor and a key are enough: address, models, limits and abilities come from the preset', () => {
  const preset = presetOf('groq')
  const upstreams = upstreamsIn({ vendor: 'Groq', api_key: 'gsk_1' })
  expect(upstreams.map(({ model }) => model)).toEqual(preset?.models?.map(({ model }) => model))
  const [first] = upstreams
  expect(first?.root).toBe(preset?.base_url)
  expect(first?.name).toBe(`${first?.model}@api.groq.com`)
  const windows = first?.claims.chat.draws[0]?.limits?.windows ?? []
  expect(windows.length).toBeGreaterThan(0)
  expect(windows.every(({ isPresumed }) => isPresumed)).toBe(true)
  expect(first?.presumed).toMatchObject({
    can: preset?.models?.[0]?.can,
    contextTokens: preset?.models?.[0]?.context,
  })
})

test('what an entry says itself goes before its preset, and written limits are no guess', () => {
  const [upstream] = upstreamsIn({
    vendor: 'groq',
    api_key: 'gsk_1',
    base_url: 'https://mirror.example/v1',
    model: 'openai/gpt-oss-120b',
    limits: { rpm: 7 },
  })
  expect(upstream).toMatchObject({ root: 'https://mirror.example/v1', model: 'openai/gpt-oss-120b' })
  expect(upstream?.claims.chat.draws.flatMap(({ limits }) => limits?.windows ?? [])).toMatchObject([
    { name: 'requests:minute', limit: 7 },
  ])
  expect(upstream?.claims.chat.draws[0]?.limits?.windows[0]?.isPresumed).toBeUndefined()
})

test('the models of one account share the limits of that account, and those of two keys do not', () => {
  const upstreams = upstreamsIn({
    vendor: 'openrouter',
    api_key: ['sk-or-v1-a', 'sk-or-v1-b'],
    model: 'm:free',
  })
  const scopes = upstreams.map(
    ({ claims }) => claims.chat.draws.find(({ role }) => role === 'account')?.scope,
  )
  expect(new Set(scopes).size).toBe(2)
  expect(scopes[0]).toMatch(/^quota openrouter account \w+$/)
  expect(JSON.stringify(scopes)).not.toContain('sk-or-v1-a')
})

test('each key of a vendor has an upstream for each of its models', () => {
  const models = presetOf('groq')?.models?.length ?? 0
  expect(upstreamsIn({ vendor: 'groq', api_key: ['gsk_1', 'gsk_2'] })).toHaveLength(2 * models)
})

test.each([
  [
    { vendor: 'grok', api_key: 'k' },
    'models[0].vendor: is not a vendor that is known here; did you mean "groq"?',
  ],
  [
    { vendor: 'acme-nobody-knows' },
    /^models\[0\]\.vendor: is not a vendor that is known here; known: anthropic, /,
  ],
  [{ model: 'm' }, /^models\[0\]\.base_url: is missing; .*or "vendor" for one that is known here$/],
  [
    { base_url: 'https://a.example/v1' },
    /^models\[0\]\.model: is missing; .*or "models": "\*" for all that it lists$/,
  ],
  [
    { base_url: 'https://a.example/v1', model: 'm', models: '*' },
    'models[0].models: stands beside model; write one of the two',
  ],
  [{ base_url: 'https://a.example/v1', models: [] }, /^models\[0\]\.models: is empty; /],
  [
    { vendor: 'cloudflare', api_key: 'k' },
    /^models\[0\]\.base_url: the environment variable CLOUDFLARE_ACCOUNT_ID is not set; /,
  ],
])('%j is told what would be right', (entry, line) => {
  const [problem = '', ...others] = problemsOf(withModels(entry)).map((told) => told.replace(/^\S+ /, ''))
  expect(others).toEqual([])
  if (typeof line === 'string') expect(problem).toBe(line)
  else expect(problem).toMatch(line)
})

test.each([
  [
    { vendor: 'groq', api_key: 'sk-ant-api03-abc' },
    'looks like a key of Anthropic, and not of Groq; write "anthropic" as vendor (without a file: set ANTHROPIC_API_KEY)',
  ],
  [
    { base_url: 'https://api.openai.com/v1', model: 'm', api_key: 'gsk_abcdef' },
    'looks like a key of Groq, and not of OpenAI',
  ],
])('%j is warned of the key of another vendor, without showing it', (entry, words) => {
  const [warning = '', ...others] = warningsOf(withModels(entry))
  expect([warning, others]).toEqual([expect.stringContaining(words), []])
  expect(warning).not.toContain(entry.api_key)
})

test('a vendor that wants a key is warned of when its entry has none', () => {
  const words =
    'models[0].vendor: wants a key, and this entry has none; write api_key, for example "${GROQ_API_KEY}"'
  for (const entry of [{ vendor: 'groq' }, { vendor: 'Groq', api_key: '' }])
    expect(warningsOf(withModels(entry))).toEqual([expect.stringContaining(words)])
  expect(warningsOf(withModels({ vendor: 'ollama' }))).toEqual([])
  // Somebody else's address may add the key, and so may headers.
  expect(warningsOf(withModels({ vendor: 'groq', base_url: 'http://10.0.0.1/v1' }))).toEqual([])
  expect(warningsOf(withModels({ vendor: 'groq', headers: { authorization: 'Bearer k' } }))).toEqual([])
})

test('a key that may be of its own vendor is no warning, and of several prefixes the longest counts', () => {
  expect(warningsOf(withModels({ vendor: 'openai', api_key: 'sk-proj-abc' }))).toEqual([])
  expect(warningsOf(withModels({ vendor: 'deepseek', api_key: 'sk-0123456789abcdef' }))).toEqual([])
  expect([vendorOfKey('sk-or-v1-1'), vendorOfKey('sk-ant-1'), vendorOfKey('none-of-them')]).toEqual([
    'openrouter',
    'anthropic',
    undefined,
  ])
})

test('an address tells its vendor by its origin alone', () => {
  expect([
    vendorAt('https://API.groq.com/other/v2'),
    vendorAt('https://api.groq.com.evil.example/v1'),
  ]).toEqual(['groq', undefined])
})

test('globs: any text, one sign, exceptions, nothing of a regular expression', () => {
  const matching = (globs: readonly string[]) =>
    ['llama-3', 'llama-guard', 'qwen/a.b', 'qwen/aXb'].filter((name) => matchesGlobs(name, globs))
  expect(matching(['*'])).toHaveLength(4)
  expect(matching(['llama-?'])).toEqual(['llama-3'])
  expect(matching(['LLAMA*', '!*guard'])).toEqual(['llama-3'])
  expect(matching(['!llama*'])).toEqual(['qwen/a.b', 'qwen/aXb'])
  expect(matching(['qwen/a.b'])).toEqual(['qwen/a.b'])
  expect(matching(['('])).toEqual([])
  expect(matching(['*a*a*rd', '?lama-3', 'q*a**?b'])).toEqual([
    'llama-3',
    'llama-guard',
    'qwen/a.b',
    'qwen/aXb',
  ])
})

test('no name makes a glob slow, however many stars it has', () => {
  expect(matchesGlobs('a'.repeat(20_000), ['*a*a*a*a*a*b'])).toBe(false)
  expect(matchesGlobs(`${'a'.repeat(20_000)}b`, ['*a*a*a*a*a*b'])).toBe(true)
})

test('a listed model that has an entry of its own is served by that entry alone', () => {
  const base_url = 'https://a.example/v1'
  const config = configOf(
    withModels(
      { base_url, models: '*', api_key: ['k', 'l'] },
      { base_url, model: 'm-1', api_key: 'k', limits: { rpd: 50 } },
    ),
  )
  const upstreams = upstreamsOf(config, () => [{ id: 'm-1' }, { id: 'm-2' }])
  expect(upstreams.map(({ model, apiKey }) => `${model} ${apiKey}`)).toEqual([
    'm-2 k',
    'm-1 l',
    'm-2 l',
    'm-1 k',
  ])
  expect(new Set(upstreams.map(({ id }) => id)).size).toBe(4)
})

test('of an entry with globs the listed models are served, and what their names say keeps them out of auto for others', () => {
  const config = configOf(
    withModels({ base_url: 'https://a.example/v1', models: ['*', '!*guard*'], api_key: 'k' }),
  )
  expect(discoveriesOf(config)).toMatchObject([{ source: { root: 'https://a.example/v1', apiKey: 'k' } }])
  expect(upstreamsOf(config)).toEqual([])
  const listed = ['m-1', 'm-guard', 'text-embedding-3', 'whisper-1', 'pic'].map((id) => ({ id }))
  const upstreams = upstreamsOf(config, () => [...listed, { id: 'drawing', endpoints: ['images'] }])
  const pools = createPools(upstreams, 'reject')
  const names = (requested: string, endpoint: 'chat' | 'embeddings' | 'images' | 'rerank') =>
    pools.poolFor(requested, endpoint)?.upstreams.map(({ model }) => model)
  expect(names('auto', 'chat')).toEqual(['m-1', 'pic'])
  expect(names('auto', 'embeddings')).toEqual(['text-embedding-3'])
  expect(names('auto', 'images')).toEqual(['drawing'])
  // A guess keeps nobody from a model that is named, and leaves nobody without one.
  expect(names('whisper-1', 'chat')).toEqual(['whisper-1'])
  expect(names('auto', 'rerank')).toHaveLength(5)
})

test('keys in the environment become entries that refer to them, further keys by number', () => {
  const env = { GROQ_API_KEY: 'gsk_1', GROQ_API_KEY_2: 'gsk_2', GEMINI_API_KEY: ' ', AILOAD_TOKEN: 'sk-t' }
  const { vendors, problems } = vendorsIn(env)
  expect([problems, vendors]).toEqual([
    [],
    [{ vendor: 'groq', title: 'Groq', variables: ['GROQ_API_KEY', 'GROQ_API_KEY_2'] }],
  ])
  const text = environmentText(vendors, '127.0.0.1', env)
  expect(text).not.toContain('gsk_1')
  const loaded = loadConfig(text, env, 'environment')
  expect(loaded).toMatchObject({ ok: true, config: { authTokens: ['sk-t'], server: { host: '127.0.0.1' } } })
  const { strategy, affinity } = loaded.ok ? loaded.config.settings : {}
  expect([strategy, affinity]).toEqual(['headroom', { kind: 'conversation' }])
})

test('a vendor whose address needs a further variable is taken when that is set', () => {
  const alone = { CLOUDFLARE_API_KEY: 'k' }
  expect(vendorsIn(alone).vendors).toEqual([])
  expect(lackingIn(alone)).toEqual([
    'CLOUDFLARE_API_KEY is set, and Cloudflare Workers AI is left out; set CLOUDFLARE_ACCOUNT_ID too',
  ])
  const named = { ...alone, AILOAD_VENDORS: 'cloudflare' }
  expect([vendorsIn(named).problems, lackingIn(named)]).toEqual([
    ['AILOAD_VENDORS names cloudflare, whose address is not known yet; set CLOUDFLARE_ACCOUNT_ID'],
    [],
  ])
  const both = { CLOUDFLARE_API_KEY: 'k', CLOUDFLARE_ACCOUNT_ID: 'a' }
  expect(lackingIn(both)).toEqual([])
  expect(vendorsIn(both).vendors).toMatchObject([{ vendor: 'cloudflare' }])
})

test('AILOAD_VENDORS takes those that it names, servers on this machine only so', () => {
  const env = { GROQ_API_KEY: 'a', GEMINI_API_KEY: 'b' }
  expect(vendorsIn(env).vendors.map(({ vendor }) => vendor)).toEqual(['gemini', 'groq'])
  const named = vendorsIn({ ...env, AILOAD_VENDORS: 'groq, Ollama' })
  expect(named.vendors).toMatchObject([{ vendor: 'groq' }, { vendor: 'ollama', variables: [] }])
  expect(vendorsIn({ ...env, AILOAD_VENDORS: 'grok openai minimax-io' })).toEqual({
    vendors: [],
    problems: [
      'AILOAD_VENDORS names "grok", which is not a vendor that is known here; did you mean groq?',
      'AILOAD_VENDORS names openai, and there is no key of it; set OPENAI_API_KEY',
      'AILOAD_VENDORS names minimax-io, and there is no key of it; write it into a file, as "vendor": "minimax-io" with its api_key',
    ],
  })
  const twice = vendorsIn({ ...env, AILOAD_VENDORS: 'groq;Groq' })
  expect(twice.vendors.map(({ vendor }) => vendor)).toEqual(['groq'])
  expect(keyVariables).toContain('GROQ_API_KEY')
})

test.each(['README.md', 'README.zh.md'])('%s names every vendor that is known here', (name) => {
  const text = readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8')
  expect(vendorPresets.map(([id]) => id).filter((id) => !text.includes(`\`${id}\``))).toEqual([])
})

test('a model that two entries with globs find is served by the first alone, with its limits', () => {
  const source = { base_url: 'https://a.example/v1', api_key: 'k' }
  const config = configOf(
    withModels({ ...source, models: 'm-*', limits: { rpm: 3 } }, { ...source, models: '*' }),
  )
  const upstreams = upstreamsOf(config, () => [{ id: 'm-1' }, { id: 'other' }])
  expect(
    upstreams.map(({ model, claims }) => [model, claims.chat.draws[0]?.limits?.windows[0]?.limit]),
  ).toEqual([
    ['m-1', 3],
    ['other', undefined],
  ])
})
