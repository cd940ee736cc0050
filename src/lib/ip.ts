/** Eight words of 16 bits. An IPv4 address is its IPv4-mapped IPv6 form (RFC 4291 §2.5.5.2). */
type Ip = readonly number[]

const longestIp = 45

/** Without leading zeros, which some read as octal. */
const octet = '(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const dottedQuad = new RegExp(`^${octet}\\.${octet}\\.${octet}\\.${octet}$`)

function parseV4(text: string): Ip | undefined {
  const match = dottedQuad.exec(text)
  if (match === null) return undefined
  const high = Number(match[1]) * 256 + Number(match[2])
  return [0, 0, 0, 0, 0, 0xffff, high, Number(match[3]) * 256 + Number(match[4])]
}

/** The words between colons; NaN for what is none. */
const hexWords = (text: string): number[] =>
  text === '' ? [] : text.split(':').map((word) => (word.length > 4 ? NaN : Number.parseInt(word, 16)))

function parseV6(text: string): Ip | undefined {
  if (!/^[\da-f:]+$/i.test(text)) return undefined
  const gap = text.indexOf('::')
  const words = hexWords(gap < 0 ? text : text.slice(0, gap))
  if (gap >= 0) {
    const tail = hexWords(text.slice(gap + 2))
    // A gap stands for one zero or more.
    do words.push(0)
    while (words.length + tail.length < 8)
    words.push(...tail)
  }
  return words.length === 8 && !words.includes(NaN) ? words : undefined
}

/**
 * The address that a text is, in any spelling of RFC 4291 §2.2 or as a dotted quad; undefined for everything else,
 * such as a port, brackets, a zone, leading zeros in IPv4.
 */
export function parseIp(text: string): Ip | undefined {
  if (text.length > longestIp) return undefined
  // Dual-stack sockets name an IPv4 peer with the prefix.
  const v4 = parseV4(text.replace(/^::ffff:/, ''))
  if (v4 !== undefined || !text.includes('.')) return v4 ?? parseV6(text)
  // `::1.2.3.4` is `::102:304`.
  const start = text.lastIndexOf(':') + 1
  const last = parseV4(text.slice(start))
  return last && parseV6(text.slice(0, start) + hexText(last, 6))
}

/** Whether it is an IPv4 address, mapped ones included. */
export function isV4(ip: Ip): boolean {
  return ip[5] === 0xffff && ip[4] === 0 && ip[3] === 0 && ip[2] === 0 && ip[1] === 0 && ip[0] === 0
}

function hexText(ip: Ip, from = 0, to = 8): string {
  let text = ''
  for (let at = from; at < to; at++) text += (at === from ? '' : ':') + (ip[at] ?? 0).toString(16)
  return text
}

/** The one spelling of an address: dotted for IPv4, else RFC 5952 (lower case, the first longest run of zeros as `::`). */
export function ipText(ip: Ip): string {
  const [, , , , , , high = 0, low = 0] = ip
  if (isV4(ip)) return `${high >>> 8}.${high & 255}.${low >>> 8}.${low & 255}`
  let start = 8
  let end = 8
  for (let at = 0, length = 0; at < 8; at++) {
    length = ip[at] === 0 ? length + 1 : 0
    if (length <= Math.max(1, end - start)) continue
    end = at + 1
    start = end - length
  }
  return start === end ? hexText(ip) : `${hexText(ip, 0, start)}::${hexText(ip, end)}`
}

/** All addresses whose first `bits` bits, counted in the IPv6 form, are those of `base`. */
interface AddressRange {
  readonly base: Ip
  /** 0 to 128; a range of IPv4 addresses has at least 96. */
  readonly bits: number
}

/**
 * The range that `10.0.0.0/8`, `fc00::/7` or a single address names (RFC 4632, RFC 4291 §2.3). Bits behind the prefix
 * don't count. An IPv4-mapped range with a prefix below 96 is none: it would mean IPv4 and IPv6 addresses at once.
 */
