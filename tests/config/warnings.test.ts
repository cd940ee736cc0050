import { expect, test } from 'vitest'
import { nearestName } from '../../src/config/checks.ts'
import { configOf, model, textOf, warningsOf } from './texts.ts'

const inModel = (parts: Record<string, unknown>) => textOf({ models: [model(parts)] })

test.each([
  [textOf({ authToken: 'x' }), 'authToken', 'did you mean auth_token?'],
  [textOf({ setings: {} }), 'setings', 'did you mean settings?'],
  [textOf({ port: 1 }), 'port', 'did you mean server.port?'],
  [textOf({ timeout: 1 }), 'timeout', 'did you mean models[].timeout?'],
  [inModel({ apikey: 'x' }), 'models[0].apikey', 'did you mean api_key?'],
  [inModel({ 'base-url': 'x' }), 'models[0]["base-url"]', 'did you mean base_url?'],
  [inModel({ limits: { rmp: 1 } }), 'models[0].limits.rmp', 'did you mean rpm?'],
  [textOf({ quotas: { a: { rpdd: 1 } } }), 'quotas.a.rpdd', 'did you mean rpd?'],
  [textOf({ server: { prot: 1 } }), 'server.prot', 'did you mean port?'],
  [textOf({ settings: { conect_timeout: 1 } }), 'settings.conect_timeout', 'did you mean connect_timeout?'],
  [textOf({ settings: { zzzzzzzz: 1 } }), 'settings.zzzzzzzz', 'known: timeout, connect_timeout'],
])('%s warns of the unknown key %s: %s', (text, path, hint) => {
  expect(warningsOf(text)).toEqual([
    expect.stringContaining(`: ${path}: unknown key, it is ignored; ${hint}`),
  ])
  expect(configOf(text).models).toHaveLength(1)
})

test('unknown keys are told together with problems', () => {
  expect(warningsOf(textOf({ prot: 1, server: { port: 'x' } }))).toHaveLength(1)
})

test.each(['sk-xxx', 'xxx', 'sk-XXXX', 'sk-...', '<your key>', 'your-api-key', 'YOUR_API_KEY_HERE'])(
  'the key %s is a placeholder',
  (key) => {
    expect(warningsOf(inModel({ api_key: ['real', key] }))).toEqual([
      expect.stringContaining('models[0].api_key[1]: is still a placeholder'),
    ])
  },
)

test.each(['sk-abc', 'xx', 'sk-xxxy', 'gsk_1234'])('the key %s is none', (key) => {
  expect(warningsOf(inModel({ api_key: key }))).toEqual([])
})

test.each([
  [
    textOf({ settings: { affinity: 'ip', ip_hash: true } }),
    'settings.ip_hash: settings.affinity is there too and wins',
  ],
  [textOf({ server: { mode: 'debug', model: 'release' } }), 'server.model: is another name of server.mode'],
  [
    textOf({ server: { max_body: 10, max_buffered: 5 } }),
    'server.max_buffered: max_buffered is smaller than max_body',
  ],
  [inModel({ api_key: ['a', ' a'] }), 'models[0].api_key: has the same key twice'],
  [
    inModel({ base_url: 'https://a.example/v1/embeddings' }),
    'models[0].base_url: looks like the address of one endpoint',
  ],
  [inModel({ groups: ['auto'] }), 'models[0].groups[0]: auto always means all upstreams'],
  [inModel({ name: 'auto' }), 'models[0].name: auto always means all upstreams'],
  [inModel({ enabled: false }), 'models: no model is enabled'],
  [
    textOf({ models: [model(), model({ name: 'twin' })] }),
    'models[1]: has an upstream that models[0] has already',
  ],
  [textOf({ auth_token: 'пароль' }), 'auth_token: has characters beyond ASCII'],
])('%s is valid with one warning: %s', (text, warning) => {
  expect(warningsOf(text)).toEqual([expect.stringContaining(warning)])
  expect(configOf(text).models).not.toEqual([])
})

test('an ordinary file has no warnings', () => {
  expect(warningsOf(textOf())).toEqual([])
  expect(warningsOf(inModel({ base_url: 'https://a.example/v1/chat/completions' }))).toEqual([])
})

test('no warning repeats a key', () => {
  const key = 'hunter2-swordfish'
  const told = warningsOf(
    textOf({ models: [model({ api_key: [key, key] }), model({ api_key: key })], [`x`]: key }),
  )
  expect(told).toHaveLength(3)
  expect(told.join('\n')).not.toContain('swordfish')
})

test.each([
  ['apiKeys', 'api_key'],
  ['tiemout', 'timeout'],
  ['TIMEOUT', 'timeout'],
  ['colour', undefined],
  ['', undefined],
  ['x'.repeat(100_000), undefined],
])('the known name nearest to %s is %s', (name, near) => {
  expect(nearestName(name, ['api_key', 'timeout', 'connect_timeout'])).toBe(near)
})
