import net from 'node:net'
import tls from 'node:tls'
import { TransportError } from '../relay/transport.ts'

/** Where to connect, as undici's client says it; the port is empty where it is the scheme's own. */
export interface Address {
  readonly protocol: string
  readonly hostname: string
  readonly port: string
}

/** What a connection may take, and what comes of it: exactly one of the two callbacks is called, once. */
export interface ConnectTask {
  readonly timeoutMs: number
  readonly connected: (socket: net.Socket) => void
  readonly failed: (error: TransportError) => void
}

/** Starts to connect and returns the socket at once: destroying it ends the attempt as `not-sent`. */
export type Connect = (address: Address, task: ConnectTask) => net.Socket

const sessionLimit = 200

/**
 * TCP and TLS connections with one deadline over name look-up, TCP and TLS handshake.
 *
 * TLS sessions are resumed, which saves a round trip and most of the CPU of a handshake.
 *
 * @param ca trusted certificates in place of the runtime's own (which `NODE_EXTRA_CA_CERTS` extends)
 */
export function createConnect(ca?: string): Connect {
  const sessions = new Map<string, Buffer>()

  const connectTls = ({ hostname, port }: Address): net.Socket => {
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
      if (sessions.size >= sessionLimit) sessions.clear()
      sessions.set(key, fresh)
    })
  }

  const connectTcp = ({ hostname, port }: Address): net.Socket => {
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
    const secure = address.protocol === 'https:'
    const socket = secure ? connectTls(address) : connectTcp(address)
    let open = true

    const fail = (error: TransportError) => {
      if (!open) return
      open = false
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
    // The listener stays for the socket's life: an error without a listener would end the process.
    socket.on('error', (error) => fail(new TransportError('not-sent', `no connection: ${codeOf(error)}`)))
    socket.once('close', () => fail(new TransportError('not-sent', 'no connection: closed')))
    socket.once(secure ? 'secureConnect' : 'connect', () => {
      if (!open) return
      open = false
      clearTimeout(timer)
      connected(socket)
    })
    return socket
  }
}

/** The code of a system, TLS or undici error: all of it that may be shown, since messages quote addresses. */
export function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return 'unknown'
  const { code } = error as { code?: unknown }
  if (typeof code === 'string') return code
  return error instanceof Error ? error.name : 'unknown'
}
