import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { refusedUrl } from '../support/dead-ends.ts'
import { httpProxy, socksProxy, upstreamThat } from '../support/proxy-bed.ts'
import { ownAuthority, signedCertificate, strangeCertificate } from '../support/test-certificate.ts'
import {
  bun,
  deno,
  node,
  startWorkers,
  temporaryDirectory,
  TOKEN,
  type More,
  type Runtime,
} from './runtimes.ts'

const LOGIN = 'its-user:its-password'
const settings = { affinity: 'off', queue_timeout: 0, connect_timeout: 1, timeout: 5 }

interface Shown {
  readonly name: string
  readonly available: boolean
  readonly blocked_by: string | null
}

async function started(runtime: Runtime, models: object[], more: More = {}) {
  const directory = temporaryDirectory()
  writeFileSync(join(directory, 'own.pem'), ownAuthority)
  const running = await runtime.start({ models, settings }, { directory, ...more })
  onTestFinished(() => running.stop())
  const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' }
  return {
    output: running.output,
    async ask(model: string) {
      const body = JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello' }] })
      const response = await fetch(`${running.url}/v1/chat/completions`, { method: 'POST', headers, body })
      return { status: response.status, text: await response.text() }
    },
    async shown(name: string) {
      const response = await fetch(`${running.url}/admin/status`, { headers })
      const text = await response.text()
      expect(text + running.output()).not.toMatch(/its-user|its-password/)
      const { upstreams } = JSON.parse(text) as { upstreams: Shown[] }
      return upstreams.find((one) => one.name === name)
    },
  }
}

const refusal = (runtime: Runtime, models: object[], more?: More): Promise<string> =>
  started(runtime, models, more).then(
    () => expect.fail('it started'),
    (error: unknown) => String(error),
  )

const plain = (port: number, more: object): object => ({
  base_url: `http://api.test:${port}/v1`,
  api_key: 'k',
  model: 'm',
  ...more,
})
const secure = (port: number, more: object): object =>
  plain(port, { base_url: `https://api.test:${port}/v1`, ...more })

