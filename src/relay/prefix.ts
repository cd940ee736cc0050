import type { ByteReader } from '../lib/byte-reader.ts'

/** The beginning of a body, and what can be done with the rest. */
export interface Prefix {
  readonly bytes: Uint8Array
  /** The whole body again, prefix included; undefined when the prefix is the whole body. */
  readonly rest: (() => ByteReader) | undefined
  /** Gives the rest up, so that it pins no connection. */
  readonly cancel: () => void
}

/** Reads up to `atMost` bytes of a body (a little more when the last chunk passes them). */
export async function readPrefix(reader: Uint8Array | ByteReader, atMost: number): Promise<Prefix> {
  if (reader instanceof Uint8Array) return { bytes: reader, rest: undefined, cancel: () => {} }
  const chunks: Uint8Array[] = []
  let size = 0
  while (size < atMost) {
    const { done, value } = await reader.read()
    if (done) return { bytes: joined(chunks), rest: undefined, cancel: () => {} }
    chunks.push(value)
    size += value.length
  }
  return {
    bytes: joined(chunks),
    rest: () => chained(chunks, reader),
    cancel: () => void reader.cancel().catch(() => {}),
  }
}

/** One piece of several; the piece itself when there is one. */
export function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const [only] = chunks
  if (only !== undefined && chunks.length === 1) return only
  const whole = new Uint8Array(chunks.reduce((size, { length }) => size + length, 0))
  let at = 0
  for (const chunk of chunks) {
    whole.set(chunk, at)
    at += chunk.length
  }
  return whole
}

function chained(head: readonly Uint8Array[], reader: ByteReader): ByteReader {
  const waiting = [...head]
  return {
    async read() {
      const value = waiting.shift()
      return value === undefined ? reader.read() : { done: false, value }
    },
    cancel: (reason) => reader.cancel(reason),
  }
}
