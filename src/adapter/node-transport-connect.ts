import net from 'node:net'
import tls from 'node:tls'
import { TransportError } from '../relay/transport.ts'

/** Where to connect. */
export interface Origin {
  readonly isSecure: boolean
  readonly hostname: string
  readonly port: number
  /** Names the three of them. */
  readonly text: string
}

/** What a connection may take to come about, and who is told of what becomes of it. */
export interface ConnectTask {
  readonly timeoutMs: number
  readonly connected: () => void
  /** Bytes that came; those of a plain connection are overwritten after the call. */
  readonly received: (bytes: Buffer) => void
  /** The other side has ended the connection in order. */
  readonly ended: () => void
  /** There is no connection, or no more; called once, not after `ended`. */
  readonly failed: (error: TransportError) => void
}

/** Starts to connect and returns the socket at once. */
export type Connect = (origin: Origin, task: ConnectTask) => net.Socket

const SESSION_LIMIT = 200
const READ_BYTES = 65_536

/**
 * TCP and TLS connections with one deadline over name look-up, TCP and TLS handshake.
 *
 * TLS sessions are resumed, which saves a round trip and most of the CPU of a handshake. Plain connections all read
 * into one piece of memory, since what comes is looked at before the next is read.
 *
 * @param ca trusted certificates in place of the runtime's own (which `NODE_EXTRA_CA_CERTS` extends)
 */
export function createConnect(ca?: string): Connect {
  const sessions = new Map<string, Buffer>()
  const readInto = Buffer.allocUnsafeSlow(READ_BYTES)

  function connectTls({ hostname, port, text }: Origin, { received }: ConnectTask): net.Socket {
    const session = sessions.get(text)
    const socket = tls.connect({
      host: hostname,
      port,
      ALPNProtocols: ['http/1.1'],
      // RFC 6066 §3: an address is no server name.
      ...(net.isIP(hostname) === 0 && { servername: hostname }),
      ...(session && { session }),
      ...(ca !== undefined && { ca }),
    })
    socket.on('data', received)
    return socket.on('session', (fresh) => {
      if (sessions.size >= SESSION_LIMIT) sessions.clear()
      sessions.set(text, fresh)
    })
  }

  function connectTcp({ hostname, port }: Origin, { received }: ConnectTask): net.Socket {
    // Node's types do not know that the options of a stream are options of a socket.
    const options: net.TcpNetConnectOpts & { writableHighWaterMark: number } = {
      host: hostname,
      port,
      writableHighWaterMark: 512 * 1024,
      onread: {
        buffer: readInto,
        callback(bytes) {
          received(readInto.subarray(0, bytes))
          return true
        },
      },
    }
    return net.connect(options)
  }

  return (origin, task) => {
    const { timeoutMs, connected, ended, failed } = task
    const socket = origin.isSecure ? connectTls(origin, task) : connectTcp(origin, task)
    let state: 'opening' | 'open' | 'over' = 'opening'

    const fail = (error: TransportError) => {
      if (state === 'over') return
      state = 'over'
      clearTimeout(timer)
      failed(error)
    }
    const lose = (how: string) =>
      fail(
        state === 'opening'
          ? new TransportError('not-sent', `no connection: ${how}`)
          : new TransportError('broken', `the connection broke: ${how}`),
      )
    const timer = setTimeout(
      () => fail(new TransportError('connect-timeout', `no connection within ${timeoutMs} ms`)),
      timeoutMs,
    )
    // Dead peers of idle and waiting connections are noticed by the operating system after a minute or so.
    socket.setNoDelay(true).setKeepAlive(true, 60_000)
    // The listener stays for the socket's life: an error without a listener would end the process.
    socket.on('error', (error) => lose(codeOf(error)))
    socket.once('close', () => lose('closed'))
    socket.once('end', () => {
      if (state !== 'open') return lose('closed')
      state = 'over'
      ended()
    })
    socket.once(origin.isSecure ? 'secureConnect' : 'connect', () => {
      if (state !== 'opening') return
      state = 'open'
      clearTimeout(timer)
      connected()
    })
    return socket
  }
}

/** The code of a system or TLS error: all of it that may be shown, since messages quote addresses. */
function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return 'unknown'
  const { code } = error as { code?: unknown }
  if (typeof code === 'string') return code
  return error instanceof Error ? error.name : 'unknown'
}
