import { expect, test } from 'vitest'
import { nearestName } from '../../src/config/checks.ts'
import { configOf, model, textOf, warningsOf } from './texts.ts'

const inModel = (parts: Record<string, unknown>) => textOf({ models: [model(parts)] })
const inWindow = (window: object) => inModel({ limits: { windows: [window] } })

test.each([
  [textOf({ authToken: 'x' }), 'authToken', 'did you mean auth_token?'],
  [textOf({ setings: {} }), 'setings', 'did you mean settings?'],
  [textOf({ port: 1 }), 'port', 'did you mean server.port?'],
  [textOf({ timeout: 1 }), 'timeout', 'did you mean models[].timeout?'],
  [inModel({ apikey: 'x' }), 'models[0].apikey', 'did you mean api_key?'],
  [inModel({ 'base-url': 'x' }), 'models[0]["base-url"]', 'did you mean base_url?'],
  [inModel({ limits: { rmp: 1 } }), 'models[0].limits.rmp', 'did you mean rpm?'],
  [inModel({ limits: { window: [] } }), 'models[0].limits.window', 'did you mean windows?'],
  [inWindow({ requests: 1, pre: '5h', per: '5h' }), 'models[0].limits.windows[0].pre', 'did you mean per?'],
  [
    inWindow({ tokens: 1, per: '5h', reset: 'UTC' }),
    'models[0].limits.windows[0].reset',
    'did you mean resets?',
  ],
  [
    inWindow({ tokens: 1, per: '5h', zone: 'UTC' }),
    'models[0].limits.windows[0].zone',
    'known: requests, tokens, per',
  ],
  [
    textOf({ quotas: { a: { windows: [{ requests: 1, token: 1, per: '1s' }] } } }),
    'quotas.a.windows[0].token',
    'did you mean tokens?',
  ],
  [inModel({ can: { tool: true } }), 'models[0].can.tool', 'did you mean tools?'],
  [inModel({ can: { Tools: 'yes' } }), 'models[0].can.Tools', 'did you mean tools?'],
  [inModel({ can: { vision: true } }), 'models[0].can.vision', 'known: tools, images, audio'],
  [inModel({ can: { context: 9 } }), 'models[0].can.context', 'did you mean models[].context?'],
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

const PLACEHOLDER = 'is still a placeholder; put the real one here'
const VARIABLE = 'looks like the name of a variable; write ${NAME} for an environment variable'
const ASSIGNMENT = 'begins with the name of a variable; write what stands behind the ='
const BEARER = 'begins with the word Bearer; leave that word out; it is added'
const QUOTES = 'stands in quotes of its own; take the inner quotes out'

test.each([
  ['sk-xxx', PLACEHOLDER],
  ['xxx', PLACEHOLDER],
  ['sk-XXXX', PLACEHOLDER],
  ['sk-...', PLACEHOLDER],
  ['...', PLACEHOLDER],
  ['sk-abcd...wxyz', PLACEHOLDER],
  ['sk-abcd****wxyz', PLACEHOLDER],
  ['<your key>', PLACEHOLDER],
  ['your-api-key', PLACEHOLDER],
  ['YOUR_API_KEY_HERE', PLACEHOLDER],
  ['your_openai_api_key', PLACEHOLDER],
  ['sk-your-key', PLACEHOLDER],
  ['changeme', PLACEHOLDER],
  ['sk-change-me', PLACEHOLDER],
  ['$OPENAI_API_KEY', VARIABLE],
  ['$(OPENAI_API_KEY)', VARIABLE],
  ['%OPENAI_API_KEY%', VARIABLE],
  ['{{ openai_api_key }}', VARIABLE],
  ['os.environ/OPENAI_API_KEY', VARIABLE],
  ['process.env.OPENAI_API_KEY', VARIABLE],
  ['Bearer hunter2-swordfish', BEARER],
  ['bearer hunter2-swordfish', BEARER],
  ['"hunter2-swordfish"', QUOTES],
  ["'hunter2-swordfish'", QUOTES],
  ['hunter2-swordfish"', QUOTES],
  ['sk-proj-xxxxxxxx', PLACEHOLDER],
  ['sk-or-v1-xxxxxxxx', PLACEHOLDER],
  ['gsk_xxxxxxxx', PLACEHOLDER],
  ['AIzaXXXXXXXX', PLACEHOLDER],
  ['xxxxxxxx-xxxx-xxxx', PLACEHOLDER],
  ['REPLACE_ME', PLACEHOLDER],
  ['replace-with-your-key', PLACEHOLDER],
  ['PASTE_TOKEN', PLACEHOLDER],
  ['API_KEY_HERE', PLACEHOLDER],
  ['api_key', PLACEHOLDER],
  ['[YOUR KEY]', PLACEHOLDER],
  ['[object Object]', PLACEHOLDER],
  ['TODO', PLACEHOLDER],
  ['undefined', PLACEHOLDER],
  ['null', PLACEHOLDER],
  ['OPENAI_API_KEY', VARIABLE],
  ['AZURE_KEY_2', VARIABLE],
  ['{OPENAI_API_KEY}', VARIABLE],
  ['OPENAI_API_KEY=hunter2-swordfish', ASSIGNMENT],
  ['export OPENAI_API_KEY="hunter2-swordfish"', ASSIGNMENT],
  [
    'hunter2,swordfish',
    'has a comma in it; write several keys as a list: ["…", "…"], or without a file as NAME, NAME_2, NAME_3',
  ],
  [
    'hunter2; swordfish',
    'has a semicolon in it; write several keys as a list: ["…", "…"], or without a file as NAME, NAME_2, NAME_3',
  ],
  [
    'hunter2|swordfish',
    'has a | in it; write several keys as a list: ["…", "…"], or without a file as NAME, NAME_2, NAME_3',
  ],
  ['hunter2 swordfish', 'has a blank in it; copy the key again'],
  ['hunter2\tswordfish', 'has a blank in it; copy the key again'],
])('the key %j is allowed and warned of: %s', (key, told) => {
  for (const [parts, place] of [
    [{ api_key: key }, 'models[0].api_key'],
    [{ api_key: ['real', key] }, 'models[0].api_key[1]'],
  ] as const) {
    const text = inModel(parts)
    expect(warningsOf(text)).toEqual([expect.stringContaining(`${place}: ${told}`)])
    expect(warningsOf(text).join('')).not.toMatch(/hunter2|swordfish|OPENAI_API_KEY/)
    expect(configOf(text).models[0]?.apiKeys).toContain(key)
  }
})

test.each([
  'sk-abc',
  'xx',
  'sk-xxxy',
  'gsk_1234',
  'none',
  'EMPTY',
  'ollama',
  'sk-a$b',
  'my-own-server',
  'a.b:c/d==',
  'AB=',
  'i-am-here',
  '{"type":"service_account"}',
  'ABCDEF==',
  'ABCDEF0123456789',
  'sk-proj-AbC_d-123',
  'sk-ant-api03-xx-y',
  'nvapi-xxx1',
  // As Laravel makes them.
  '17|hunter2',
])('the key %s is none of these', (key) => {
  expect(warningsOf(inModel({ api_key: key }))).toEqual([])
})

test('what a variable brings along is warned of too', () => {
  expect(warningsOf(inModel({ api_key: '${K}' }), { K: '"sk-a"' })).toEqual([
    expect.stringContaining(`models[0].api_key: ${QUOTES}`),
  ])
})

test.each([
  ['$TOKEN', VARIABLE],
  ['Bearer x', BEARER],
  ['"x"', QUOTES],
  ['sk-xxx', PLACEHOLDER],
])('the token %s is warned of as a key is', (token, told) => {
  expect(warningsOf(textOf({ auth_token: token }))).toEqual([expect.stringContaining(`auth_token: ${told}`)])
})

test('of several tokens the one is named that is warned of', () => {
  expect(warningsOf(textOf({ auth_token: ['sk-good-one', '"x"', 'пароль'] }))).toEqual([
    expect.stringContaining(`auth_token[1]: ${QUOTES}`),
    expect.stringContaining('auth_token[2]: has characters beyond ASCII'),
  ])
})

test('a token may have blanks and commas', () => {
  expect(warningsOf(textOf({ auth_token: 'my own, long token' }))).toEqual([])
})

test('a variable without braces in a header is warned of', () => {
  const headers = { 'api-key': '$AZURE_KEY', authorization: 'Bearer $KEY', price: 'US$5', cost: '5 $' }
  expect(warningsOf(inModel({ headers }))).toEqual([
    expect.stringContaining(`models[0].headers["api-key"]: ${VARIABLE}`),
    expect.stringContaining(`models[0].headers.authorization: ${VARIABLE}`),
  ])
})

const ENDPOINT = 'looks like the address of one endpoint; write the root, such as https://host/v1'
const TWICE = 'has a part of its path twice; write it once, such as https://host/v1'
const VERSION = 'has no version segment such as /v1; write the root with it, such as https://host/v1, or'
test.each([
  ['https://api.example.com', VERSION],
  ['https://api.example.com/', VERSION],
  ['https://api.example.com:8443/openai/', VERSION],
  ['http://localhost:11434', VERSION],
  ['http://localhost:11434/api', VERSION],
  ['https://api.example.com/vision', VERSION],
  ['https://api.example.com/v1/models', ENDPOINT],
  ['https://api.example.com/v1/chat', ENDPOINT],
  ['https://api.example.com/v1/messages', ENDPOINT],
  ['https://api.example.com/v1/completion', ENDPOINT],
  ['https://api.example.com/v1/completions', ENDPOINT],
  ['https://api.example.com/v1/Responses/', ENDPOINT],
  ['https://api.example.com/v1/images/generations', ENDPOINT],
  ['https://api.example.com/models', ENDPOINT],
  ['https://api.example.com/v1/complete', ENDPOINT],
  ['https://api.example.com/v1/files', ENDPOINT],
  ['https://api.example.com/v1/vector_stores/x/files', ENDPOINT],
  ['https://api.example.com/v1/responses/compact', ENDPOINT],
  ['https://api.example.com/v1/messages/count_tokens', ENDPOINT],
  ['https://api.example.com/v1beta/models/gemini:generateContent', ENDPOINT],
  ['https://api.example.com/v1/chat/completions/v1', ENDPOINT],
  ['https://api.example.com/v1/v1', TWICE],
  ['https://api.example.com/v1/v1/chat/completions', TWICE],
  ['https://api.example.com/v1/chat/completions/chat/completions', TWICE],
  ['https://api.example.com/v1/chat/completions/v1/chat/completions?x=1', TWICE],
  ['http://http://api.example.com/v1', 'has its scheme twice; write it once, such as https://host/v1'],
  ['https://https//api.example.com/v1/chat/completions', 'has its scheme twice'],
  ['https:///v1', 'has more than two slashes before its host; write https://host/v1'],
  ['https://YOUR_RESOURCE.openai.azure.com/openai/v1', 'has a placeholder in it; put the real name there'],
  ['https://your-endpoint/v1/chat/completions', 'has a placeholder in it; put the real name there'],
  ['https://api.example.com/accounts/{account_id}/ai/v1', 'has a placeholder in it; put the real name there'],
  ['https://api.example.com/accounts/$ACCOUNT/ai/v1', VARIABLE],
])('the base_url %s is warned of: %s', (base_url, told) => {
  expect(warningsOf(inModel({ base_url }))).toEqual([expect.stringContaining(`models[0].base_url: ${told}`)])
})

test.each([
  'https://api.example.com/v1',
  'https://api.example.com/v1/',
  'https://api.example.com/V2',
  'https://generativelanguage.googleapis.com/v1beta/openai',
  'https://open.bigmodel.cn/api/paas/v4',
  'https://gateway.ai.cloudflare.com/v1/account/name/compat',
  'https://mine.openai.azure.com/openai/deployments/x?api-version=2024-06-01',
  'https://mine.openai.azure.com/openai/v1',
  'https://mine.services.ai.azure.com/models?api-version=2024-05-01-preview',
  'https://models.github.ai/inference',
  'https://api.deepseek.com',
  'https://api.perplexity.ai',
  'https://dbc-1.cloud.databricks.com/serving-endpoints',
  'https://router.huggingface.co/hf-inference/models/gpt2/v1',
  'https://gateway.ai.cloudflare.com/v1/same/same/compat',
  'http://http:8080/v1',
  // Who writes the full address has one without a version in mind.
  'https://api.example.com/chat/completions',
  'https://api.example.com/v1/chat/completions?key=x',
])('the base_url %s is none of these', (base_url) => {
  expect(warningsOf(inModel({ base_url }))).toEqual([])
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
  [inModel({ groups: ['fast', 'AUTO'] }), 'models[0].groups[1]: auto always means all upstreams'],
  [inModel({ name: 'Auto' }), 'models[0].name: auto always means all upstreams'],
  [inModel({ name: 'auto' }), 'models[0].name: auto always means all upstreams'],
  [
    inModel({ model: 'auto' }),
    'models[0].model: auto always means all upstreams; give it a name by which clients can ask for it',
  ],
  [
    textOf({ settings: { passthrough_paths: ['files', 'all'] } }),
    'settings.passthrough_paths[1]: is one path here, and not every one; write "all" in the place of the list',
  ],
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

test('a model that its vendor calls auto has no warning where clients can ask for it', () => {
  for (const parts of [{ name: 'router' }, { groups: ['router'] }])
    expect(warningsOf(inModel({ model: 'auto', ...parts }))).toEqual([])
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

test('the right to edit is told of while every client has the token for it', () => {
  const warned = warningsOf(textOf({ server: { admin: 'write' } }))
  expect(warned).toEqual([
    expect.stringContaining(
      ': server.admin: lets every client with auth_token edit this configuration; give',
    ),
  ])
  for (const admin of ['read', 'off']) expect(warningsOf(textOf({ server: { admin } }))).toEqual([])
})
