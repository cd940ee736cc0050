import { isInRange, parseRange, type AddressRange } from './cidr.ts'
import { ipText, parseIp, type Ip } from './ip.ts'

/** The peers that are believed when they say for whom they ask. */
export type TrustedProxies = readonly AddressRange[]

/** Where a request seems to come from. */
export interface Origin {
  /** The other end of the connection, as the runtime names it. */
  readonly peer: string
  /** `X-Forwarded-For`, repeated fields joined with commas. */
  readonly forwardedFor?: string | undefined
  /** `X-Real-IP`. */
  readonly realIp?: string | undefined
  readonly trusted: TrustedProxies
}

/** Loopback (RFC 1122, RFC 4291), private (RFC 1918) and unique-local (RFC 4193) addresses. */
const privateRanges = ['127.0.0.0/8', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '::1', 'fc00::/7']

/**
 * The proxies that a list names: single addresses, CIDR ranges, and `private` for loopback, private and unique-local
 * ranges. An empty list trusts nobody.
 *
 * @throws Error that quotes the first item that is none of these
 */
export function parseTrusted(list: readonly string[]): TrustedProxies {
  return list
    .flatMap((item) => (item.trim() === 'private' ? privateRanges : [item.trim()]))
    .map((item) => {
      const range = parseRange(item)
      if (range === undefined)
        throw new Error(`neither an address, a CIDR range nor "private": ${JSON.stringify(item)}`)
      return range
    })
}

const isTrusted = (ip: Ip, trusted: TrustedProxies): boolean => trusted.some((range) => isInRange(ip, range))

const bracketed = /^\[([^\]]*)\](?::\d{1,5})?$/
const dottedWithPort = /^([\d.]+):\d{1,5}$/

/** The address in a hop as proxies write them: with a port, in brackets, with a zone, which does not count. */
function hopIp(hop: string): Ip | undefined {
  const text = bracketed.exec(hop)?.[1] ?? dottedWithPort.exec(hop)?.[1] ?? hop
  const zone = text.indexOf('%')
  return parseIp(zone > 0 && text.includes(':') ? text.slice(0, zone) : text)
}

/** More than any honest chain of proxies needs. What stands further left is not read. */
const longestRead = 2_048

/** The hops of a header from left to right; empty elements are none (RFC 9110 §5.6.1.2), nor is one cut by the bound. */
function hopsOf(header: string): string[] {
  const elements = header.slice(-longestRead).split(',')
  if (header.length > longestRead) elements.shift()
  return elements.map((element) => element.trim()).filter((element) => element !== '')
}

/** Each hop was written by the one to its right: believed from the right, as far as the writers are trusted. */
function nearestUntrusted(hops: readonly string[], trusted: TrustedProxies): Ip | undefined {
  let nearest: Ip | undefined
  for (const hop of hops.toReversed()) {
    const ip = hopIp(hop)
    if (ip === undefined) return nearest
    nearest = ip
    if (!isTrusted(ip, trusted)) return nearest
  }
  return nearest
}

/**
 * The address that a request counts as, in one canonical spelling (see `ipText`); never empty.
 *
 * The peer, unless it is trusted: then the right-most hop of `X-Forwarded-For` that is not trusted, or the left-most
 * when all are; without any hop there, `X-Real-IP`. A hop that is no address (`unknown`, `_hidden`, junk) ends the
 * walk, and the hop to its right, or the peer, counts: what an unnamed party claims about others can't be believed.
 * For the same reason `X-Real-IP` is not asked once there are hops, whatever they hold.
 *
 * A peer that is no address, such as a Unix socket's, is trusted by nobody and stays as it is, `unknown` when empty.
 * The work is bounded whatever the headers hold: the last 2 KiB of hops are read.
 */
export function clientAddress({ peer, forwardedFor, realIp, trusted }: Origin): string {
  const peerIp = hopIp(peer)
  if (peerIp === undefined) return peer || 'unknown'
  const isAlone = forwardedFor === undefined && realIp === undefined
  if (isAlone || !isTrusted(peerIp, trusted)) return ipText(peerIp)
  const hops = hopsOf(forwardedFor ?? '')
  const claimed =
    hops.length > 0 ? nearestUntrusted(hops, trusted) : hopIp((realIp ?? '').slice(0, longestRead).trim())
  return ipText(claimed ?? peerIp)
}
