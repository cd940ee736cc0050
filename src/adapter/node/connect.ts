/**
 * TCP and TLS connections to upstreams, and what the system's and undici's errors mean.
 */
import net from 'node:net'
import tls from 'node:tls'
import { TransportError } from '../../transport/transport.ts'

const TLS_SESSION_LIMIT = 200

/** Where to connect, as undici's client says it; the port is empty where it is the scheme's own. */
export interface Address {
  readonly protocol: string
  readonly hostname: string
  readonly port: string
}

/** What a connection may take, and what comes of it: exactly one of the two callbacks is called, once. */
interface ConnectTask {
  readonly timeoutMs: number
  readonly connected: () => void
  readonly failed: (error: TransportError) => void
}

/** Starts to connect and returns the socket at once; to destroy it ends the attempt as `not-sent`. */
export type Connect = (address: Address, task: ConnectTask) => net.Socket

/**
 * TCP and TLS connections with one deadline over name look-up, TCP and TLS handshake.
 *
 * TLS sessions are resumed, which saves a round trip and most of the CPU of a handshake.
 *
 * @param ca trusted certificates in place of the runtime's own (which `NODE_EXTRA_CA_CERTS` extends)
 */
export function createConnect(ca: string | undefined): Connect {
  const sessions = new Map<string, Buffer>()

  function connectTls({ hostname, port }: Address): net.Socket {
    const key = `${hostname}:${port}`
    const session = sessions.get(key)
    const socket = tls.connect({
      host: hostname,
      port: Number(port || 443),
      ALPNProtocols: ['http/1.1'],
      // RFC 6066 §3: an address is no server name.
      ...(net.isIP(hostname) === 0 && { servername: hostname }),
      ...(session && { session }),
      ...(ca !== undefined && { ca }),
    })
    return socket.on('session', (fresh) => {
      if (sessions.size >= TLS_SESSION_LIMIT) sessions.clear()
      sessions.set(key, fresh)
    })
  }

  function connectTcp({ hostname, port }: Address): net.Socket {
    // Node's types do not know that the options of a stream are options of a socket.
    const options: net.TcpNetConnectOpts & { readableHighWaterMark: number; writableHighWaterMark: number } =
      {
        host: hostname,
        port: Number(port || 80),
        readableHighWaterMark: 64 * 1024,
        writableHighWaterMark: 512 * 1024,
      }
    return net.connect(options)
  }

  return (address, { timeoutMs, connected, failed }) => {
    const isSecure = address.protocol === 'https:'
    const socket = isSecure ? connectTls(address) : connectTcp(address)
    let isOpening = true
    let isHandshake = false

    const fail = (error: TransportError): void => {
      if (!isOpening) return
      isOpening = false
      clearTimeout(timer)
      socket.destroy()
      failed(error)
    }
    const timer = setTimeout(
      () => fail(new TransportError('connect-timeout', `no connection within ${timeoutMs} ms`)),
      timeoutMs,
    )
    // Dead peers of idle and waiting connections are noticed by the operating system after a minute or so.
    socket.setNoDelay(true).setKeepAlive(true, 60_000)
    if (isSecure) socket.once('connect', () => (isHandshake = true))
    // The listener stays for the socket's life: an error without a listener would end the process.
    socket.on('error', (error) => {
      const cause = isHandshake ? `TLS failed (${codeOf(error)})` : causeOf(error)
      fail(new TransportError('not-sent', `no connection: ${cause}`))
    })
    socket.once('close', () => fail(new TransportError('not-sent', 'no connection: closed')))
    socket.once(isSecure ? 'secureConnect' : 'connect', () => {
      if (!isOpening) return
      isOpening = false
      clearTimeout(timer)
      connected()
    })
    return socket
  }
}

/** System errors in words. */
const CAUSES: Readonly<Record<string, string>> = {
  ENOTFOUND: 'the name was not found',
  EAI_AGAIN: 'the name look-up failed',
  ECONNREFUSED: 'refused',
  EHOSTUNREACH: 'the host is unreachable',
  ENETUNREACH: 'the network is unreachable',
  ETIMEDOUT: 'the host does not answer',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
  UND_ERR_SOCKET: 'closed',
}

/** What to tell of an error: a cause in words with its code. */
export function causeOf(error: unknown): string {
  const code = codeOf(error)
  const cause = CAUSES[code]
  return cause === undefined ? code : `${cause} (${code})`
}

/** The code of a system, TLS or undici error: all of it that may be shown, since messages quote addresses. */
export function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return 'unknown'
  const { code } = error as { code?: unknown }
  if (typeof code === 'string') return code
  return error instanceof Error ? error.name : 'unknown'
}
