import { expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { model, problemPaths, problemsOf, textOf } from './texts.ts'

const inModel = (parts: Record<string, unknown>) => textOf({ models: [model(parts)] })
const inServer = (server: unknown) => textOf({ server })
const inSettings = (settings: unknown) => textOf({ settings })

test.each([
  [textOf({ models: [] }), 'models'],
  [JSON.stringify({ auth_token: 't' }), 'models'],
  [textOf({ models: {} }), 'models'],
  [textOf({ models: ['gpt'] }), 'models[0]'],
  [textOf({ models: [[]] }), 'models[0]'],
  [textOf({ auth_token: 1 }), 'auth_token'],
  [textOf({ auth_token: '   ' }), 'auth_token'],
  [textOf({ auth_token: 'a\nb' }), 'auth_token'],
  [textOf({ auth_token: [] }), 'auth_token'],
  [textOf({ auth_token: ['a', ''] }), 'auth_token[1]'],
  [textOf({ auth_token: [' ', 'a'] }), 'auth_token[0]'],
  [textOf({ auth_token: ['a', 7] }), 'auth_token[1]'],
  [textOf({ auth_token: ['a\nb'] }), 'auth_token[0]'],
  [textOf({ $schema: 1 }), '$schema'],
  [inModel({ base_url: '' }), 'models[0].base_url'],
  [inModel({ base_url: 'https://user:pw@a.example/v1' }), 'models[0].base_url'],
  [inModel({ base_url: 'ftp://a.example' }), 'models[0].base_url'],
  [inModel({ base_url: 'http://a.example:6667/v1' }), 'models[0].base_url'],
  [inModel({ model: '' }), 'models[0].model'],
  [inModel({ model: null }), 'models[0].model'],
  [inModel({ api_key: 5 }), 'models[0].api_key'],
  [inModel({ api_key: [] }), 'models[0].api_key'],
  [inModel({ api_key: ['a', ' '] }), 'models[0].api_key[1]'],
  [inModel({ api_key: ['a', 5] }), 'models[0].api_key[1]'],
  [inModel({ api_key: 'a\nb' }), 'models[0].api_key'],
  [inModel({ api_key: ['a', 'ключ'] }), 'models[0].api_key[1]'],
  [inModel({ name: ' ' }), 'models[0].name'],
  [inModel({ name: 'a\u0007' }), 'models[0].name'],
  [inModel({ endpoints: [] }), 'models[0].endpoints'],
  [inModel({ endpoints: ['chat', 'chats'] }), 'models[0].endpoints[1]'],
  [inModel({ groups: 'fast' }), 'models[0].groups'],
  [inModel({ weight: 0 }), 'models[0].weight'],
  [inModel({ weight: -1 }), 'models[0].weight'],
  [inModel({ weight: '1' }), 'models[0].weight'],
  [inModel({ priority: 0.5 }), 'models[0].priority'],
  [inModel({ limits: { rpm: 0 } }), 'models[0].limits.rpm'],
  [inModel({ limits: { tpd: 1.5 } }), 'models[0].limits.tpd'],
  [inModel({ limits: { concurrency: -1 } }), 'models[0].limits.concurrency'],
  [inModel({ limits: { day_resets: 'Mars/Olympus' } }), 'models[0].limits.day_resets'],
  [inModel({ limits: { day_resets: '+08:00' } }), 'models[0].limits.day_resets'],
  [inModel({ limits: { windows: { requests: 1, per: '5h' } } }), 'models[0].limits.windows'],
  [inModel({ limits: { windows: ['5h'] } }), 'models[0].limits.windows[0]'],
  [inModel({ limits: { windows: [[]] } }), 'models[0].limits.windows[0]'],
  [inModel({ limits: [] }), 'models[0].limits'],
  [inModel({ quota: 'nowhere' }), 'models[0].quota'],
  [inModel({ quota: ['nowhere'] }), 'models[0].quota[0]'],
  [inModel({ quota: 'constructor' }), 'models[0].quota'],
  [inModel({ headers: { 'a b': 'x' } }), 'models[0].headers["a b"]'],
  [inModel({ headers: { 'x-a': 'x\r\ny: z' } }), 'models[0].headers["x-a"]'],
  [inModel({ headers: { 'x-a': 1 } }), 'models[0].headers["x-a"]'],
  [inModel({ headers: { Host: 'x' } }), 'models[0].headers.Host'],
  [inModel({ headers: { 'Transfer-Encoding': 'x' } }), 'models[0].headers["Transfer-Encoding"]'],
  [inModel({ headers: { 'x-a': '1', 'X-A': '2' } }), 'models[0].headers["X-A"]'],
  [inModel({ timeout: 0 }), 'models[0].timeout'],
  [inModel({ enabled: 'yes' }), 'models[0].enabled'],
  [textOf({ quotas: { a: { rpm: 'x' } } }), 'quotas.a.rpm'],
  [textOf({ quotas: { a: { windows: [{ tokens: 1, per: 'day' }] } } }), 'quotas.a.windows[0].per'],
  [textOf({ quotas: [] }), 'quotas'],
  [inServer([]), 'server'],
  [inServer('x'), 'server'],
  [inServer({ port: -1 }), 'server.port'],
  [inServer({ port: 80.5 }), 'server.port'],
  [inServer({ port: '2081' }), 'server.port'],
  [inServer({ host: '' }), 'server.host'],
  [inServer({ mode: 'loud' }), 'server.mode'],
  [inServer({ trusted_proxies: 'private' }), 'server.trusted_proxies'],
  [inServer({ trusted_proxies: ['10.0.0.0/33'] }), 'server.trusted_proxies[0]'],
  [inServer({ max_body: 0 }), 'server.max_body'],
  [inServer({ cors: true }), 'server.cors'],
  [inServer({ cors: 'https://a.example' }), 'server.cors'],
  [inServer({ cors: ['https://a.example/path'] }), 'server.cors[0]'],
  [inServer({ cors: ['*'] }), 'server.cors[0]'],
  [inServer({ metrics_public: 1 }), 'server.metrics_public'],
  [inSettings({ timeout: 86_401 }), 'settings.timeout'],
  [inSettings({ timeout: -1 }), 'settings.timeout'],
  [inSettings({ connect_timeout: 0 }), 'settings.connect_timeout'],
  [inSettings({ strategy: 'best' }), 'settings.strategy'],
  [inSettings({ affinity: 'ips' }), 'settings.affinity'],
  [inSettings({ affinity: 'header:' }), 'settings.affinity'],
  [inSettings({ affinity: 'header:a b' }), 'settings.affinity'],
  [inSettings({ affinity_ttl: 0 }), 'settings.affinity_ttl'],
  [inSettings({ queue_timeout: -1 }), 'settings.queue_timeout'],
  [inSettings({ queue_size: 1.5 }), 'settings.queue_size'],
  [inSettings({ passthrough: 'nobody' }), 'settings.passthrough'],
  [inSettings({ passthrough_paths: 'listed' }), 'settings.passthrough_paths'],
  [inSettings({ passthrough_paths: true }), 'settings.passthrough_paths'],
  [inSettings({ passthrough_paths: ['/v1/files'] }), 'settings.passthrough_paths[0]'],
  [inSettings({ passthrough_paths: ['files', 'Files'] }), 'settings.passthrough_paths[1]'],
  [inSettings({ passthrough_paths: ['organization/usage'] }), 'settings.passthrough_paths[0]'],
  [inSettings({ passthrough_paths: ['files', 'realtime'] }), 'settings.passthrough_paths[1]'],
  [
    textOf({
      models: [model({ name: 'a', api_key: ['k', ' k'] })],
      settings: { passthrough: 'a-2' },
    }),
    'settings.passthrough',
  ],
  [inSettings({ unknown_model: 'maybe' }), 'settings.unknown_model'],
  [inSettings({ state: 'redis://h' }), 'settings.state'],
  [inSettings({ max_attempts: 0 }), 'settings.max_attempts'],
  [inSettings({ drain_timeout: -1 }), 'settings.drain_timeout'],
  [inSettings({ ip_hash: 'true' }), 'settings.ip_hash'],
  ['[]', ''],
  ['null', ''],
  ['"models"', ''],
])('%s has one problem, at %j', (text, path) => {
  expect(problemPaths(text)).toEqual([path])
})

test('numbers that JavaScript reads as infinite are refused', () => {
  const text = textOf({ settings: { timeout: 424242 } }).replace('424242', '1e400')
  expect(problemPaths(text)).toEqual(['settings.timeout'])
  expect(problemPaths(inModel({ weight: 424242 }).replace('424242', '1e400'))).toEqual(['models[0].weight'])
})

test('all problems of a file are told at once, in the order of the file', () => {
  const text = textOf({
    auth_token: false,
    models: [model({ quota: 'gone', weight: 0 }), { model: 'x', base_url: '${NOWHERE}' }],
    server: { port: 1e9, cors: 3 },
    settings: { passthrough: 5, state: 'rediss://h' },
  })
  expect(problemPaths(text)).toEqual([
    'auth_token',
    'models[0].quota',
    'models[0].weight',
    'models[1].base_url',
    'server.port',
    'server.cors',
    'settings.passthrough',
    'settings.state',
  ])
})

test('a Redis address is refused with what to use today', () => {
  expect(problemsOf(inSettings({ state: 'redis://:hunter2@h:6379' }))).toEqual([
    expect.stringMatching(/^c\.json:\d+:\d+: settings\.state: .*Redis.*cannot use yet; write "memory"/),
  ])
})

const secret = 'hunter2-swordfish'
test.each([
  ['auth_token', textOf({ auth_token: `${secret}\n${secret}` })],
  ['auth_token of another type', textOf({ auth_token: [[secret], `${secret}\n`] })],
  ['a key', inModel({ api_key: `${secret}\u0000x` })],
  ['a key of another type', inModel({ api_key: { [secret]: 1, a: secret } })],
  ['a listed key', inModel({ api_key: [`${secret}€`, { a: secret }] })],
  ['a header', inModel({ headers: { a: `${secret}\n` } })],
  ['headers as text', inModel({ headers: secret })],
  ['credentials in the URL', inModel({ base_url: `https://u:${secret}@a.example` })],
  ['a URL that is none', inModel({ base_url: secret })],
  ['a store', inSettings({ state: `redis://:${secret}@h` })],
  ['a strategy', inSettings({ strategy: secret })],
  ['a passthrough', inSettings({ passthrough: secret })],
  ['a key where a model belongs', textOf({ models: [secret] })],
  ['a reference that is none', inModel({ api_key: `\${${secret}` })],
  ['a variable', inModel({ base_url: '${SECRET}', weight: '${SECRET}', quota: '${SECRET}' })],
  [
    'a number where the file ends in the middle',
    `{ "auth_token": "${secret}", "models": [ { "api_key": ${secret}`,
  ],
])('no message repeats %s', (_, text) => {
  const told = JSON.stringify(loadConfig(text, { SECRET: secret }, 'c.json'))
  expect(problemsOf(text, { SECRET: secret })).not.toEqual([])
  expect(told).not.toContain('swordfish')
})

test('no problem takes more than one line, whatever the keys contain', () => {
  for (const line of problemsOf(inModel({ headers: { 'a\nb': 'x' } }))) expect(line).not.toContain('\n')
})
