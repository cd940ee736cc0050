import { describe, expect, test } from 'vitest'
import { upstreamsOf } from '../../src/config/upstreams.ts'
import { proxyText } from '../../src/pool/route.ts'
import { configOf, model, problemPaths, problemsOf, textOf, warningsOf } from './texts.ts'

/** The proxy of the first upstream, with its login, and who named it; undefined for none. */
function proxyOf(parts: object, env: Record<string, string> = {}, settings: object = {}) {
  const text = textOf({ models: [model({ ...parts })], settings })
  const proxy = upstreamsOf(configOf(text, env))[0]?.route?.proxy
  if (proxy === undefined) return undefined
  const { login, from } = proxy
  return `${proxyText(proxy)}${login ? ` ${login.user}:${login.password}` : ''} by ${from}`
}

describe('a proxy of the configuration', () => {
  test.each([
    { proxy: 'http://p.example:3128', is: 'http://p.example:3128' },
    { proxy: 'HTTP://P.example:3128/', is: 'http://p.example:3128' },
    { proxy: 'http://p.example', is: 'http://p.example:80' },
    { proxy: 'http://p.example:80', is: 'http://p.example:80' },
    { proxy: 'https://p.example', is: 'https://p.example:443' },
    { proxy: 'https://p.example:80', is: 'https://p.example:80' },
    { proxy: 'socks5://10.0.0.1', is: 'socks5://10.0.0.1:1080' },
    { proxy: ' socks5h://[::1]:7890 ', is: 'socks5h://[::1]:7890' },
    { proxy: 'http://me@p.example:1', is: 'http://p.example:1 me:' },
    { proxy: 'http://m%40e:p%3a%zz@p.example:1', is: 'http://p.example:1 m@e:p%3a%zz' },
    { proxy: 'http://m%40e:p%3a%25@p.example:1', is: 'http://p.example:1 m@e:p:%' },
  ])('$proxy is $is', ({ proxy, is }) => {
    expect(proxyOf({ proxy })).toBe(`${is} by models[].proxy`)
  })

  test('has its login out of variables, whatever is in that', () => {
    const env = { USER_OF_IT: 'me', SECRET: 'a@b/c:d?e#f g' }
    const proxy = 'socks5h://${USER_OF_IT}:${SECRET}@p.example:1080'
    expect(proxyOf({ proxy }, env)).toBe('socks5h://p.example:1080 me:a@b/c:d?e#f g by models[].proxy')
  })

  test('of settings is of all that say nothing else, this machine too, and "direct" is none', () => {
    const settings = { proxy: 'http://p.example:1' }
    expect(proxyOf({}, {}, settings)).toBe('http://p.example:1 by settings.proxy')
    expect(proxyOf({ base_url: 'http://127.0.0.1:8080/v1' }, { NO_PROXY: '*' }, settings)).toBe(
      'http://p.example:1 by settings.proxy',
    )
    expect(proxyOf({ proxy: 'direct' }, {}, settings)).toBeUndefined()
    expect(proxyOf({ proxy: 'http://q.example:2' }, {}, settings)).toBe(
      'http://q.example:2 by models[].proxy',
    )
    const env = { HTTPS_PROXY: 'http://e.example:3' }
    expect(proxyOf({}, env, { proxy: 'direct' })).toBeUndefined()
    expect(proxyOf({ proxy: 'direct' }, env)).toBeUndefined()
    expect(proxyOf({}, env)).toBe('http://e.example:3 by HTTPS_PROXY')
  })

  test.each([
    'p.example:3128',
    'ftp://p.example',
    'socks4://p.example',
    'http://',
    'http://p.example:0',
    'http://p.example:70000',
    'http://p.example/path',
    'http://p.example?sk-secret',
    'http://two words',
    'socks5://sk-secret@p.example',
    'socks5://:sk-secret@p.example',
    `socks5://me:${'sk-secret'.repeat(40)}@p.example`,
    'http://me:sk-secret\u0001@p.example',
    'sk-secret',
    '',
    7,
    false,
  ])('%j is none, and is not repeated', (proxy) => {
    for (const parts of [{ models: [model({ proxy })] }, { settings: { proxy } }]) {
      const [problem = '', ...others] = problemsOf(textOf(parts))
      expect(others).toEqual([])
      expect(problem).toMatch(/(?:models\[0\]|settings)\.proxy: .*; write http:\/\/, https:\/\/, socks5:\/\//)
      expect(problem).not.toMatch(/sk-secret|example\.|path|words|ftp|socks4/)
    }
  })
})

describe('a proxy of the environment', () => {
  const P = 'http://p.example:3128'

  test.each([
    { env: { https_proxy: P }, https: 'https_proxy' },
    { env: { HTTPS_PROXY: P }, https: 'HTTPS_PROXY' },
    { env: { http_proxy: P }, http: 'http_proxy' },
    { env: { HTTP_PROXY: P }, http: 'HTTP_PROXY' },
    { env: { all_proxy: P }, http: 'all_proxy', https: 'all_proxy' },
    { env: { ALL_PROXY: P, HTTPS_PROXY: P }, http: 'ALL_PROXY', https: 'HTTPS_PROXY' },
    { env: { https_proxy: P, HTTPS_PROXY: 'http://q.example' }, https: 'https_proxy' },
    { env: { https_proxy: ' ', HTTPS_PROXY: P }, https: 'HTTPS_PROXY' },
    { env: { HTTPS_PROXY: 'p.example:3128' }, https: 'HTTPS_PROXY' },
    { env: {} },
  ])('$env is for http $http, for https $https', ({ env, http, https }) => {
    const by = (name: string | undefined) => name && `${P} by ${name}`
    expect(proxyOf({ base_url: 'http://a.example/v1' }, env as never)).toBe(by(http))
    expect(proxyOf({ base_url: 'https://a.example/v1' }, env as never)).toBe(by(https))
  })

  test('may be of SOCKS, as desktops write it too', () => {
    expect(proxyOf({}, { ALL_PROXY: 'socks5h://p.example' })).toBe('socks5h://p.example:1080 by ALL_PROXY')
    expect(proxyOf({}, { ALL_PROXY: 'socks://p.example:1/' })).toBe('socks5://p.example:1 by ALL_PROXY')
  })

  test.each([
    'http://127.0.0.1:8080',
    'http://127.8.9.10/v1',
    'https://localhost:8080/v1',
    'http://LOCALHOST./v1',
    'http://ollama.localhost/v1',
    'http://[::1]:8080/v1',
    'http://[::ffff:127.0.0.1]/v1',
    'http://2130706433/v1',
  ])('is never for this machine: %s', (root) => {
    expect(proxyOf({ base_url: root }, { ALL_PROXY: P })).toBeUndefined()
  })

  test.each([
    { list: '*', out: ['https://a.example/v1', 'http://10.0.0.1/v1'], through: [] },
    { list: ' , *', out: ['https://a.example/v1'], through: [] },
    {
      list: 'a.example',
      out: ['https://a.example/v1', 'https://A.Example./v1', 'https://b.a.example/v1'],
      through: ['https://ba.example/v1', 'https://a.example.org/v1'],
    },
    {
      list: 'x.example,.a.example',
      out: ['https://b.a.example/v1', 'https://a.example/v1', 'https://x.example/v1'],
      through: ['https://ba.example/v1'],
    },
    { list: '*.a.example', out: ['https://b.a.example/v1'], through: ['https://ba.example/v1'] },
    {
      list: 'a.example:8443 b.example:443',
      out: ['https://a.example:8443/v1', 'https://b.example/v1'],
      through: ['https://a.example/v1', 'http://b.example/v1'],
    },
    {
      list: '10.0.0.0/8,192.168.1.7,fd00::/8',
      out: ['http://10.1.2.3/v1', 'http://192.168.1.7:8009/v1', 'http://[fd00::1]/v1'],
      through: ['http://11.0.0.1/v1', 'http://192.168.1.8/v1', 'http://[fe80::1]/v1', 'http://10.example/v1'],
    },
    {
      list: '10.0.0.1:8009,[fd00::1]:8009,[fd00::2]',
      out: ['http://10.0.0.1:8009/v1', 'http://[fd00::1]:8009/v1', 'http://[fd00::2]:8007/v1'],
      through: ['http://10.0.0.1/v1', 'http://[fd00::1]/v1'],
    },
    { list: '0.1', out: [], through: ['http://10.0.0.1/v1'] },
    { list: '', out: [], through: ['https://a.example/v1'] },
  ])('NO_PROXY "$list" leaves out $out, and not $through', ({ list, out, through }) => {
    for (const name of ['NO_PROXY', 'no_proxy']) {
      const env = { ALL_PROXY: P, [name]: list }
      for (const root of out) expect([root, proxyOf({ base_url: root }, env)]).toEqual([root, undefined])
      for (const root of through) expect([root, proxyOf({ base_url: root }, env)]).not.toContain(undefined)
    }
  })

  test('that is none keeps the gateway from starting, where somebody would go through it', () => {
    const env = { HTTPS_PROXY: 'ftp://me:sk-secret@p.example' }
    const models = [
      model(),
      model({ base_url: 'http://b.example/v1' }),
      model({ proxy: 'direct', model: 'n' }),
    ]
    expect(problemPaths(textOf({ models }), env)).toEqual(['models[0].base_url'])
    const [line] = problemsOf(textOf({ models }), env)
    expect(line).toMatch(/HTTPS_PROXY in the environment, which has a scheme .*"proxy": "direct"/)
    expect(line).not.toMatch(/secret|p\.example/)
  })
})

test('an upstream keeps its identity behind another proxy, which has a scope of its own without its login', () => {
  const scopesWith = (proxy: string) =>
    upstreamsOf(configOf(textOf({ models: [model({ proxy })] })))[0]!.claims.chat.draws
  const [direct, one, other] = ['direct', 'http://me:sk-secret@p.example', 'http://p.example'].map(scopesWith)
  expect(direct!.map(({ role }) => role)).not.toContain('proxy')
  expect(new Set([direct, one, other].map((draws) => draws![0]!.scope)).size).toBe(1)
  const ofProxy = [one, other].map((draws) => draws!.find(({ role }) => role === 'proxy')!.scope)
  expect(new Set(ofProxy).size).toBe(2)
  expect(ofProxy.join()).not.toMatch(/secret|example/)
})

test('routes differ by proxy, login and certificates, and not by upstream', () => {
  const keyOf = (parts: Readonly<Record<string, unknown>>) =>
    upstreamsOf(configOf(textOf({ models: [model(parts)] })))[0]?.route?.key
  const P = 'http://p.example'
  const keys = [
    { proxy: P },
    { proxy: 'http://me:a@p.example' },
    { proxy: 'http://me:b@p.example' },
    { proxy: P, tls: { ca: 'x' } },
    { tls: { ca: 'x' } },
    { tls: { ca: 'y' } },
    { tls: { insecure: true } },
  ].map(keyOf)
  expect(new Set(keys).size).toBe(keys.length)
  expect(keyOf({ proxy: P, model: 'n', base_url: 'https://b.example/v1' })).toBe(keys[0])
  expect(keyOf({ tls: { insecure: false } })).toBeUndefined()
})

test('certificates that are not checked are a warning, other mistakes in tls are told', () => {
  const [warning = ''] = warningsOf(textOf({ models: [model({ tls: { insecure: true } })] }))
  expect(warning).toMatch(/models\[0\]\.tls\.insecure: lets anybody on the way read the key/)
  expect(problemPaths(textOf({ models: [model({ tls: { ca: ' ' } })] }))).toEqual(['models[0].tls.ca'])
  expect(problemPaths(textOf({ models: [model({ tls: { insecure: 1 } })] }))).toEqual([
    'models[0].tls.insecure',
  ])
  expect(problemPaths(textOf({ models: [model({ tls: 'x' })] }))).toEqual(['models[0].tls'])
  expect(warningsOf(textOf({ models: [model({ tls: { cert: 'x' } })] }))[0]).toContain('models[0].tls.cert')
})

test('what is on this machine and would go through a proxy elsewhere is a warning', () => {
  const near = model({ base_url: 'http://localhost:11434/v1' })
  const warned = (settings: object, parts: object = {}) =>
    warningsOf(textOf({ models: [{ ...near, ...parts }], settings })).filter((line) =>
      line.includes('settings.proxy'),
    )
  expect(warned({ proxy: 'http://p.example' })[0]).toMatch(/models\[0\]\.base_url: is on this machine/)
  expect(warned({ proxy: 'http://127.0.0.1:7890' })).toEqual([])
  expect(warned({ proxy: 'http://[::1]:7890' })).toEqual([])
  expect(warned({ proxy: 'http://p.example' }, { proxy: 'direct' })).toEqual([])
  expect(warned({})).toEqual([])
})

test('a proxy of the environment that can’t be read keeps nobody from starting who takes no requests', () => {
  const env = { ALL_PROXY: 'ftp://p.example' }
  const models = [model({ enabled: false }), model({ proxy: 'direct', model: 'n' })]
  expect(problemsOf(textOf({ models }), env)).toEqual([])
})
