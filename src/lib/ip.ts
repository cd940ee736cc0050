/**
 * An IP address as eight words of 16 bits.
 *
 * An IPv4 address is its IPv4-mapped IPv6 form (RFC 4291 §2.5.5.2), so `1.2.3.4` and `::ffff:1.2.3.4` are one.
 */
export type Ip = readonly number[]

const longestText = 45
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
function wordOf(digits: string): number {
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
    const word = wordOf(text.slice(at, colon < 0 ? text.length : colon))
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
  if (text.length > longestText) return undefined
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