describe.each([node('20'), node('24'), bun, deno])('$name', (runtime) => {
  const isBun = runtime === bun
  const isDeno = runtime === deno

  test('goes through an HTTP proxy with a login, and checks the certificate behind it by an authority of its own', async () => {
    const proxy = await httpProxy({ login: LOGIN })
    const [open, tls, strange] = [
      await upstreamThat(),
      await upstreamThat({ secure: signedCertificate }),
      await upstreamThat({ secure: strangeCertificate }),
    ]
    const through = { proxy: proxy.url(LOGIN) }
    const gateway = await started(runtime, [
      plain(open.port, { ...through, name: 'open' }),
      secure(tls.port, { ...through, name: 'own', tls: { ca: 'own.pem' } }),
      secure(tls.port, { ...through, name: 'unknown', api_key: 'u' }),
      secure(strange.port, { ...through, name: 'wrong', tls: { ca: 'own.pem' } }),
    ])
    expect(gateway.output()).toContain(`through http://127.0.0.1:${proxy.port} (models[].proxy): open, own`)
    expect(await gateway.ask('open')).toMatchObject({ status: 200 })
    expect(await gateway.ask('own')).toMatchObject({ status: 200 })
    expect(proxy.asked).toEqual([`api.test:${open.port}`, `api.test:${tls.port}`])
    for (const name of ['unknown', 'wrong']) {
      const { status, text } = await gateway.ask(name)
      expect([status, text]).toEqual([502, expect.stringContaining('TLS certificate')])
    }
    expect([tls.requests.length, strange.requests.length]).toEqual([1, 0])
    expect(await gateway.shown('own')).toMatchObject({ available: true })
  })

  test('trusts the usual authorities besides, where it is given one', async () => {
    const tls = await upstreamThat({ secure: signedCertificate })
    const env = { NODE_EXTRA_CA_CERTS: join(temporaryDirectory(), 'extra.pem') }
    writeFileSync(env.NODE_EXTRA_CA_CERTS, ownAuthority)
    const url = `https://localhost:${tls.port}/v1`
    const models = [{ base_url: url, model: 'm', name: 'extra', tls: { ca: signedCertificate.cert } }]
    // Deno reads another variable, and adds to its own authorities by its own word.
    if (isDeno) return
    const gateway = await started(runtime, models, { env })
    expect(await gateway.ask('extra')).toMatchObject({ status: 200 })
  })

  test('goes through a SOCKS proxy with a login, or says at its start that it can’t', async () => {
    const proxy = await socksProxy({ login: LOGIN })
    const [open, tls] = [await upstreamThat(), await upstreamThat({ secure: signedCertificate })]
    const through = { proxy: proxy.url(LOGIN).replace('socks5', 'socks5h') }
    const models = [
      plain(open.port, { ...through, name: 'open' }),
      secure(tls.port, { ...through, name: 'own', tls: { ca: 'own.pem' } }),
    ]
    if (isBun) {
      const told = await refusal(runtime, models)
      expect(told).toMatch(/models\[0\]\.proxy: asks for a SOCKS proxy, which Bun does not have; /)
      expect(told).toMatch(/models\[1\]\.proxy: /)
      const env = { ALL_PROXY: proxy.url(LOGIN) }
      const toldOfVariable = await refusal(runtime, [plain(open.port, {})], { env })
      expect(toldOfVariable).toMatch(/models\[0\]\.base_url: asks for a SOCKS proxy \(ALL_PROXY\), which Bun/)
      expect(told).not.toMatch(/its-user|its-password/)
      return
    }
    const gateway = await started(runtime, models)
    expect(await gateway.ask('open')).toMatchObject({ status: 200 })
    expect(await gateway.ask('own')).toMatchObject({ status: 200 })
    expect(proxy.asked).toEqual([`api.test:${open.port}`, `api.test:${tls.port}`])
    expect(await gateway.shown('open')).toMatchObject({ available: true })
  })

  test('leaves certificates unchecked, or says at its start that it can’t', async () => {
    const strange = await upstreamThat({ secure: strangeCertificate })
    const url = `https://localhost:${strange.port}/v1`
    const models = [
      { base_url: url, model: 'm', name: 'strict' },
      { base_url: url, model: 'n', name: 'loose', tls: { insecure: true } },
    ]
    if (isDeno) {
      const told = await refusal(runtime, models)
      expect(told).toMatch(
        /models\[1\]\.tls\.insecure: asks for unchecked certificates, which Deno does not have; /,
      )
      return
    }
    const gateway = await started(runtime, models)
    expect(await gateway.ask('loose')).toMatchObject({ status: 200 })
    expect(await gateway.ask('strict')).toMatchObject({ status: 502 })
    expect(gateway.output()).toContain('models[1].tls.insecure')
  })

  test('obeys the environment as the gateway does on Node, and not as its fetch does', async () => {
    const proxy = await httpProxy()
    const open = await upstreamThat()
    const env = { HTTP_PROXY: proxy.url(), NO_PROXY: '10.0.0.0/8' }
    const models = [
      plain(open.port, { name: 'far' }),
      plain(open.port, { name: 'direct', proxy: 'direct' }),
      { base_url: `${open.url}/v1`, model: 'm', name: 'near' },
    ]
    const gateway = await started(runtime, models, { env })
    expect(await gateway.ask('far')).toMatchObject({ status: 200 })
    expect(await gateway.ask('near')).toMatchObject({ status: 200 })
    const { status, text } = await gateway.ask('direct')
    expect([status, text]).toEqual([502, expect.stringContaining('host name')])
    expect(proxy.asked).toEqual([`api.test:${open.port}`])
    expect(gateway.output()).toContain(`through http://127.0.0.1:${proxy.port} (HTTP_PROXY): far`)
  })

  test.each([
    {
      what: 'is not there',
      of: async () => refusedUrl(),
      reason: 'no connection to the proxy: connection refused',
    },
    {
      what: 'wants a login',
      of: async () => (await httpProxy({ login: LOGIN })).url(),
      reason: 'the proxy wants a',
    },
    {
      what: 'wants another login',
      of: async () => (await httpProxy({ login: LOGIN })).url('a:b'),
      reason: 'the proxy (?:wants|refused) .*user name and',
    },
  ])('tells that a proxy $what, and counts all behind it as one', async ({ of, reason }) => {
    const proxy = await of()
    const [open, tls] = [await upstreamThat(), await upstreamThat({ secure: signedCertificate })]
    const gateway = await started(runtime, [
      secure(tls.port, { proxy, name: 'asked', tls: { ca: 'own.pem' } }),
      secure(tls.port, { proxy, name: 'beside', api_key: 'l', tls: { ca: 'own.pem' } }),
      plain(open.port, { proxy, name: 'plain' }),
    ])
    for (const name of ['asked', 'plain']) {
      const { status, text } = await gateway.ask(name)
      expect([status, text]).toEqual([502, expect.stringMatching(new RegExp(reason))])
    }
    expect(await gateway.shown('beside')).toMatchObject({ available: false, blocked_by: 'proxy' })
    expect([open.requests.length, tls.requests.length]).toEqual([0, 0])
  })
})

test('workerd says of every proxy and certificate that it can’t, and does without those of the environment', async () => {
  const config = {
    models: [
      { base_url: 'https://a.test/v1', model: 'm', proxy: 'http://its-user:its-password@p.test' },
      { base_url: 'https://a.test/v1', model: 'n', proxy: 'socks5h://p.test' },
      { base_url: 'https://a.test/v1', model: 'o', tls: { ca: 'own.pem', insecure: true } },
      { base_url: 'https://a.test/v1', model: 'p', proxy: 'direct' },
    ],
    settings: { proxy: 'https://p.test' },
  }
  const texts = { AILOAD_CONFIG: JSON.stringify(config), AUTH_TOKEN: TOKEN, HTTPS_PROXY: 'http://p.test' }
  const [worker] = await startWorkers({}, { texts })
  onTestFinished(() => worker!.stop())
  const headers = { authorization: `Bearer ${TOKEN}` }
  const response = await fetch(`${worker!.url}/v1/models`, { headers })
  const { error } = (await response.json()) as { error: { message: string } }
  expect(response.status).toBe(503)
  for (const key of [
    'models[0].proxy',
    'models[1].proxy',
    'models[2].tls.ca',
    'models[2].tls.insecure',
    'settings.proxy',
  ])
    expect(error.message).toContain(`${key}: asks for `)
  expect(error.message).not.toMatch(/models\[3\]|its-user|its-password/)

  const { settings: _, ...direct } = { ...config, models: config.models.slice(3) }
  const [good] = await startWorkers({}, { texts: { ...texts, AILOAD_CONFIG: JSON.stringify(direct) } })
  onTestFinished(() => good!.stop())
  expect((await fetch(`${good!.url}/v1/models`, { headers })).status).toBe(200)
})
