import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createNodeTransport } from '../../../src/adapter/node/transport.ts'
import { createAbort } from '../../../src/lib/abort.ts'
import type { Proxy } from '../../../src/pool/route.ts'
import type { UpstreamRequest } from '../../../src/transport/transport.ts'
import { startHttpProxy, startSocksProxy, type TestProxy } from '../../support/proxies.ts'
import { answer } from '../../support/scripted-scenes.ts'
import { ownAuthority, signedCertificate } from '../../support/test-certificate.ts'
import { createBed, failureOf, textOf, until, type Bed, type Capabilities } from '../../transport/bed.ts'
import { transportContract } from '../../transport/contract.ts'
import { leavingContract } from '../../transport/leaving.ts'
import { streamsContract } from '../../transport/streams.ts'

const capabilities: Capabilities = {
  ownConnections: true,
  proxy: 'http',
  highestStatus: 999,
  noticesCutCoding: true,
  noticesResetOfUndelimitedBody: true,
  takesLengthOfBodiless: true,
}

describe('through a proxy', () => {
  let proxy: TestProxy
  beforeAll(async () => void (proxy = await startHttpProxy()))
  afterAll(() => proxy.close())

  transportContract(
    'the Node transport',
    () => {
      const transport = createNodeTransport()
      const way: Proxy = { kind: 'http', host: '127.0.0.1', port: proxy.port, from: 'settings.proxy' }
      const route = { key: 'a proxy', proxy: way }
      return {
        send: (request, signal) => transport({ ...request, route }, signal),
        close: () => transport.close(),
      }
    },
    capabilities,
  )
})

describe('TLS through a proxy', () => {
  let proxy: TestProxy
  beforeAll(async () => void (proxy = await startSocksProxy()))
  afterAll(() => proxy.close())

  const bed = createBed(() => {
    const transport = createNodeTransport()
    const way: Proxy = { kind: 'socks5h', host: '127.0.0.1', port: proxy.port, from: 'settings.proxy' }
    const route = { key: 'a proxy', proxy: way, trust: { ca: ownAuthority } }
    return {
      send: (request, signal) => transport({ ...request, route: request.route ?? route }, signal),
      close: () => transport.close(),
    }
  })
  const secure: Bed = {
    ...bed,
    start: (scene, options) => bed.start(scene, { secure: signedCertificate, ...options }),
  }
  streamsContract(secure, { ...capabilities, proxy: 'socks' })
  leavingContract(secure, { ...capabilities, proxy: 'socks' })

  test('shares neither connections nor TLS sessions with another route to the same upstream', async () => {
    const upstream = await secure.start(answer({ body: 'ok' }))
    const loose = { key: 'unchecked', trust: { insecure: true as const } }
    const strict = { key: 'checked', trust: {} }
    expect(textOf((await bed.send(upstream, { route: loose })).body)).toBe('ok')
    expect(await failureOf(bed.send(upstream, { route: strict }))).toBe('not-sent')
    expect(textOf((await bed.send(upstream)).body)).toBe('ok')
    expect(textOf((await bed.send(upstream, { route: loose })).body)).toBe('ok')
    expect(textOf((await bed.send(upstream)).body)).toBe('ok')
    expect(upstream.requests.map(({ connection }) => connection)).toEqual([1, 2, 1, 2])
  })

  test('is given up in time at each of its steps, and leaves no socket', async () => {
    const silent = await startSocksProxy({ isSilent: true })
    const whenConnected = (socket: Socket) => (socket.resume(), 'handled' as const)
    const upstream = await bed.start(answer(), { whenConnected })
    try {
      const way: Proxy = { kind: 'socks5h', host: '127.0.0.1', port: silent.port, from: 'settings.proxy' }
      const short = { connectTimeoutMs: 150 }
      expect(await failureOf(bed.send(upstream, { ...short, route: { key: 'silent', proxy: way } }))).toBe(
        'proxy',
      )
      const tls = { url: upstream.url.replace('http:', 'https:') }
      expect(await failureOf(bed.send(tls, short))).toBe('connect-timeout')
      await until(() => upstream.open === 0)
    } finally {
      await silent.close()
    }
  })
})

test('bytes that come right behind the answer of a proxy end the request, after one tunnel', async () => {
  const sockets: Socket[] = []
  const proxy = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => {}).once('data', () => socket.write('HTTP/1.1 200 OK\r\n\r\nhello'))
  })
  await once(proxy.listen(0, '127.0.0.1'), 'listening')
  const { port } = proxy.address() as AddressInfo
  const transport = createNodeTransport()
  const { signal, abort } = createAbort()
  const way: Proxy = { kind: 'http', host: '127.0.0.1', port, from: 'settings.proxy' }
  const request: UpstreamRequest = {
    method: 'GET',
    url: 'http://upstream.example/v1/models',
    headers: {},
    connectTimeoutMs: 5_000,
    timeoutMs: 5_000,
    gatherBytes: () => 0,
    route: { key: 'a proxy', proxy: way },
  }
  try {
    const ended = transport(request, signal).catch((error: unknown) => error)
    await until(() => sockets[0]?.destroyed === true)
    expect(sockets).toHaveLength(1)
    expect(await ended).toMatchObject({ failure: 'not-sent' })
  } finally {
    abort()
    await transport.close()
    proxy.close()
  }
})
