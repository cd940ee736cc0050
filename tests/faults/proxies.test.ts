import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { refusedUrl } from '../support/dead-ends.ts'
import {
  runAiload,
  spawnAiload,
  startGateway,
  temporaryDirectory,
  type GatewayProcess,
} from '../support/gateway-process.ts'
import { statusOf, upstreamStatus } from '../support/gateway-status.ts'
import type { TestProxy } from '../support/proxies.ts'
import { httpProxy, opened, socksProxy, upstreamThat } from '../support/proxy-bed.ts'
import { answer } from '../support/scripted-scenes.ts'
import { startScriptedUpstream } from '../support/scripted-upstream.ts'
import { ownAuthority, signedCertificate, testCertificate } from '../support/test-certificate.ts'

/* Proxies on real sockets in front of a gateway that is a process of its own. */

const settings = { affinity: 'off', strategy: 'in_order', connect_timeout: 1, queue_timeout: 0 }
const LOGIN = 'its-user:its-password'

/** Under a name that only the proxies of the tests know. */
const modelAt = ({ port }: { port: number }, more: object = {}) => ({
  base_url: `${'tls' in more ? 'https' : 'http'}://api.test:${port}/v1`,
  api_key: 'k',
  model: 'm',
  ...more,
})

const bodyOf = async (asked: Promise<Response>) => {
  const response = await asked
  return {
    status: response.status,
    text: await response.text(),
    name: response.headers.get('x-aiload-upstream'),
  }
}

/** Nothing that an operator or a client reads has a login in it. */
async function expectNoLogin(gateway: GatewayProcess, ...texts: readonly string[]): Promise<void> {
  const status = JSON.stringify(await statusOf(gateway))
  const metrics = await (await gateway.fetch('/metrics')).text()
  const basic = Buffer.from(LOGIN).toString('base64')
  for (const text of [gateway.stdout, gateway.stderr, status, metrics, ...texts]) {
    expect(text).not.toMatch(/its-user|its-password/)
    expect(text).not.toContain(basic)
  }
}

describe.each([
  { kind: 'http', start: httpProxy },
  { kind: 'socks5h', start: socksProxy },
] as const)('through a proxy of $kind', ({ kind, start }) => {
  const urlOf = (proxy: TestProxy, login?: string) => proxy.url(login).replace(/^\w+/, kind)

  test('a request goes with a login out of variables, to the name as it stands; the start says so, without it', async () => {
    const proxy = await start({ login: LOGIN })
    const upstream = await upstreamThat()
    const env = { WHO: 'its-user', WITH: 'its-password' }
    const models = [modelAt(upstream, { proxy: urlOf(proxy, '${WHO}:${WITH}'), name: 'far' })]
    const gateway = await startGateway({ models, settings, server: { mode: 'debug' } }, { env })
    expect(await bodyOf(gateway.chat())).toMatchObject({ status: 200, name: 'far' })
    expect(await bodyOf(gateway.chat())).toMatchObject({ status: 200 })
    expect(proxy.asked).toEqual([`api.test:${upstream.port}`])
    expect(upstream.requests.map(({ headers }) => headers['proxy-authorization'])).toEqual([
      undefined,
      undefined,
    ])
    expect(gateway.stdout).toContain(`through ${kind}://127.0.0.1:${proxy.port} (models[].proxy): far`)
    expect(await upstreamStatus(gateway, 'far')).toMatchObject({ proxy: `${kind}://127.0.0.1:${proxy.port}` })
    await expectNoLogin(gateway)
  })

  test('TLS is spoken with the upstream, and its certificate checked, by an authority of its own', async () => {
    const proxy = await start()
    const upstream = await upstreamThat({ secure: signedCertificate })
    const directory = temporaryDirectory()
    writeFileSync(join(directory, 'own.pem'), `an own authority\n${ownAuthority}`)
    const config = {
      models: [
        modelAt(upstream, { tls: {}, name: 'unknown' }),
        modelAt(upstream, { tls: { ca: testCertificate.cert }, name: 'wrong' }),
        modelAt(upstream, { tls: { ca: '../../own.pem' }, name: 'right', api_key: 'r' }),
      ],
      settings: { ...settings, proxy: urlOf(proxy) },
    }
    const gateway = await startGateway(config, { directory })
    for (const name of ['unknown', 'wrong']) {
      const { status, text } = await bodyOf(gateway.chat({ model: name }))
      expect([status, text]).toEqual([
        502,
        expect.stringContaining('TLS certificate of an unknown authority'),
      ])
      expect(await upstreamStatus(gateway, name)).toMatchObject({ blocked_by: 'upstream' })
    }
    expect(upstream.requests).toHaveLength(0)
    expect(await bodyOf(gateway.chat({ model: 'right' }))).toMatchObject({ status: 200 })
    expect(upstream.requests.map(({ headers }) => headers['authorization'])).toEqual(['Bearer r'])
    expect(new Set(proxy.asked)).toEqual(new Set([`api.test:${upstream.port}`]))
  })
})

