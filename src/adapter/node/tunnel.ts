/** The way through a proxy: HTTP CONNECT and SOCKS 5, both spoken by undici's own clients, then TLS over it. */
import { lookup } from 'node:dns/promises'
import net from 'node:net'
import type { buildConnector } from 'undici'
import Client from 'undici/lib/dispatcher/client.js'
import { Socks5Client } from 'undici/lib/core/socks5-client.js'
import type { Proxy } from '../../pool/route.ts'
import { signIn, TransportError } from '../../transport/transport.ts'
import { codeOf, connectTimeout, openingError, shortageIn, signsOf } from './sockets.ts'
import type { Address, Sockets } from './sockets.ts'

/** What a tunnel is given. */
interface Opening {
  /** Over name look-ups, TCP, the proxy's answer and every TLS handshake. */
  readonly timeoutMs: number
  /** Told each socket as soon as there is one: the last is what has to be destroyed. */
  readonly take: (socket: net.Socket) => void
}

/** Opens a connection to `address` through the proxy. @throws TransportError */
export async function openTunnel(
  { proxy, secure }: Sockets & { readonly proxy: Proxy },
  address: Address,
  { timeoutMs, take }: Opening,
): Promise<net.Socket> {
  let stage = 'proxy' as Stage
  // Node's types do not know that the options of a stream are options of a socket.
  const options = { host: proxy.host, port: proxy.port, writableHighWaterMark: 512 * 1024 }
  let socket: net.Socket = net.connect(options)
  const timer = setTimeout(() => void socket.destroy(timeoutAt(stage, timeoutMs)), timeoutMs)
  try {
    take(socket)
    await within(socket, happens(socket, 'connect'))
    if (proxy.kind === 'https') {
      const itself = { protocol: 'https:', hostname: proxy.host, port: String(proxy.port) }
      take((socket = secure(socket, itself, 'proxy')))
      await within(socket, happens(socket, 'secureConnect'))
    }
    const { hostname, protocol } = address
    const port = Number(address.port || (protocol === 'https:' ? 443 : 80))
    const destination = { hostname, port, onAsked: () => void (stage = 'asked') }
    const isHttp = proxy.kind === 'http' || proxy.kind === 'https'
    await within(socket, (isHttp ? askHttp : askSocks)(socket, proxy, destination))
    if (protocol !== 'https:') return socket
    stage = 'upstream'
    take((socket = secure(socket, address, 'upstream')))
    await within(socket, happens(socket, 'secureConnect'))
    return socket
  } catch (error) {
    if (error instanceof TransportError) throw error
    if (stage === 'upstream') throw openingError(error as Error, true)
    const { reason } = signIn(signsOf(error))
    throw (
      shortageIn(error) ??
      (stage === 'asked'
        ? unreachable('the proxy closed the connection')
        : proxyError(`no connection to the proxy: ${reason}`))
    )
  } finally {
    clearTimeout(timer)
  }
}

/**
 * What is waited for: the proxy, the upstream by way of the proxy, the upstream's TLS. A proxy for HTTP says nothing until
 * it has the upstream, so which of them is silent can't be told, and the first stage ends with its answer.
 */
type Stage = 'proxy' | 'asked' | 'upstream'

function timeoutAt(stage: Stage, ms: number): TransportError {
  if (stage === 'upstream') return connectTimeout(ms)
  const through = stage === 'asked' ? 'no connection through the proxy' : 'no answer from the proxy'
  const reason = `${through} within ${ms / 1000} s`
  return stage === 'asked' ? new TransportError('connect-timeout', reason, reason) : proxyError(reason)
}

const happens = (socket: net.Socket, event: 'connect' | 'secureConnect'): Promise<void> =>
  new Promise((resolve) => void socket.once(event, () => resolve()))

/** Waits for a step, or for the end of the socket. */
async function within<T>(socket: net.Socket, step: Promise<T>): Promise<T> {
  let onEnd: (error?: Error) => void = () => {}
  const ended = new Promise<never>((_resolve, reject) => {
    onEnd = (error) => reject(error instanceof Error ? error : new Error('closed'))
    socket.once('error', onEnd).once('close', onEnd)
    // Since the step before.
    if (socket.destroyed) onEnd()
  })
  try {
    return await Promise.race([step, ended])
  } finally {
    // The loser of the race.
    step.catch(() => {})
    socket.off('error', onEnd).off('close', onEnd)
  }
}

