import type { HeaderBag } from '../lib/headers.ts'
import { TransportError, type UpstreamRequest } from '../relay/transport.ts'
import type { OutgoingRequest } from './node-http-connection.ts'
import { areFields, IS_TOKEN } from './node-http-fields.ts'
import { latin1Of, TEXT_LIMIT_BYTES } from './node-latin1.ts'
import type { Origin } from './node-transport-connect.ts'

/** Pieces of this size are handed to the socket one after the other, so that its progress shows. */
const SLICE_BYTES = 256 * 1024

const NO_BODY: readonly Uint8Array[] = []

/**
 * A request as it stands on the wire, its length always told.
 *
 * @throws TransportError `not-sent` for what can't be written; the message quotes nothing
 */
export function outgoingRequest(request: UpstreamRequest, target: Target): OutgoingRequest {
  const { method, headers, body = NO_BODY } = request
  let bytes = 0
  for (const part of body) bytes += part.byteLength
  if (!IS_TOKEN.test(method)) throw unwritable()
  const start = `${method} ${target.path} HTTP/1.1\r\nhost: ${headers['host'] ?? target.host}\r\n`
  const length = bytes > 0 || TAKES_BODY.has(method) ? `content-length: ${bytes}\r\n` : ''
  const head = `${start}connection: keep-alive\r\n${fieldsText(headers)}${length}\r\n`
  if (bytes > TEXT_LIMIT_BYTES) return { method, text: head, pieces: body.flatMap(slicesOf) }
  let text = head
  for (const part of body) text += latin1Of(part)
  return { method, text, pieces: NO_BODY }
}

const TAKES_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH'])

function fieldsText(headers: HeaderBag): string {
  let text = ''
  let names = ''
  let values = ''
  for (const name in headers) {
    const value = headers[name]
    if (value === undefined || name === 'host') continue
    if (name === '') throw unwritable()
    text += `${name}: ${value}\r\n`
    names += name
    values += value
  }
  if (!areFields(names, values)) throw unwritable()
  return text
}

const unwritable = (): TransportError =>
  new TransportError('not-sent', 'the request can not be written as HTTP/1.1')

function slicesOf(part: Uint8Array): Uint8Array[] {
  if (part.byteLength <= SLICE_BYTES) return part.byteLength === 0 ? [] : [part]
  return Array.from({ length: Math.ceil(part.byteLength / SLICE_BYTES) }, (_, index) =>
    part.subarray(index * SLICE_BYTES, (index + 1) * SLICE_BYTES),
  )
}

/** A URL split the way a client wants it. */
export interface Target {
  readonly origin: Origin
  /** The `host` header. */
  readonly host: string
  /** Path and query. */
  readonly path: string
}

const TARGET_LIMIT = 1_000

/**
 * Splits URLs and remembers the last thousand or so, since a gateway calls the same few again and again.
 * Undefined for what is no http(s) URL.
 */
export function createTargets(): (url: string) => Target | undefined {
  const known = new Map<string, Target>()
  return (url) => {
    const before = known.get(url)
    if (before) return before
    if (!URL.canParse(url)) return undefined
    const { protocol, origin, hostname, port, host, pathname, search } = new URL(url)
    if (protocol !== 'http:' && protocol !== 'https:') return undefined
    const isSecure = protocol === 'https:'
    const target = {
      origin: {
        isSecure,
        hostname: hostname.replace(/^\[(.*)\]$/, '$1'),
        port: Number(port || (isSecure ? 443 : 80)),
        text: origin,
      },
      host,
      path: pathname + search,
    }
    if (known.size >= TARGET_LIMIT) known.clear()
    known.set(url, target)
    return target
  }
}
