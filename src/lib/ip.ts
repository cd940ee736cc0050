/**
 * An IP address as eight words of 16 bits.
 *
 * An IPv4 address is its IPv4-mapped IPv6 form (RFC 4291 §2.5.5.2), so `1.2.3.4` and `::ffff:1.2.3.4` are one.
 */
type Ip = readonly number[]

const longestIp = 45
/** How dual-stack sockets begin the name of an IPv4 peer. */
const mappedPrefix = '::ffff:'
const zeros = [0, 0, 0, 0, 0, 0, 0, 0]

/** The 32 bits of four decimal numbers from 0 to 255 without leading zeros, which some read as octal. */
function parseV4(text: string): number | undefined {
  let bits = 0
  let part = 0
  let digits = 0
  let parts = 1
  for (let at = 0; at < text.length; at++) {
    const digit = text.charCodeAt(at) - 48
    if (digit === -2 && digits > 0) {
      bits = bits * 256 + part
      part = 0
      digits = 0
      parts++
    } else if (digit >= 0 && digit <= 9 && (digits === 0 || part > 0)) {
      part = part * 10 + digit
      digits++
    } else return undefined
    if (part > 255) return undefined
  }
  return parts === 4 && digits > 0 ? bits * 256 + part : undefined
}

/** The value of one to four hexadecimal digits; −1 for anything else. */
function hexWord(digits: string): number {
  if (digits.length === 0 || digits.length > 4) return -1
  let value = 0
  for (let at = 0; at < digits.length; at++) {
    const code = digits.charCodeAt(at)
    const lower = code | 0x20
    if (code >= 48 && code <= 57) value = value * 16 + code - 48
    else if (lower >= 97 && lower <= 102) value = value * 16 + lower - 87
    else return -1
  }
  return value
}

/** `::1.2.3.4` as `::102:304`. */
function withoutDots(text: string): string | undefined {
  if (!text.includes('.')) return text
  const start = text.lastIndexOf(':') + 1
  const bits = parseV4(text.slice(start))
  if (bits === undefined) return undefined
  return `${text.slice(0, start)}${(bits >>> 16).toString(16)}:${(bits & 0xffff).toString(16)}`
}

function parseV6(text: string): Ip | undefined {
  const words: number[] = []
  let gap = text.startsWith('::') ? 0 : -1
  let at = gap === 0 ? 2 : 0
  while (at < text.length) {
    const colon = text.indexOf(':', at)
    const word = hexWord(text.slice(at, colon < 0 ? text.length : colon))
    if (word < 0 || colon === text.length - 1) return undefined
    words.push(word)
    at = colon < 0 ? text.length : colon + 1
    if (text[at] !== ':') continue
    if (gap >= 0) return undefined
    gap = words.length
    at++
  }
  const missing = 8 - words.length
  if (gap < 0 ? missing !== 0 : missing < 1) return undefined
  return gap < 0 ? words : words.toSpliced(gap, 0, ...zeros.slice(0, missing))
}

/**
 * The address that a text is, in any spelling of RFC 4291 §2.2 or as a dotted quad; undefined for everything else,
 * such as a port, brackets, a zone, leading zeros in IPv4.
 */
export function parseIp(text: string): Ip | undefined {
  if (text.length > longestIp) return undefined
  const dotted = text.startsWith(mappedPrefix) ? text.slice(mappedPrefix.length) : text
  const bits = parseV4(dotted)
  if (bits !== undefined) return [0, 0, 0, 0, 0, 0xffff, bits >>> 16, bits & 0xffff]
  const plain = withoutDots(text)
  return plain === undefined ? undefined : parseV6(plain)
}

/** Whether it is an IPv4 address, mapped ones included. */
export function isV4(ip: Ip): boolean {
  return ip[5] === 0xffff && ip[4] === 0 && ip[3] === 0 && ip[2] === 0 && ip[1] === 0 && ip[0] === 0
}

/** The first longest run of two or more zero words; a length of 1 when there is none. */
function longestZeros(ip: Ip): { start: number; length: number } {
  let longest = { start: 8, length: 1 }
  let length = 0
  for (let at = 0; at < 8; at++) {
    length = ip[at] === 0 ? length + 1 : 0
    if (length > longest.length) longest = { start: at + 1 - length, length }
  }
  return longest
}

function hexText(ip: Ip, from: number, to: number): string {
  let text = ''
  for (let at = from; at < to; at++) text += (at === from ? '' : ':') + (ip[at] ?? 0).toString(16)
  return text
}

/** The one spelling of an address: dotted for IPv4, else RFC 5952 (lower case, the first longest run of zeros as `::`). */
export function ipText(ip: Ip): string {
  const [, , , , , , high = 0, low = 0] = ip
  if (isV4(ip)) return `${high >>> 8}.${high & 255}.${low >>> 8}.${low & 255}`
  const { start, length } = longestZeros(ip)
  return length < 2 ? hexText(ip, 0, 8) : `${hexText(ip, 0, start)}::${hexText(ip, start + length, 8)}`
}

/** All addresses whose first `bits` bits, counted in the IPv6 form, are those of `base`. */
interface AddressRange {
  readonly base: Ip
  /** 0 to 128; a range of IPv4 addresses has at least 96. */
  readonly bits: number
}

const prefix = /^\d{1,3}$/

/**
 * The range that `10.0.0.0/8`, `fc00::/7` or a single address names (RFC 4632, RFC 4291 §2.3); undefined for
 * anything else. Bits behind the prefix may be set and don't count. An IPv4-mapped range needs a prefix of 96 or
 * more, since a shorter one would mean IPv4 and IPv6 addresses at once.
 */
export function parseRange(text: string): AddressRange | undefined {
  const slash = text.indexOf('/')
  const base = parseIp(slash < 0 ? text : text.slice(0, slash))
  if (base === undefined) return undefined
  if (slash < 0) return { base, bits: 128 }
  const length = text.slice(slash + 1)
  if (!prefix.test(length)) return undefined
  const bits = Number(length) + (text.includes(':') ? 0 : 96)
  return bits > 128 || (isV4(base) && bits < 96) ? undefined : { base, bits }
}

/** Whether the address lies in the range. `::/0` is every IPv6 address and no IPv4 one, mapped ones included. */
export function isInRange(ip: Ip, { base, bits }: AddressRange): boolean {
  for (let at = 7; at >= 0; at--) {
    const free = Math.min(16, Math.max(0, 16 * (at + 1) - bits))
    if ((ip[at] ?? 0) >>> free !== (base[at] ?? 0) >>> free) return false
  }
  return bits >= 96 || !isV4(ip)
}

/** The peers that are believed when they say for whom they ask. */
export type TrustedProxies = readonly AddressRange[]

/** Where a request seems to come from. */
interface ClientSource {
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
export function clientAddress({ peer, forwardedFor, realIp, trusted }: ClientSource): string {
  const peerIp = hopIp(peer)
  if (peerIp === undefined) return peer || 'unknown'
  const isAlone = forwardedFor === undefined && realIp === undefined
  if (isAlone || !isTrusted(peerIp, trusted)) return ipText(peerIp)
  const hops = hopsOf(forwardedFor ?? '')
  const claimed =
    hops.length > 0 ? nearestUntrusted(hops, trusted) : hopIp((realIp ?? '').slice(0, longestRead).trim())
  return ipText(claimed ?? peerIp)
}