export function parseRange(text: string): AddressRange | undefined {
  const slash = text.indexOf('/')
  const base = parseIp(slash < 0 ? text : text.slice(0, slash))
  if (base === undefined || slash < 0) return base && { base, bits: 128 }
  const length = text.slice(slash + 1)
  const bits = Number(length) + (text.includes(':') ? 0 : 96)
  const isValid = /^\d{1,3}$/.test(length) && bits <= 128 && (bits >= 96 || !isV4(base))
  return isValid ? { base, bits } : undefined
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

interface ClientSource {
  /** The other end of the connection, as the runtime names it. */
  readonly peer: string
  /** `X-Forwarded-For`, repeated fields joined with commas. */
  readonly forwardedFor?: string | undefined
  readonly realIp?: string | undefined
  readonly trusted: TrustedProxies
}

/** Loopback (RFC 1122, RFC 4291), private (RFC 1918) and unique-local (RFC 4193) addresses. */
const privateRanges = ['127.0.0.0/8', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '::1', 'fc00::/7']

/**
 * The proxies that a list names: single addresses, CIDR ranges, and `private`.
 * @throws Error that quotes the first item that is none of these
 */
export function parseTrusted(list: readonly string[]): TrustedProxies {
  const items = list.flatMap((item) => (item.trim() === 'private' ? privateRanges : [item.trim()]))
  return items.map((item) => {
    const range = parseRange(item)
    if (range !== undefined) return range
    throw new Error(`neither an address, a CIDR range nor "private": ${JSON.stringify(item)}`)
  })
}

/** Whether a text is an address in one of the ranges. */
export function isAmong(address: string, ranges: readonly AddressRange[]): boolean {
  const ip = parseIp(address)
  return ip !== undefined && ranges.some((range) => isInRange(ip, range))
}

/** Clients who are known again, and how long their headers may be for that. */
const MOST_KNOWN = 500
const LONGEST_KNOWN = 256

/** `clientAddress` where the same clients come again and again: to read an address anew takes a microsecond. */
export function createClientAddress(
  trusted: TrustedProxies,
): (source: Omit<ClientSource, 'trusted'>) => string {
  const known = new Map<string, string>()
  return (source) => {
    const { peer, forwardedFor = '', realIp = '' } = source
    const key = forwardedFor === '' && realIp === '' ? peer : `${peer}\n${forwardedFor}\n${realIp}`
    const before = known.get(key)
    if (before !== undefined) return before
    const address = clientAddress({ ...source, trusted })
    if (known.size === MOST_KNOWN) known.clear()
    if (key.length <= LONGEST_KNOWN) known.set(key, address)
    return address
  }
}

const bracketsOrPort = /^\[([^\]]*)\](?::\d{1,5})?$|^([\d.]+):\d{1,5}$/

/** The address in a hop as proxies write them: with a port, in brackets, with a zone, which does not count. */
function hopIp(hop: string): Ip | undefined {
  const [, bracketed, dotted] = bracketsOrPort.exec(hop) ?? []
  const text = bracketed ?? dotted ?? hop
  const zone = text.indexOf('%')
  return parseIp(zone > 0 && text.includes(':') ? text.slice(0, zone) : text)
}

/** More than any honest chain of proxies needs. What stands further left is not read. */
const longestRead = 2_048

/**
 * The address that a request counts as, in one canonical spelling; never empty.
 *
 * The peer, unless it is trusted: then the right-most hop of `X-Forwarded-For` that is not trusted, or the left-most
 * when all are; without any hop there, `X-Real-IP`. A hop that is no address (`unknown`, `_hidden`, junk) ends the
 * walk: what an unnamed party claims about others can't be believed, and neither is `X-Real-IP` once there are hops.
 * A peer that is no address, such as a Unix socket's, is trusted by nobody and stays as it is, `unknown` when empty.
 */
export function clientAddress({ peer, forwardedFor = '', realIp = '', trusted }: ClientSource): string {
  const isTrusted = (ip: Ip): boolean => trusted.some((range) => isInRange(ip, range))
  const peerIp = hopIp(peer)
  if (peerIp === undefined) return peer || 'unknown'
  if (!isTrusted(peerIp)) return ipText(peerIp)
  const elements = forwardedFor.slice(-longestRead).split(',')
  if (forwardedFor.length > longestRead) elements.shift()
  // Empty elements are no hops (RFC 9110 §5.6.1.2), nor is one cut by the bound.
  const hops = elements.map((element) => element.trim()).filter((element) => element !== '')
  if (hops.length === 0) hops.push(realIp.slice(0, longestRead).trim())
  let nearest = peerIp
  for (const hop of hops.toReversed()) {
    // Each hop was written by the one to its right: believed as far as the writers are trusted.
    const ip = hopIp(hop)
    if (ip === undefined) break
    nearest = ip
    if (!isTrusted(ip)) break
  }
  return ipText(nearest)
}