test('lists of models, and check --live, go the same way', async () => {
  const proxy = await httpProxy({ login: LOGIN })
  const list = answer({ body: '{"data":[{"id":"listed"}]}' })
  const upstream = await opened(startScriptedUpstream(list, { secure: signedCertificate }))
  const far = { base_url: `https://api.test:${upstream.port}/v1`, api_key: 'k', models: '*' }
  const models = [{ ...far, proxy: proxy.url(LOGIN), tls: { ca: ownAuthority } }]
  const gateway = await startGateway({ models, settings })
  const { models: served } = await statusOf(gateway)
  expect(served).toContain('listed')
  const args = ['check', '--live', '--config', gateway.configFile]
  const checked = await runAiload(args, { directory: gateway.directory })
  expect(checked).toMatchObject({ code: 0, stdout: expect.stringContaining('1 of 1 upstream could serve') })
  expect(new Set(proxy.asked)).toEqual(new Set([`api.test:${upstream.port}`]))
  await expectNoLogin(gateway, checked.stdout, checked.stderr)
})

test('socks5 has names looked up here', async () => {
  const proxy = await socksProxy()
  const upstream = await upstreamThat()
  const base = `http://localhost:${upstream.port}/v1`
  const models = [
    { base_url: base, model: 'm', name: 'here', proxy: proxy.url() },
    { base_url: base, model: 'n', name: 'there', proxy: proxy.url().replace('socks5', 'socks5h') },
    { base_url: 'http://no-such-host.invalid/v1', model: 'o', name: 'nowhere', proxy: proxy.url() },
  ]
  const gateway = await startGateway({ models, settings })
  expect(await bodyOf(gateway.chat({ model: 'here' }))).toMatchObject({ status: 200 })
  expect(await bodyOf(gateway.chat({ model: 'there' }))).toMatchObject({ status: 200 })
  expect(proxy.asked).toEqual([`127.0.0.1:${upstream.port}`, `localhost:${upstream.port}`])
  const { text } = await bodyOf(gateway.chat({ model: 'nowhere' }))
  expect(text).toContain('host name not found')
  expect(await upstreamStatus(gateway, 'nowhere')).toMatchObject({ blocked_by: 'upstream' })
})

test('a proxy may speak TLS itself, and its certificate is checked even where the upstream’s is not', async () => {
  const proxy = await httpProxy({ isSecure: true, login: LOGIN })
  const upstream = await upstreamThat({ secure: signedCertificate })
  const url = proxy.url(LOGIN).replace('127.0.0.1', 'localhost')
  const ca = ownAuthority + testCertificate.cert
  const gateway = await startGateway({
    models: [
      modelAt(upstream, { proxy: url, tls: { ca }, name: 'both' }),
      modelAt(upstream, { proxy: url, tls: { insecure: true }, name: 'careless' }),
    ],
    settings,
  })
  expect(await bodyOf(gateway.chat({ model: 'both' }))).toMatchObject({ status: 200 })
  const { status, text } = await bodyOf(gateway.chat({ model: 'careless' }))
  expect([status, text]).toEqual([
    502,
    expect.stringContaining('no connection to the proxy: TLS certificate is self-signed'),
  ])
  expect(gateway.stdout).toContain('models[1].tls.insecure')
  await expectNoLogin(gateway, text)
})

