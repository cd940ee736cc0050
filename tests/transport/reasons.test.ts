import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'
import tls, { type TlsOptions } from 'node:tls'
import { afterEach, describe, expect, test } from 'vitest'
import { createNodeTransport } from '../../src/adapter/node/transport.ts'
import { createFetchTransport, type Fetch } from '../../src/transport/fetch.ts'
import { signIn, TransportError, type Send } from '../../src/transport/transport.ts'
import { refusedUrl, startBlackhole } from '../support/dead-ends.ts'
import { expiredCertificate, strangeCertificate, testCertificate } from '../support/test-certificate.ts'

const servers: net.Server[] = []
const sockets = new Set<Socket>()
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
  for (const socket of sockets) socket.destroy()
})

/** The port of a server that treats each connection like this. */
async function portOf(server: net.Server, host = '127.0.0.1'): Promise<number> {
  servers.push(server)
  server.on('connection', (socket) => sockets.add(socket.on('error', () => {})))
  server.on('tlsClientError', () => {})
  await once(server.listen(0, host), 'listening')
  return (server.address() as AddressInfo).port
}
/** What a server does with a connection once something has come over it. */
type Treat = (socket: Socket) => void
const says =
  (bytes: string | Buffer): Treat =>
  (socket) =>
    void socket.end(bytes)
const plain = (treat: Treat) =>
  portOf(net.createServer((socket) => void socket.once('data', () => treat(socket))))
const secure = (options: TlsOptions) => portOf(tls.createServer(options))

const after = (ms: number, act: () => void) => {
  const timer = setTimeout(act, ms)
  return () => clearTimeout(timer)
}

/** Why a request fails, by the transport of Node unless another is given. */
async function failureAt(url: string, given: { ca?: string; send?: Send; timeoutMs?: number } = {}) {
  const own = createNodeTransport(given)
  const request = {
    method: 'POST',
    url: `${url}/v1/chat/completions`,
    headers: { 'content-type': 'application/json' },
    body: [new TextEncoder().encode('{}')],
    connectTimeoutMs: 2_000,
    timeoutMs: given.timeoutMs ?? 20_000,
    gatherBytes: () => 1_000_000,
  }
  const sent = (given.send ?? own)(request, new AbortController().signal)
  const error = await sent.catch((thrown: unknown) => thrown)
  await own.close()
  if (!(error instanceof TransportError)) return expect.fail('it did not fail')
  return error
}
const reasonAt = async (...given: Parameters<typeof failureAt>) => (await failureAt(...given)).reason

describe('why there is no connection is told in words', () => {
  test('the name, the port, the network', async () => {
    expect(await reasonAt('http://no-such-host.invalid')).toBe('host name not found')
    expect(await reasonAt(refusedUrl())).toBe('connection refused')
  })

  test('no connection in time names the time', async () => {
    const blackhole = await startBlackhole()
    expect(await reasonAt(blackhole.url)).toBe('no connection within 2 s')
    await blackhole.close()
  })

  test.each([
    { what: 'self-signed', served: testCertificate, reason: 'TLS certificate is self-signed' },
    {
      what: 'of nobody known',
      served: strangeCertificate,
      reason: 'TLS certificate of an unknown authority',
    },
    { what: 'of long ago', served: expiredCertificate, reason: 'TLS certificate has expired' },
  ])('a certificate that is $what', async ({ served, reason }) => {
    const error = await failureAt(`https://127.0.0.1:${await secure(served)}`)
    expect(error).toMatchObject({ failure: 'not-sent', reason })
  })

  test('a certificate for another name', async () => {
    const port = await portOf(tls.createServer(testCertificate), '0.0.0.0')
    const reason = await reasonAt(`https://127.0.0.2:${port}`, { ca: testCertificate.cert })
    expect(reason).toBe('wrong host name in the TLS certificate')
  })

  test.each([
    { what: 'HTTP', said: 'HTTP/1.1 400 Bad Request\r\n\r\n', reason: 'speaks no TLS' },
    { what: 'something else', said: 'SSH-2.0-OpenSSH_9.2\r\n', reason: 'speaks no TLS' },
    { what: 'nothing', said: '', reason: 'TLS handshake failed' },
  ])('https to a port that says $what to a handshake', async ({ said, reason }) => {
    const error = await failureAt(`https://127.0.0.1:${await plain(says(said))}`)
    expect(error).toMatchObject({ failure: 'not-sent', reason })
  })

  test('http to a port that answers with an alert of TLS', async () => {
    const alert = Buffer.from([0x15, 3, 1, 0, 2, 2, 80])
    expect(await reasonAt(`http://127.0.0.1:${await plain(says(alert))}`)).toBe('speaks TLS')
  })

  test('http to a port of TLS that just closes is told that it may be one', async () => {
    const reason = await reasonAt(`http://127.0.0.1:${await secure(testCertificate)}`)
    expect(reason).toBe('closed without an answer (perhaps it speaks TLS)')
  })
})

