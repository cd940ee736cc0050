/** The bytes that give a JSON text its shape (RFC 8259 §2, §7). */
export const QUOTE = 0x22
export const BACKSLASH = 0x5c
export const COMMA = 0x2c
export const COLON = 0x3a
export const MINUS = 0x2d
export const OPEN_BRACE = 0x7b
export const CLOSE_BRACE = 0x7d
export const OPEN_BRACKET = 0x5b
export const CLOSE_BRACKET = 0x5d

/** What is wrong with a JSON text; `offset` is in bytes. The message never quotes the text. */
export class JsonSyntaxError extends Error {
  readonly kind: 'syntax' | 'utf8' | 'not-an-object' | 'too-many-duplicates'
  readonly offset: number

  constructor(kind: JsonSyntaxError['kind'], message: string, offset: number) {
    super(`${message} (byte ${offset})`)
    this.name = 'JsonSyntaxError'
    this.kind = kind
    this.offset = offset
  }
}

/** The error for something else, or nothing, at `at` where `wanted` ("a colon") has to be. */
export function syntaxError(bytes: Uint8Array, at: number, wanted: string): JsonSyntaxError {
  const found = at < bytes.length ? 'something else' : 'the end'
  return new JsonSyntaxError('syntax', `expected ${wanted}, found ${found}`, Math.min(at, bytes.length))
}
