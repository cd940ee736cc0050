import { utf8Bytes } from '../bytes.ts'
import { BACKSLASH } from './walk.ts'

/** Less base64 in one string is not worth a look: as text it counts about as much as a file does. */
export const LEAST_FILE_BYTES = 4096
/** So many bytes are judged together; 16 escapes. */
const WINDOW_BYTES = 96
/** All windows of a string are looked at up to here, behind it the first one of each block. */
const HEAD_BYTES = 16 * WINDOW_BYTES
const BLOCK_BYTES = 1024

/** What base64 is made of (RFC 4648 §4, §5), and what may stand behind a backslash in it: slashes and line breaks. */
const BASE64 = new Uint8Array(256)
for (const byte of utf8Bytes('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_='))
  BASE64[byte] = 1
const ESCAPED_IN_BASE64 = new Set(utf8Bytes('/nr'))
const U = 0x75

/**
 * What the strings of a document hold that is no text: base64, and escapes that spell a character in six bytes. Of a
 * long string a tenth is looked at, always the same bytes of it, whatever pieces it comes in.
 *
 * A class, since one is made for each request.
 */
export class StringSample {
  /** Base64 in the string that is being read. */
  base64Bytes = 0
  /** Of all strings so far, in 96ths of a byte, so that nothing is rounded on the way. */
  private saved = 0
  /** From the string's opening quote on. */
  private at = 0
  /** Of the present window: whether it is all base64 so far, and what its escapes save. */
  private isBase64 = true
  private windowSaved = 0
  /** How much of an escape has been read, and the number that its digits are so far. */
  private escapeBytes = 0
  private escaped = 0

  /** By how many bytes the strings would be shorter with `\uXXXX` written as UTF-8. */
  get escapedBytes(): number {
    return Math.round(this.saved / WINDOW_BYTES)
  }

  get isInEscape(): boolean {
    return this.escapeBytes > 0
  }

  begin(): void {
    this.base64Bytes = 0
    this.at = 0
    this.escapeBytes = 0
  }

  /** Looks at the next piece of the string. */
  push(bytes: Uint8Array, start: number, end: number): void {
    for (let from = start; from < end;) {
      const isHead = this.at < HEAD_BYTES
      const block = isHead ? WINDOW_BYTES : BLOCK_BYTES
      const inBlock = (isHead ? this.at : this.at - HEAD_BYTES) % block
      if (inBlock === 0) {
        this.isBase64 = true
        this.windowSaved = 0
      }
      const isInside = inBlock < WINDOW_BYTES
      const to = Math.min(end, from + (isInside ? WINDOW_BYTES : block) - inBlock)
      if (isInside) this.look(bytes, from, to)
      else {
        // An escape that began in the window.
        for (let at = from; this.escapeBytes > 0 && at < to; at++) this.lookAt(bytes[at] ?? 0)
        this.saved += this.windowSaved * (to - from)
        if (this.isBase64) this.base64Bytes += to - from
      }
      this.at += to - from
      if (isInside && inBlock + to - from === WINDOW_BYTES && this.isBase64) this.base64Bytes += WINDOW_BYTES
      from = to
    }
  }

  private look(bytes: Uint8Array, from: number, to: number): void {
    for (let at = from; at < to; at++) {
      const byte = bytes[at] ?? 0
      if (byte === BACKSLASH || this.escapeBytes > 0) this.lookAt(byte)
      else if (BASE64[byte] === 0) this.isBase64 = false
    }
  }

  /** One byte of an escape. */
  private lookAt(byte: number): void {
    const before = this.escapeBytes
    this.escapeBytes += 1
    if (before === 0) this.escaped = 0
    else if (before === 1) {
      if (!ESCAPED_IN_BASE64.has(byte)) this.isBase64 = false
      if (byte !== U) this.escapeBytes = 0
    } else this.escaped = this.escaped * 16 + digitOf(byte)
    if (this.escapeBytes < 6) return
    this.escapeBytes = 0
    const saved = 6 - utf8Length(this.escaped)
    this.windowSaved += saved
    this.saved += saved * WINDOW_BYTES
  }
}

/** Of a hexadecimal digit; letters have their number in the low bits. */
const digitOf = (byte: number): number => (byte <= 0x39 ? byte & 15 : (byte & 15) + 9)

/** Bytes of a UTF-16 unit in UTF-8; half a surrogate pair is half of four. */
function utf8Length(unit: number): number {
  if (unit < 0x80) return 1
  return unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 2 : 3
}
