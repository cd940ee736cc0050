/**
 * Proxies on real sockets of the loopback address, one for HTTP CONNECT and one for SOCKS 5.
 *
 * ```ts
 * const proxy = await startHttpProxy({ login: 'user:password' })
 * proxy.url('user:password')          // http://user:password@127.0.0.1:port
 * proxy.asked                         // ['api.test:443']
 * ```
 *
 * Every name that ends in `.test` is this machine.
 */
import { once } from 'node:events'
import { createServer, request, type IncomingMessage } from 'node:http'
import net, { type AddressInfo, type Socket } from 'node:net'
import tls from 'node:tls'
import { testCertificate } from './test-certificate.ts'

export interface TestProxy {
  readonly port: number
  /** Where tunnels were asked to, as `host:port`, in order. */
  readonly asked: string[]
  /** Connections that came. */
  readonly accepted: number
  url(login?: string): string
  close(): Promise<void>
}

export interface TestProxyOptions {
  /** `user:password` that it wants. */
  readonly login?: string
  /** Instead of a tunnel: this status of HTTP, or this reply of SOCKS. */
  readonly refuses?: number
  /** Takes connections and says nothing. */
  readonly isSilent?: boolean
  /** What it says to whatever comes, before it closes. */
  readonly says?: string
  /** Speaks TLS itself, with the certificate of the tests. */
  readonly isSecure?: boolean
}

/** A proxy for HTTP CONNECT. */
export async function startHttpProxy(options: TestProxyOptions = {}): Promise<TestProxy> {
  const { login, refuses } = options
  const asked: string[] = []
  const basic = `Basic ${Buffer.from(login ?? '').toString('base64')}`
  const isKnown = ({ headers }: IncomingMessage): boolean =>
    login === undefined || headers['proxy-authorization'] === basic
  // Bun and Deno ask for plain HTTP in this way.
  const http = createServer((asking, answering) => {
    if (!isKnown(asking)) return void answering.writeHead(407).end()
    const { hostname, port, host, pathname, search } = new URL(asking.url ?? '')
    asked.push(host)
    const { 'proxy-authorization': _, ...headers } = asking.headers
    const { method = 'GET' } = asking
    const to = { host: reachable(hostname), port, path: pathname + search, method, headers }
    const forward = request(to, (answer) => {
      answering.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(answering)
    })
    forward.once('error', () => answering.writeHead(502).end())
    asking.pipe(forward)
  })
  http.on('connect', (request, client: Socket, head: Buffer) => {
    if (!isKnown(request))
      return client.end('HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n')
    asked.push(request.url ?? '')
    if (refuses !== undefined) return client.end(`HTTP/1.1 ${refuses} No\r\ncontent-length: 2\r\n\r\nno`)
    const { hostname, port } = new URL(`http://${request.url}`)
    join(client, { host: hostname, port: Number(port || 80) }, (upstream) => {
      if (upstream === undefined) return void client.end('HTTP/1.1 502 Bad Gateway\r\n\r\n')
      client.write('HTTP/1.1 200 Connection established\r\n\r\n')
      upstream.write(head)
    })
  })
  const scheme = options.isSecure ? 'https' : 'http'
  return listen(options, { scheme, asked, serve: (client) => void http.emit('connection', client) })
}

/** A proxy for SOCKS 5 (RFC 1928, RFC 1929). */
export async function startSocksProxy(options: TestProxyOptions = {}): Promise<TestProxy> {
  const { login, refuses } = options
  const asked: string[] = []
  async function serve(client: Socket): Promise<void> {
    const read = reader(client)
    const [, count = 0] = await read(2)
    const methods = await read(count)
    const method = login === undefined ? 0 : 2
    if (!methods.includes(method)) return void client.end(Buffer.from([5, 0xff]))
    client.write(Buffer.from([5, method]))
    if (login !== undefined) {
      const user = await read((await read(2))[1] ?? 0)
      const password = await read((await read(1))[0] ?? 0)
      const isRight = `${user.toString()}:${password.toString()}` === login
      client.write(Buffer.from([1, isRight ? 0 : 1]))
      if (!isRight) return void client.end()
    }
    const [, , , kind] = await read(4)
    const host =
      kind === 3
        ? (await read((await read(1))[0] ?? 0)).toString()
        : kind === 1
          ? [...(await read(4))].join('.')
          : `[${(await read(16)).toString('hex').replaceAll(/.{4}(?!$)/g, '$&:')}]`
    const port = (await read(2)).readUInt16BE()
    asked.push(`${host}:${port}`)
    const reply = (code: number): Buffer => Buffer.from([5, code, 0, 1, 0, 0, 0, 0, 0, 0])
    if (refuses !== undefined) return void client.end(reply(refuses))
    join(client, { host: host.replaceAll(/[[\]]/g, ''), port }, (upstream) => {
      if (upstream === undefined) return void client.end(reply(5))
      client.write(reply(0))
    })
  }
  return listen(options, { scheme: 'socks5', asked, serve: (client) => void serve(client).catch(() => {}) })
}

interface Served {
  readonly scheme: string
  readonly asked: string[]
  readonly serve: (client: Socket) => void
}

async function listen(options: TestProxyOptions, { scheme, asked, serve }: Served): Promise<TestProxy> {
  const { isSilent, says, isSecure } = options
  const clients = new Set<Socket>()
  let accepted = 0
  const take = (client: Socket): void => {
    accepted += 1
    clients.add(client)
    client.on('error', () => {}).once('close', () => clients.delete(client))
    if (isSilent) return void client.resume()
    if (says !== undefined) return void client.once('data', () => client.end(says))
    serve(client)
  }
  const server = isSecure ? tls.createServer(testCertificate, take) : net.createServer(take)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    port,
    asked,
    get accepted() {
      return accepted
    },
    url: (login) => `${scheme}://${login === undefined ? '' : `${login}@`}127.0.0.1:${port}`,
    async close() {
      for (const client of clients) client.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

const reachable = (host: string): string => (host.endsWith('.test') ? '127.0.0.1' : host)

/** Connects a client to where it wants to go; ends and resets pass both ways. */
function join(
  client: Socket,
  { host, port }: { host: string; port: number },
  joined: (upstream: Socket | undefined) => void,
): void {
  const upstream = net.connect(port, reachable(host))
  let isJoined = false
  upstream.once('connect', () => {
    isJoined = true
    joined(upstream)
    client.pipe(upstream)
    upstream.pipe(client)
  })
  upstream.once('error', () => isJoined || joined(undefined))
  upstream.once('close', (hadError) => {
    if (!isJoined) return
    if (hadError) client.resetAndDestroy()
    else client.destroySoon()
  })
  client.once('close', () => upstream.destroy())
}

/** Reads so many bytes. */
function reader(client: Socket): (length: number) => Promise<Buffer> {
  return async (length) => {
    for (;;) {
      if (length === 0) return Buffer.alloc(0)
      const bytes = client.read(length) as Buffer | null
      if (bytes !== null) return bytes
      await Promise.race([
        once(client, 'readable'),
        once(client, 'close').then(() => Promise.reject(new Error('left'))),
      ])
    }
  }
}
