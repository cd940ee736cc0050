import type { HeaderBag } from '../lib/headers.ts'

/** A request body as undici's client takes it. */
export interface OutgoingBody {
  readonly content: Uint8Array | Uint8Array[] | null
  /** Undici can't know the length of several parts, but knows that of one array of bytes. */
  readonly bytes: number
  readonly inParts: boolean
}

/** Up to here one copy costs less than undici's way of sending parts (bench/transport.ts). */
const copyLimitBytes = 16 * 1024

/** Parts of this size are handed to the socket one after the other, so that its progress shows. */
const sliceBytes = 256 * 1024

/** The parts as one body of known length. Large ones are not copied. */
export function outgoingBody(parts: readonly Uint8Array[] = []): OutgoingBody {
  let bytes = 0
  for (const part of parts) bytes += part.byteLength
  const [first] = parts
  if (first === undefined || bytes === 0) return { content: null, bytes, inParts: false }
  if (parts.length === 1 && bytes <= sliceBytes) return { content: first, bytes, inParts: false }
  if (bytes <= copyLimitBytes) return { content: Buffer.concat(parts, bytes), bytes, inParts: false }
  return { content: parts.flatMap(slicesOf), bytes, inParts: true }
}

/** Names and values in turn, with the `content-length` that undici can not work out. */
export function outgoingHeaders(headers: HeaderBag, { bytes, inParts }: OutgoingBody): string[] {
  const flat: string[] = []
  for (const name of Object.keys(headers)) flat.push(name, headers[name] ?? '')
  if (inParts) flat.push('content-length', String(bytes))
  return flat
}

function slicesOf(part: Uint8Array): Uint8Array[] {
  if (part.byteLength <= sliceBytes) return part.byteLength === 0 ? [] : [part]
  return Array.from({ length: Math.ceil(part.byteLength / sliceBytes) }, (_, index) =>
    part.subarray(index * sliceBytes, (index + 1) * sliceBytes),
  )
}

/** A URL split the way a client wants it. */
export interface Target {
  readonly origin: string
  /** Path and query. */
  readonly path: string
}

const targetLimit = 1000

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
    const { protocol, origin, pathname, search } = new URL(url)
    if (protocol !== 'http:' && protocol !== 'https:') return undefined
    const target = { origin, path: pathname + search }
    if (known.size >= targetLimit) known.clear()
    known.set(url, target)
    return target
  }
}
