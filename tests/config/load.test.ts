import { expect, test } from 'vitest'
import { configOf, fiveKeys, model, problemsOf, textOf, warningsOf, window } from './texts.ts'

test('the five-key file of the first users works unchanged, with one warning about the placeholder key', () => {
  expect(configOf(fiveKeys)).toEqual({
    authTokens: [],
    tokens: [],
    models: [
      {
        apiKeys: ['sk-xxx'],
        root: 'https://api.openai.com/v1',
        model: 'gpt-4o',
        groups: [],
        weight: 1,
        priority: 0,
        quotas: [],
        headers: {},
        enabled: true,
        path: 'models[0]',
      },
    ],
    quotas: {},
    server: {
      port: 2081,
      host: '0.0.0.0',
      mode: 'release',
      trustedProxies: ['private'],
      namedProxies: [],
      maxBodyBytes: 33_554_432,
      maxBufferedBytes: 268_435_456,
      cors: '*',
      metricsPublic: false,
      logClient: true,
      admin: 'read',
    },
    settings: {
      timeoutMs: 120_000,
      connectTimeoutMs: 5000,
      strategy: 'random',
      affinity: { kind: 'ip' },
      affinityTtlMs: 300_000,
      queueTimeoutMs: 5000,
      queueSize: 256,
      passthroughPaths: expect.arrayContaining(['files', 'batches', 'chat/completions', 'models']),
      heartbeatMs: 15_000,
      unknownModel: 'reject',
      state: 'memory',
      drainTimeoutMs: 8000,
      events: { bytes: 67_108_864, days: 2 },
    },
  })
  expect(warningsOf(fiveKeys)).toEqual([
    'c.json:4:18: models[0].api_key: is still a placeholder; put the real one here',
  ])
})

test('everything that is written is taken over', () => {
  const limits = {
    rpm: 1,
    rpd: 2,
    tpm: 3,
    tpd: 4,
    concurrency: 5,
    windows: [{ requests: 6, per: '5h' }],
    day_resets: 'Europe/Berlin',
  }
  const text = textOf({
    auth_token: ' My API Key\n',
    models: [
      model({
        api_key: [' a ', 'b', 'a'],
        base_url:
          'https://x.openai.azure.com/openai/deployments/d/chat/completions/?api-version=2024-06-01#top',
        name: ' azure ',
        endpoints: ['chat', 'chat', 'embeddings'],
        groups: [' fast '],
        weight: 0.5,
        priority: -1,
        limits,
        quota: 'account',
        headers: { 'X-Team': ' a b ' },
        timeout: 1.5,
        enabled: false,
      }),
    ],
    quotas: { account: { rpd: 7, day_resets: 'rolling' } },
    server: {
      port: 0,
      host: '::1',
      mode: 'debug',
      trusted_proxies: ['private', '10.0.0.0/8', '::1'],
      max_body: 1,
      max_buffered: 2,
      cors: ['https://App.example:443/', 'tauri://localhost'],
      metrics_public: true,
    },
    settings: {
      timeout: 0.5,
      connect_timeout: 0.0001,
      strategy: 'fastest',
      affinity: 'header:X-Session',
      affinity_ttl: 60,
      queue_timeout: 0,
      queue_size: 0,
      heartbeat: 0.25,
      passthrough: 'azure-2',
      passthrough_paths: ['files', 'chat/completions'],
      unknown_model: 'auto',
      state: 'memory',
      max_attempts: 3,
      drain_timeout: 0,
    },
  })
  const counted = {
    windows: [
      window({ limit: 1 }),
      window({ limit: 2, per: 'day', resets: 'Europe/Berlin' }),
      window({ limit: 3, counts: 'tokens' }),
      window({ limit: 4, counts: 'tokens', per: 'day', resets: 'Europe/Berlin' }),
      window({ limit: 6, per: '5h' }),
    ],
    concurrency: 5,
  }
  expect(configOf(text)).toEqual({
    authTokens: ['My API Key'],
    tokens: [],
    models: [
      {
        apiKeys: ['a', 'b'],
        root: 'https://x.openai.azure.com/openai/deployments/d',
        query: 'api-version=2024-06-01',
        model: 'm',
        name: 'azure',
        endpoints: ['chat', 'embeddings'],
        groups: ['fast'],
        weight: 0.5,
        priority: -1,
        limits: counted,
        quotas: ['account'],
        headers: { 'x-team': 'a b' },
        timeoutMs: 1500,
        enabled: false,
        path: 'models[0]',
      },
    ],
    quotas: {
      account: { windows: [window({ limit: 7, per: 'day' })] },
    },
    server: {
      port: 0,
      host: '::1',
      mode: 'debug',
      trustedProxies: ['private', '10.0.0.0/8', '::1'],
      namedProxies: ['private', '10.0.0.0/8', '::1'],
      maxBodyBytes: 1,
      maxBufferedBytes: 2,
      cors: ['https://app.example', 'tauri://localhost'],
      metricsPublic: true,
      logClient: true,
      admin: 'read',
    },
    settings: {
      timeoutMs: 500,
      connectTimeoutMs: 1,
      strategy: 'fastest',
      affinity: { kind: 'header', name: 'x-session' },
      affinityTtlMs: 60_000,
      queueTimeoutMs: 0,
      queueSize: 0,
      heartbeatMs: 250,
      passthrough: 'azure-2',
      passthroughPaths: ['files', 'chat/completions'],
      unknownModel: 'auto',
      state: 'memory',
      maxAttempts: 3,
      drainTimeoutMs: 0,
      events: { bytes: 67_108_864, days: 2 },
    },
  })
})

