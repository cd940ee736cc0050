import { expect, test } from 'vitest'
import { configOf, model, problemsOf, textOf, warningsOf, window } from './texts.ts'

const withKey = (key: unknown) => textOf({ models: [model({ api_key: key })] })
const keysOf = (key: unknown, env: Record<string, string>) => configOf(withKey(key), env).models[0]?.apiKeys

test('a reference is replaced in any string, in the middle of it and in lists', () => {
  const env = { HOST: 'h.example', KEY: 'k', TEAM: 't', TOKEN: 'tok' }
  const entry = model({
    base_url: 'https://${HOST}/v1',
    api_key: ['${KEY}1', '${KEY}${KEY}'],
    headers: { a: 'x-${TEAM}' },
  })
  const config = configOf(textOf({ auth_token: '${TOKEN}', models: [entry] }), env)
  expect(config.authTokens).toEqual(['tok'])
  expect(config.models[0]).toMatchObject({
    root: 'https://h.example/v1',
    apiKeys: ['k1', 'kk'],
    headers: { a: 'x-t' },
  })
})

test.each([
  { written: '$${KEY}', read: '${KEY}', because: 'the doubled dollar is the escape' },
  { written: '$$${KEY}', read: '$${KEY}', because: 'a dollar before the escape is a dollar' },
  { written: '$KEY', read: '$KEY', because: 'only braces make a reference' },
  { written: 'a$', read: 'a$', because: 'a dollar alone is a dollar' },
])('$written is $read, since $because', ({ written, read }) => {
  expect(keysOf(written, { KEY: 'v' })).toEqual([read])
})

test('what a variable holds is not split, not read again and not taken for a replacement pattern', () => {
  expect(keysOf('${KEY}', { KEY: 'a,b c' })).toEqual(['a,b c'])
  expect(keysOf('${KEY}', { KEY: '${OTHER}', OTHER: 'x' })).toEqual(['${OTHER}'])
  expect(keysOf('<${KEY}', { KEY: "$&$1$'" })).toEqual(["<$&$1$'"])
})

test('white space around a variable, such as the line end of a secret file, is trimmed off keys and the token', () => {
  const config = configOf(textOf({ auth_token: '${T}', models: [model({ api_key: '${K}' })] }), {
    T: 't\n',
    K: ' k\r\n',
  })
  expect([config.authTokens, config.models[0]?.apiKeys]).toEqual([['t'], ['k']])
})

test('keys of objects are left alone', () => {
  const text = textOf({ quotas: { '${Q}': {} }, models: [model({ quota: 'x' })] })
  expect(problemsOf(text, { Q: 'x' })).toEqual([
    expect.stringContaining('define it under quotas, which has "${Q}"'),
  ])
})

test('a missing variable is one problem at the path of its key, and nothing else about that key', () => {
  const text = textOf({ models: [model({ base_url: '${NOT_THERE}', api_key: ['a', '${GONE}'] })] })
  expect(problemsOf(text)).toEqual([
    'c.json:7:9: models[0].api_key[1]: the environment variable GONE is not set; set it, or write the value here',
    'c.json:9:19: models[0].base_url: the environment variable NOT_THERE is not set; set it, or write the value here',
  ])
})

test('names of Object.prototype are no variables', () => {
  expect(problemsOf(withKey('${constructor}'))).toEqual([expect.stringContaining('constructor is not set')])
})

test.each(['${}', '${A-B}', '${A:-b}', '${A', '${ A }'])(
  '%s is no reference and no literal either',
  (written) => {
    expect(problemsOf(withKey(written), { A: 'x' })).toEqual([
      expect.stringContaining('a literal ${ is written $${'),
    ])
  },
)

test('a list of tokens may come from variables, none of which may be empty', () => {
  const text = textOf({ auth_token: ['${NEW}', '${OLD}', ' ${NEW}'] })
  expect(configOf(text, { NEW: 'n', OLD: 'o' }).authTokens).toEqual(['n', 'o'])
  expect(problemsOf(text, { NEW: 'n', OLD: '' })).toEqual([
    expect.stringContaining('auth_token[1]: is empty'),
  ])
  expect(problemsOf(text, { NEW: 'n' })).toEqual([expect.stringContaining('variable OLD is not set')])
})

test('a token of a list that is none is never told to be left empty, which a list may not have', () => {
  const text = textOf({ auth_token: ['sk-good', ' ', 5, 'a\u0001'] })
  expect(problemsOf(text)).toEqual([
    expect.stringMatching(/auth_token\[1\]: is only white space; write a token or take the item out$/),
    expect.stringMatching(/auth_token\[2\]: must be a string; write a token or take the item out$/),
    expect.stringMatching(/auth_token\[3\]: has a control .*; write a token or take the item out$/),
  ])
})