test('a certificate is not checked where the configuration says so, which is a warning at check and at start', async () => {
  const upstream = await upstreamThat({ secure: true })
  const models = [
    { base_url: `${upstream.url}/v1`, model: 'm', name: 'strict' },
    { base_url: `${upstream.url}/v1`, model: 'n', name: 'loose', tls: { insecure: true } },
  ]
  const gateway = await startGateway({ models, settings })
  expect(await bodyOf(gateway.chat({ model: 'loose' }))).toMatchObject({ status: 200 })
  // What the loose one has agreed on with the upstream is of no use to the strict one.
  expect(await bodyOf(gateway.chat({ model: 'strict' }))).toMatchObject({ status: 502 })
  expect(gateway.stdout).toMatch(/models\[1\]\.tls\.insecure: lets anybody/)
  const checked = await runAiload(['check', '--config', gateway.configFile], { directory: gateway.directory })
  expect(checked).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/warning: .*models\[1\]\.tls\.insecure/),
  })
})

test.each([
  {
    what: 'is not there',
    of: async () => refusedUrl(),
    reason: 'no connection to the proxy: connection refused',
  },
  {
    what: 'has no name',
    of: async () => 'http://no-such-proxy.invalid:3128',
    reason: 'no connection to the proxy: host name not found',
  },
  {
    what: 'wants a login',
    of: async () => (await httpProxy({ login: LOGIN })).url(),
    reason: 'the proxy wants a user name and a password (407)',
  },
  {
    what: 'wants another login',
    of: async () => (await httpProxy({ login: 'a:b' })).url(LOGIN),
    reason: 'the proxy refused the user name and the password (407)',
  },
  {
    what: 'refuses oddly',
    of: async () => (await httpProxy({ refuses: 400 })).url(),
    reason: 'the proxy refused (400)',
  },
  {
    what: 'speaks something else',
    of: async () => (await httpProxy({ says: 'SSH-2.0-OpenSSH_9.2\r\n' })).url(),
    reason: 'no connection to the proxy: sent no valid HTTP',
  },
  {
    what: 'closes',
    of: async () => (await httpProxy({ says: '' })).url(),
    reason: 'no connection to the proxy: connection closed',
  },
  {
    what: 'is silent',
    of: async () => (await httpProxy({ isSilent: true })).url(),
    reason: 'no answer from the proxy within 1 s',
  },
  {
    what: 'of SOCKS is not there',
    of: async () => refusedUrl().replace('http', 'socks5h'),
    reason: 'no connection to the proxy: connection refused',
  },
  {
    what: 'of SOCKS wants a login',
    of: async () => (await socksProxy({ login: LOGIN })).url(),
    reason: 'the proxy wants a user name and a password',
  },
  {
    what: 'of SOCKS wants another login',
    of: async () => (await socksProxy({ login: 'a:b' })).url(LOGIN),
    reason: 'the proxy refused the user name and the password',
  },
  {
    what: 'of SOCKS speaks something else',
    of: async () => (await socksProxy({ says: 'HTTP/1.1 400 Bad Request\r\n\r\n' })).url(),
    reason: 'the proxy speaks no SOCKS 5',
  },
  {
    what: 'of SOCKS is silent',
    of: async () => (await socksProxy({ isSilent: true })).url(),
    reason: 'no answer from the proxy within 1 s',
  },
])('a proxy that $what is told as such, and rests with all that is behind it', async ({ of, reason }) => {
  const proxy = (await of()).replace(/^socks5\b/, 'socks5h')
  const upstream = await upstreamThat()
  const models = [
    modelAt(upstream, { proxy, name: 'asked' }),
    { base_url: 'http://other.test/v1', model: 'm', proxy, name: 'beside' },
  ]
  const gateway = await startGateway({ models, settings })
  const { status, text } = await bodyOf(gateway.chat({ model: 'asked' }))
  expect([status, text]).toEqual([502, expect.stringContaining(`: ${reason}.`)])
  await gateway.printed(new RegExp(`"reason":"${reason.replaceAll(/[()]/g, String.raw`\$&`)}"`))
  expect(await upstreamStatus(gateway, 'asked')).toMatchObject({ available: false, last_error: { reason } })
  expect(await upstreamStatus(gateway, 'beside')).toMatchObject({
    available: false,
    blocked_by: 'proxy',
    why: expect.stringContaining('its proxy fails'),
    attempts: 0,
  })
  expect(upstream.requests).toHaveLength(0)
  await expectNoLogin(gateway, text)
})