describe('why there is no answer is told in words', () => {
  test.each([
    { what: 'a reset', treat: (socket: Socket) => socket.resetAndDestroy(), reason: 'connection reset' },
    { what: 'junk', treat: says('SSH-2.0-OpenSSH_9.2\r\n'), reason: 'sent no valid HTTP' },
    {
      what: 'half a status line',
      treat: says('HTTP/1.1 2'),
      reason: 'closed in the middle of its answer',
    },
    {
      what: 'half a body',
      treat: says('HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{'),
      reason: 'closed in the middle of its answer',
    },
    {
      what: 'a chunk that is none',
      treat: says('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n'),
      reason: 'sent no valid HTTP',
    },
    {
      what: 'endless headers',
      treat: says(`HTTP/1.1 200 OK\r\nx: ${'x'.repeat(200_000)}`),
      reason: 'headers of the answer too large',
    },
    {
      what: 'what is no gzip',
      treat: says('HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\u001fno'),
      reason: 'answer in a damaged or unknown content coding',
    },
  ])('$what', async ({ treat, reason }) => {
    expect(await reasonAt(`http://127.0.0.1:${await plain(treat)}`)).toBe(reason)
  })

  test('silence names the time', async () => {
    const port = await plain(() => {})
    expect(await reasonAt(`http://127.0.0.1:${port}`, { timeoutMs: 200 })).toBe('silent for 0.2 s')
  })

  test('a server that has answered before does not look like one of TLS when it closes', async () => {
    let served = 0
    const treat = (socket: Socket) =>
      says(served++ === 0 ? 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok' : '')(socket)
    const url = `http://127.0.0.1:${await plain(treat)}`
    const send = createNodeTransport()
    await expect(failureAt(url, { send })).rejects.toThrow('it did not fail')
    expect(await reasonAt(url, { send })).toBe('closed without an answer')
    await send.close()
  })
})

describe('fetch tells what its runtime tells', () => {
  const throwing = (message: string, code?: string): Send => {
    const cause = Object.assign(new Error(message), { code })
    const call: Fetch = () => Promise.reject(new TypeError('fetch failed', { cause }))
    return createFetchTransport(after, call)
  }

  test.each([
    [
      'not-sent',
      'host name not found',
      'client error (Connect): dns error: failed to lookup address information',
    ],
    [
      'not-sent',
      'connection refused',
      'client error (Connect): tcp connect error: Connection refused (os error 111)',
    ],
    ['not-sent', 'network unreachable', 'client error (Connect): Network is unreachable (os error 101)'],
    [
      'not-sent',
      'TLS certificate of an unknown authority',
      'client error (Connect): invalid peer certificate: UnknownIssuer',
    ],
    [
      'not-sent',
      'TLS certificate has expired',
      'client error (Connect): invalid peer certificate: certificate expired: verification time 1',
    ],
    [
      'not-sent',
      'speaks no TLS',
      'client error (Connect): received corrupt message of type InvalidContentType',
    ],
    ['not-sent', 'TLS handshake failed', 'client error (Connect): tls handshake eof'],
    ['broken', 'connection reset', 'Connection reset by peer (os error 104)'],
    ['broken', 'connection closed', 'client error (SendRequest): connection closed before message completed'],
    ['broken', 'connection lost', 'Network connection lost.'],
  ])('%s, %s: %s', async (failure, reason, message) => {
    const error = await failureAt('http://a.test', { send: throwing(message) })
    expect(error).toMatchObject({ failure, reason })
    expect(error.message).not.toContain(message)
  })

  test.each([
    ['host name not found', 'ENOTFOUND'],
    ['host unreachable', 'EHOSTUNREACH'],
    ['no connection', 'FailedToOpenSocket'],
    ['no sockets or memory left here', 'EMFILE'],
    ['connection refused', 'ConnectionRefused'],
    ['no connection in time', 'UND_ERR_CONNECT_TIMEOUT'],
    ['wrong host name in the TLS certificate', 'ERR_TLS_CERT_ALTNAME_INVALID'],
    ['TLS certificate not accepted', 'CERT_REVOKED'],
  ])('%s by the code %s', async (reason, code) => {
    expect(await reasonAt('http://a.test', { send: throwing('', code) })).toBe(reason)
  })
})

test('what says nothing may have been sent', () => {
  expect(signIn('TypeError fetch failed')).toEqual({ failure: 'broken', reason: 'connection lost' })
})