test('a variable that is set but empty is a problem in auth_token, since a token would be made over it', () => {
  for (const written of ['${T}', 'a${T}', ' ${T} '])
    expect(problemsOf(textOf({ auth_token: written }), { T: '' })).toEqual([
      expect.stringContaining('auth_token: its environment variable is empty'),
    ])
})

test('a token of white space from a variable is a problem', () => {
  expect(problemsOf(textOf({ auth_token: '${T}' }), { T: ' \n' })).toEqual([
    expect.stringContaining('auth_token: is only white space'),
  ])
})

test('an empty variable is a warning as a key, and a problem as an item of a list of keys', () => {
  expect(keysOf('${K}', { K: '' })).toEqual([''])
  expect(warningsOf(withKey('${K}'), { K: '' })).toEqual([
    expect.stringContaining('models[0].api_key: its environment variable is empty'),
  ])
  expect(problemsOf(withKey(['a', '${K}']), { K: '' })).toEqual([
    expect.stringContaining('models[0].api_key[1]: is empty'),
  ])
})

test('numbers and flags come out of variables, wherever they stand', () => {
  const text = textOf({
    models: [
      model({
        weight: '${W}',
        priority: '${P}',
        enabled: '${ON}',
        limits: { rpm: '${RPM}', windows: [{ requests: '${RPM}0', per: '5h' }] },
        timeout: '${T}',
      }),
    ],
    quotas: { account: { rpd: '1${RPM}', windows: [{ tokens: '${RPM}', per: '${PER}' }] } },
    server: { port: '${PORT}', metrics_public: '${ON}', cors: '${OFF}' },
    settings: { ip_hash: '${OFF}', drain_timeout: '${T}' },
  })
  const env = {
    W: '2.5',
    P: '-1',
    ON: 'true',
    OFF: 'False',
    RPM: '30',
    PER: 'week',
    T: '1.5',
    PORT: ' 2081\n',
  }
  expect(configOf(text, env)).toMatchObject({
    models: [
      {
        weight: 2.5,
        priority: -1,
        enabled: true,
        limits: { windows: [window({ limit: 30 }), window({ limit: 300, per: '5h' })] },
        timeoutMs: 1_500,
      },
    ],
    quotas: {
      account: {
        windows: [
          window({ limit: 130, per: 'day', resets: 'UTC' }),
          window({ limit: 30, counts: 'tokens', per: 'week', resets: 'UTC' }),
        ],
      },
    },
    server: { port: 2081, metricsPublic: true, cors: false },
    settings: { affinity: { kind: 'off' }, drainTimeoutMs: 1_500 },
  })
  expect(warningsOf(text, env)).toEqual([])
})

test('what wants a text stays one, whatever it looks like', () => {
  const text = textOf({ auth_token: '${A}', models: [model({ model: '${A}', api_key: ['${A}'] })] })
  const { authTokens, models } = configOf(text, { A: '123' })
  expect([authTokens, models[0]?.model, models[0]?.apiKeys]).toEqual([['123'], '123', ['123']])
})

test.each([
  ['server.port', { server: { port: '${V}' } }, 'hunter2', 'no number'],
  ['server.port', { server: { port: '${V}' } }, '', 'no number'],
  ['server.port', { server: { port: '${V}' } }, '0x50', 'no number'],
  ['server.port', { server: { port: '${V}' } }, 'Infinity', 'no number'],
  [
    'quotas.a.windows[1].tokens',
    {
      quotas: {
        a: {
          windows: [
            { requests: 1, per: '1s' },
            { tokens: '${V}', per: '1s' },
          ],
        },
      },
    },
    '10k hunter2',
    'no number',
  ],
  ['server.metrics_public', { server: { metrics_public: '${V}' } }, 'hunter2', 'neither true nor false'],
  ['settings.timeout', { settings: { timeout: '${V}' } }, '30s hunter2', 'no number'],
] as const)(
  '%s from %j with another text is one error that names the variable and not what it holds',
  (path, parts, held, what) => {
    const problems = problemsOf(textOf(parts), { V: held })
    expect(problems).toEqual([
      expect.stringContaining(
        `${path}: the environment variable V holds ${what}; set it, or write the value here`,
      ),
    ])
    expect(problems.join()).not.toContain('hunter2')
  },
)

test('a number from a variable has the same bounds, and one in quotes is still wrong', () => {
  const port = (written: string) => problemsOf(textOf({ server: { port: written } }), { V: '70000' })
  expect(port('${V}')).toEqual([
    expect.stringContaining('server.port: must be a whole number from 0 to 65535'),
  ])
  expect(port('2081')).toEqual([expect.stringContaining('server.port: must be a whole number')])
})