test.each([
  { start: httpProxy, refuses: 502, reason: 'the proxy cannot reach the host (502)' },
  { start: httpProxy, refuses: 403, reason: 'the proxy refused the host (403)' },
  { start: socksProxy, refuses: 4, reason: 'the proxy cannot reach the host' },
  { start: socksProxy, refuses: 2, reason: 'the proxy refused the host' },
])('$reason: that is the matter of one upstream', async ({ start, refuses, reason }) => {
  const proxy = (await start({ refuses })).url().replace('socks5', 'socks5h')
  const models = [
    { base_url: 'http://a.test/v1', model: 'm', proxy, name: 'asked' },
    { base_url: 'http://b.test/v1', model: 'm', proxy, name: 'beside' },
  ]
  const gateway = await startGateway({ models, settings })
  const { status, text } = await bodyOf(gateway.chat({ model: 'asked' }))
  expect([status, text]).toEqual([502, expect.stringContaining(`: ${reason}.`)])
  expect(await upstreamStatus(gateway, 'asked')).toMatchObject({ blocked_by: 'upstream' })
  expect(await upstreamStatus(gateway, 'beside')).toMatchObject({ available: true })
})

test('behind a silent proxy one is asked, then who goes straight; nobody waits for it a second time', async () => {
  const proxy = await httpProxy({ isSilent: true })
  const upstream = await upstreamThat()
  const behind = ['a', 'b', 'c', 'd'].map((name) =>
    modelAt(upstream, { proxy: proxy.url(), name, base_url: `http://${name}.test/v1` }),
  )
  const straight = {
    base_url: `${upstream.url}/v1`,
    model: 'm',
    name: 'straight',
    proxy: 'direct',
    priority: 1,
  }
  const gateway = await startGateway({ models: [...behind, straight], settings })
  const first = await gateway.chat()
  expect([first.status, first.headers.get('x-aiload-upstream')]).toEqual([200, 'straight'])
  expect(first.headers.get('x-aiload-attempts')).toBe('2')
  expect(proxy.accepted).toBe(1)
})

test('where all are behind a proxy that fails, all are asked: a guess refuses nothing', async () => {
  const down = await httpProxy({ refuses: 418 })
  const upstream = await upstreamThat()
  const models = ['a', 'b'].map((name) =>
    modelAt(upstream, { proxy: down.url(), name, base_url: `http://${name}.test:${upstream.port}/v1` }),
  )
  const gateway = await startGateway({ models, settings })
  const failed = await gateway.chat()
  expect([failed.status, failed.headers.get('x-aiload-attempts')]).toEqual([502, '2'])
  expect(down.asked).toHaveLength(2)
  const up = await httpProxy()
  gateway.writeConfig({ models: models.map((one) => ({ ...one, proxy: up.url() })), settings })
  await gateway.printed(/the configuration was reloaded/)
  expect(await bodyOf(gateway.chat())).toMatchObject({ status: 200 })
  expect(up.asked).toHaveLength(1)
})

test('an upstream with another proxy after a reload has connections of its own', async () => {
  const [one, other] = [await httpProxy(), await socksProxy()]
  const upstream = await upstreamThat()
  const modelsBehind = (proxy: string) => ({ models: [modelAt(upstream, { proxy })], settings })
  const gateway = await startGateway(modelsBehind(one.url()))
  await bodyOf(gateway.chat())
  gateway.writeConfig(modelsBehind(other.url().replace('socks5', 'socks5h')))
  await gateway.printed(/the configuration was reloaded/)
  await bodyOf(gateway.chat())
  expect([one.accepted, other.accepted, upstream.accepted]).toEqual([1, 1, 2])
})

test('certificates are read again at a reload, which is refused where they are gone', async () => {
  const upstream = await upstreamThat({ secure: signedCertificate })
  const directory = temporaryDirectory()
  const file = join(directory, 'own.pem')
  writeFileSync(file, testCertificate.cert)
  const models = [{ base_url: `https://localhost:${upstream.port}/v1`, model: 'm', tls: { ca: file } }]
  const gateway = await startGateway({ models, settings }, { directory })
  expect(await bodyOf(gateway.chat())).toMatchObject({ status: 502 })
  writeFileSync(file, ownAuthority)
  gateway.signal('SIGHUP')
  await gateway.printed(/the configuration was reloaded/)
  expect(await bodyOf(gateway.chat())).toMatchObject({ status: 200 })
  rmSync(file)
  gateway.signal('SIGHUP')
  await gateway.printed(/models\[0\]\.tls\.ca: names a file that is not there/)
  expect(await bodyOf(gateway.chat())).toMatchObject({ status: 200 })
})