interface Destination {
  readonly hostname: string
  readonly port: number
  /** Told when the proxy has shown that it is there, and looks for the upstream. */
  readonly onAsked: () => void
}

/** @throws TransportError where the proxy refuses */
async function askHttp(socket: net.Socket, { login }: Proxy, { hostname, port }: Destination): Promise<void> {
  const host = `${net.isIPv6(hostname) ? `[${hostname}]` : hostname}:${port}`
  const basic = login && Buffer.from(`${login.user}:${login.password}`).toString('base64')
  const headers = { host, ...(basic !== undefined && { 'proxy-authorization': `Basic ${basic}` }) }
  const status = await new Promise<number>((resolve, reject) => {
    // Undici waits for ever where it is answered at once.
    const connect: buildConnector.connector = (_address, done) =>
      queueMicrotask(() => (socket.destroyed ? done(new Error('closed'), null) : done(null, socket)))
    const client = new Client('http://proxy', { connect, headersTimeout: 0 })
    client.dispatch(
      { method: 'CONNECT', path: host, headers },
      {
        onRequestStart() {},
        onRequestUpgrade: (_controller, answered) => resolve(answered),
        onResponseError: (_controller, error) => reject(error),
      },
    )
  })
  if (status >= 200 && status <= 299) return
  if (status === 407)
    throw proxyError(
      login === undefined
        ? 'the proxy wants a user name and a password (407)'
        : 'the proxy refused the user name and the password (407)',
    )
  if (status >= 500) throw unreachable(`the proxy cannot reach the host (${status})`)
  if (status === 403) throw unreachable('the proxy refused the host (403)')
  throw proxyError(`the proxy refused (${status})`)
}

/** What the client of SOCKS tells, by the end of its codes; all others are of the host that was asked for. */
const SOCKS_REFUSALS: readonly (readonly [RegExp, (login: Proxy['login']) => TransportError])[] = [
  [
    /AUTH_(?:REJECTED|METHOD)$/,
    (login) =>
      proxyError(
        login === undefined
          ? 'the proxy wants a user name and a password'
          : 'the proxy takes no user name and password, and wants another proof',
      ),
  ],
  [/AUTH_/, () => proxyError('the proxy refused the user name and the password')],
  [/REPLY_2$/, () => unreachable('the proxy refused the host')],
  [/REPLY_\d+$/, () => unreachable('the proxy cannot reach the host')],
  [/SOCKS5/, () => proxyError('the proxy speaks no SOCKS 5')],
]

/** @throws TransportError where the proxy refuses, or the name is not found here */
async function askSocks(
  socket: net.Socket,
  { kind, login }: Proxy,
  { hostname, port, onAsked }: Destination,
): Promise<void> {
  const host = kind === 'socks5' && net.isIP(hostname) === 0 ? await addressOf(hostname) : hostname
  await new Promise<void>((resolve, reject) => {
    const client = new Socks5Client(socket, login && { username: login.user, password: login.password })
    client.on('error', (error) => {
      const code = codeOf(error)
      reject(SOCKS_REFUSALS.find(([pattern]) => pattern.test(code))?.[1](login) ?? error)
    })
    client.once('authenticated', () => {
      client.connect(host, port)
      onAsked()
    })
    client.once('connected', () => {
      // It would go on to tell of errors that are none of its business.
      socket.off('error', client.onSocketError).off('close', client.onSocketClose)
      resolve()
    })
    client.handshake()
  })
}

/** IPv4 first: more proxies have it. */
async function addressOf(hostname: string): Promise<string> {
  try {
    const found = await lookup(hostname, { all: true })
    return (found.find(({ family }) => family === 4) ?? found[0])?.address ?? hostname
  } catch (error) {
    throw openingError(error as Error)
  }
}

const proxyError = (reason: string): TransportError => new TransportError('proxy', reason, reason)
const unreachable = (reason: string): TransportError => new TransportError('not-sent', reason, reason)
