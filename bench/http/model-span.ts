const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a
const SPACE = 0x20
/** Strings up to this long are read byte by byte; for longer ones the native search is worth its call. */
const SHORT_BYTES = 32
const KEY = Buffer.from('"model"')

/**
 * Where the value of an object's own `model` stands, with its quotes: `[from, to)`; undefined where the bytes do
 * not hold it, or it is no string.
 *
 * As little as finds it: depth is counted, strings are skipped, the first one wins, and nobody asks whether the rest
 * is JSON.
 */
export function modelSpan(bytes: Buffer): readonly [number, number] | undefined {
  let depth = 0
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]
    if (byte === QUOTE) {
      const end = stringEnd(bytes, at)
      if (end < 0) return undefined
      const value = depth === 1 && isKey(bytes, at, end) ? valueStart(bytes, end) : -1
      if (value >= 0) return spanFrom(bytes, value)
      at = end - 1
    } else if (byte === 0x7b || byte === 0x5b) depth += 1
    else if (byte === 0x7d || byte === 0x5d) depth -= 1
  }
  return undefined
}

function isKey(bytes: Buffer, from: number, to: number): boolean {
  return to - from === KEY.length && KEY.compare(bytes, from, to) === 0
}

/** The first byte behind the colon and its blanks; -1 where no colon follows: then the string was a value. */
function valueStart(bytes: Buffer, from: number): number {
  const colon = skipBlanks(bytes, from)
  return bytes[colon] === COLON ? skipBlanks(bytes, colon + 1) : -1
}

function spanFrom(bytes: Buffer, from: number): readonly [number, number] | undefined {
  const to = bytes[from] === QUOTE ? stringEnd(bytes, from) : -1
  return to < 0 ? undefined : [from, to]
}

function skipBlanks(bytes: Buffer, from: number): number {
  let at = from
  while (at < bytes.length && bytes[at]! <= SPACE) at += 1
  return at
}

/** Behind the closing quote of the string whose opening quote stands at `from`; -1 where it doesn't end. */
function stringEnd(bytes: Buffer, from: number): number {
  let at = from + 1
  const near = Math.min(bytes.length, at + SHORT_BYTES)
  while (at < near) {
    const byte = bytes[at]
    if (byte === QUOTE) return at + 1
    at += byte === BACKSLASH ? 2 : 1
  }
  for (;;) {
    const quote = bytes.indexOf(QUOTE, at)
    if (quote < 0) return -1
    let slashes = 0
    while (quote - slashes > at && bytes[quote - slashes - 1] === BACKSLASH) slashes += 1
    if (slashes % 2 === 0) return quote + 1
    at = quote + 1
  }
}