test('the environment names the proxy where nothing else does, and never that of this machine', async () => {
  const proxy = await httpProxy({ login: LOGIN })
  const upstream = await upstreamThat()
  const env = { HTTP_PROXY: proxy.url(LOGIN), no_proxy: 'left-out.test' }
  const models = [
    modelAt(upstream, { name: 'far' }),
    { base_url: `${upstream.url}/v1`, model: 'm', name: 'near' },
    modelAt(upstream, { base_url: 'http://api.left-out.test/v1', name: 'left-out' }),
  ]
  const gateway = await startGateway({ models, settings }, { env })
  expect(await bodyOf(gateway.chat({ model: 'far' }))).toMatchObject({ status: 200 })
  expect(proxy.asked).toEqual([`api.test:${upstream.port}`])
  expect(await bodyOf(gateway.chat({ model: 'near' }))).toMatchObject({ status: 200 })
  const { text } = await bodyOf(gateway.chat({ model: 'left-out' }))
  expect(text).toContain('host name')
  expect(proxy.asked).toHaveLength(1)
  expect(gateway.stdout).toContain(`through http://127.0.0.1:${proxy.port} (HTTP_PROXY): far`)
  expect(gateway.stdout).toContain('without a proxy: near, left-out')
  await expectNoLogin(gateway, text)
})

test('vendors whose keys are in the environment are reached through its proxy too', async () => {
  const directory = temporaryDirectory()
  const env = { GROQ_API_KEY: 'gsk-of-the-test', HTTPS_PROXY: `http://${LOGIN}@127.0.0.1:9999` }
  const gateway = spawnAiload(['start', '--port', '0'], { directory, env })
  await gateway.printed(/through http:\/\/127\.0\.0\.1:9999 \(HTTPS_PROXY\): .*api\.groq\.com/)
  expect(gateway.stdout).not.toMatch(/its-user|its-password/)
  const bad = { ...env, HTTPS_PROXY: `ftp://${LOGIN}@p.example` }
  const refused = await runAiload(['start', '--port', '0'], { directory, env: bad })
  expect(refused).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/groq: would go .*HTTPS_PROXY in the environment/),
  })
  expect(refused.stderr).not.toMatch(/its-user|its-password/)
})

test('a proxy that can’t be read, and certificates that are not there, are problems with their place', async () => {
  const directory = temporaryDirectory()
  const file = join(directory, 'c.json')
  writeFileSync(join(directory, 'empty.pem'), 'no certificate')
  const model = (tls?: object) => ({ base_url: 'https://a.example/v1', model: 'm', ...(tls && { tls }) })
  const models = [
    model({ ca: 'missing.pem' }),
    model({ ca: 'empty.pem' }),
    model({ ca: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----' }),
    model({ ca: '.' }),
  ]
  writeFileSync(file, JSON.stringify({ auth_token: 't', models }))
  const checked = await runAiload(['check', '--config', file], { directory })
  expect(checked.code).toBe(1)
  expect(checked.stdout).toMatch(/models\[0\]\.tls\.ca: names a file that is not there; write the path/)
  expect(checked.stdout).toMatch(/models\[1\]\.tls\.ca: holds no certificate/)
  expect(checked.stdout).toMatch(/models\[2\]\.tls\.ca: holds no certificate/)
  expect(checked.stdout).toMatch(/models\[3\]\.tls\.ca: names a file that cannot be read \(EISDIR\)/)

  writeFileSync(file, JSON.stringify({ auth_token: 't', models: [model()] }))
  const env = { HTTPS_PROXY: `ftp://${LOGIN}@p.example` }
  const started = await runAiload(['start', '--config', file], { directory, env })
  expect(started.code).toBe(1)
  expect(started.stderr).toMatch(
    /models\[0\]\.base_url: .*HTTPS_PROXY in the environment, which has a scheme/,
  )
  expect(started.stderr + started.stdout).not.toMatch(/its-user|its-password/)
})
