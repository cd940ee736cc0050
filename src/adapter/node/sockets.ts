/** How connections are opened, and what it means that one can't be. */
import { closeSync, openSync, readFileSync } from 'node:fs'
import net from 'node:net'
import { devNull } from 'node:os'
import tls from 'node:tls'
import type { buildConnector } from 'undici'
import { systemCodeOf } from '../../errors.ts'
import type { Proxy, UpstreamRoute } from '../../pool/route.ts'
import { signIn, TransportError } from '../../transport/transport.ts'

const TLS_SESSION_LIMIT = 200
/** All sockets read into it, one after the other: what is read is taken at once. */
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024)

/** Opens connections of one kind. TLS sessions are resumed, which saves a round trip and most of the CPU of a handshake. */
export interface Sockets {
  /** Absent = they go straight. */
  readonly proxy?: Proxy
  /** Starts to connect; `received` takes the bytes of each read, and false = no more until the socket's `resume`. */
  open(address: Address, received: (bytes: Buffer) => boolean): net.Socket
  /** Begins TLS over a connection that is there: with the upstream, or with the proxy itself. */
  secure(socket: net.Socket, address: Address, peer: 'upstream' | 'proxy'): tls.TLSSocket
}

/** Where a connection leads. */
export type Address = Pick<buildConnector.Options, 'protocol' | 'hostname' | 'port'>

/**
 * Sockets of a route, or straight ones. What is trusted on one route is of no account on another, and a resumed session
 * is not checked again: each has its own.
 *
 * @param ca trusted certificates in place of the runtime's own (which `NODE_EXTRA_CA_CERTS` extends)
 */
export function createSockets(
  ca: string | undefined,
  { proxy, trust = {} }: Partial<UpstreamRoute> = {},
): Sockets {
  const sessions = new Map<string, Buffer>()
  const trusted = trust.ca === undefined ? { ...(ca !== undefined && { ca }) } : contextWith(trust.ca)

  function secureOptions({ hostname, port }: Address, isUpstream: boolean): tls.ConnectionOptions {
    const session = sessions.get(`${hostname}:${port}`)
    return {
      ALPNProtocols: ['http/1.1'],
      // RFC 6066 §3: an address is no server name.
      ...(net.isIP(hostname) === 0 ? { servername: hostname } : { host: hostname }),
      ...(session && { session }),
      ...trusted,
      ...(isUpstream && trust.insecure && { rejectUnauthorized: false }),
    }
  }
  function resumable(socket: tls.TLSSocket, { hostname, port }: Address): tls.TLSSocket {
    return socket.on('session', (fresh) => {
      if (sessions.size >= TLS_SESSION_LIMIT) sessions.clear()
      sessions.set(`${hostname}:${port}`, fresh)
    })
  }

  return {
    ...(proxy && { proxy }),
    open(address, received) {
      const { protocol, hostname, port } = address
      // A copy of a small chunk costs less than a buffer of its own for each read.
      const callback = (length: number): boolean => received(Buffer.from(readBuffer.subarray(0, length)))
      const onread = { buffer: readBuffer, callback }
      if (protocol === 'http:') {
        // Node's types do not know that the options of a stream are options of a socket.
        const options = {
          host: hostname,
          port: Number(port || 80),
          writableHighWaterMark: 512 * 1024,
          onread,
        }
        return net.connect(options)
      }
      // Node's types do not know that the options of a socket are options of TLS.
      const options: tls.ConnectionOptions & { onread: net.OnReadOpts } = {
        ...secureOptions(address, true),
        host: hostname,
        port: Number(port || 443),
        onread,
      }
      return resumable(tls.connect(options), address)
    },
    secure: (socket, address, peer) =>
      resumable(tls.connect({ ...secureOptions(address, peer === 'upstream'), socket }), address),
  }
}

/**
 * Trusts `ca` besides everything that the process trusts, which is more than Node lists before its version 22.15:
 * `tls.rootCertificates` lacks what NODE_EXTRA_CA_CERTS and OpenSSL's own store bring. Made once: it takes ms.
 */
function contextWith(ca: string): { readonly secureContext: tls.SecureContext } {
  const secureContext = tls.createSecureContext()
  const store = secureContext.context as { addCACert(pem: string): void }
  store.addCACert(ca)
  // Node 20 forgets these where others are added.
  for (const pem of extraAuthorities()) store.addCACert(pem)
  return { secureContext }
}

/** As Node reads them; where it can't, it has said so at its start. */
function extraAuthorities(): string[] {
  try {
    return [readFileSync(process.env['NODE_EXTRA_CA_CERTS'] ?? '', 'utf8')]
  } catch {
    return []
  }
}

/** What a request that nobody waits for ends with. */
export const aborted = (): TransportError => new TransportError('aborted', 'the caller has left')

export function connectTimeout(ms: number): TransportError {
  const reason = `no connection within ${ms / 1000} s`
  return new TransportError('connect-timeout', reason, reason)
}

/**
 * Why there is no connection. @param error absent where it was closed without one
 * @param isHandshake TLS had begun
 */
export function openingError(error: Error | undefined, isHandshake = false): TransportError {
  if (error instanceof TransportError) return error
  if (error === undefined) return notSent('connection closed', 'close')
  const shortage = shortageIn(error)
  if (shortage !== undefined) return shortage
  const { reason } = signIn(signsOf(error))
  const isTls = !isHandshake || reason.includes('TLS')
  return notSent(isTls ? reason : 'TLS handshake broken off', codeOf(error))
}

const notSent = (reason: string, code: string): TransportError =>
  new TransportError('not-sent', `no connection: ${reason} (${code})`, reason)

/** What codes and messages say, for `signIn`. */
export const signsOf = (error: unknown): string =>
  error instanceof Error ? `${systemCodeOf(error) ?? ''} ${error.name} ${error.message}` : ''

/** Undefined for what is no shortage of ours. */
export function shortageIn(error: unknown): TransportError | undefined {
  if (!isShortage(error)) return undefined
  const { reason } = signIn(signsOf(error))
  return new TransportError('shortage', `no connection: ${reason}`, reason)
}

/** Of a host with several addresses, where that goes for each: one may have none of its kind here, such as IPv6. */
function isShortage(error: unknown): boolean {
  const causes: unknown[] = error instanceof AggregateError ? error.errors : [error]
  return causes.every(isShort) || isNameLookupShort(error)
}

/** Whether this process or machine has run out of something: descriptors, buffers, memory, ports. */
const isShort = (error: unknown): boolean => signIn(codeOf(error)).failure === 'shortage'

/** A look-up needs descriptors too, and without one it tells that there is no such name. */
function isNameLookupShort(error: unknown): boolean {
  if (!['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL'].includes(codeOf(error))) return false
  try {
    closeSync(openSync(devNull, 'r'))
    return false
  } catch (shortage) {
    return isShort(shortage)
  }
}

/** The code of a system, TLS or undici error: all of it that may be shown, since messages quote addresses. */
export const codeOf = (error: unknown): string =>
  systemCodeOf(error) ?? (error instanceof Error ? error.name : 'unknown')
