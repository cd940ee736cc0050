import { isV4, parseIp, type Ip } from './ip.ts'

/** All addresses whose first `bits` bits, counted in the IPv6 form, are those of `base`. */
export interface AddressRange {
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