test('comments, trailing commas, a byte order mark and $schema are no problem', () => {
  const text = `\uFEFF// mine\n{ "$schema": "./s.json", /* all */ "models": [${JSON.stringify(model())},], }`
  expect(configOf(text).models).toHaveLength(1)
  expect(warningsOf(text)).toEqual([])
})

test('an own server without a key gets the empty key', () => {
  const entry = { base_url: 'http://localhost:11434/v1', model: 'llama' }
  for (const keys of [{}, { api_key: '' }, { api_key: '  ' }])
    expect(configOf(textOf({ models: [{ ...entry, ...keys }] })).models[0]?.apiKeys).toEqual([''])
})

test.each([
  { settings: {}, kind: 'ip' },
  { settings: { ip_hash: true }, kind: 'ip' },
  { settings: { ip_hash: false }, kind: 'off' },
  { settings: { ip_hash: false, affinity: 'user' }, kind: 'user' },
])('$settings means affinity $kind', ({ settings, kind }) => {
  expect(configOf(textOf({ settings })).settings.affinity).toEqual({ kind })
})

test('server.mode "test" is release, and server.model is another name of it that loses', () => {
  expect(configOf(textOf({ server: { mode: 'test' } })).server.mode).toBe('release')
  expect(configOf(textOf({ server: { model: 'debug' } })).server.mode).toBe('debug')
  expect(configOf(textOf({ server: { model: 'debug', mode: 'release' } })).server.mode).toBe('release')
})

test('problems carry the file, the place, the path, what is wrong and what is right', () => {
  const text =
    '{\n  "models": [\n    { "base_url": "https://a/v1",\r\n      "model": 7 }\n  ],\n  "server": { "port": 70000 }\n}'
  expect(problemsOf(text)).toEqual([
    'c.json:4:16: models[0].model: must be a string; write the name that the vendor gives the model',
    'c.json:6:23: server.port: must be a whole number from 0 to 65535; write for example 2081',
  ])
})

test('a missing key is told at the object that lacks it', () => {
  expect(problemsOf('{ "models": [\n  {} ] }')).toEqual([
    expect.stringMatching(/^c\.json:2:3: models\[0\]\.base_url: is missing; write the root/),
    expect.stringMatching(/^c\.json:2:3: models\[0\]\.model: is missing; write the name/),
  ])
})

test('a thousand models with ten keys each are read in time that grows with their number only', () => {
  const keys = Array.from({ length: 10 }, (_, at) => `k${at}`)
  const models = Array.from({ length: 1000 }, (_, at) => model({ api_key: keys, model: `m${at}` }))
  const start = performance.now()
  expect(configOf(textOf({ models })).models).toHaveLength(1000)
  expect(performance.now() - start).toBeLessThan(20_000)
})
