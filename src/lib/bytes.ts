/*
 * lib: bytes, text and time, and nothing of the domain. No file here knows what a gateway is, and all run on every
 * runtime. What is read comes from strangers, so the work is bounded whatever it holds.
 *
 * bytes           bodies chunk by chunk, a search in bytes, a stream's last bytes, short texts
 * json/           JSON that is checked, read and changed where it stands
 * multipart       a field of a form, found and replaced; parameters of header values
 * sse             server-sent events: split into events, or only their boundaries watched
 * ip              addresses, CIDR ranges, and the client behind trusted proxies
 * time            durations and dates as servers write them, midnight in a zone
 * clock           the clocks and the timer that the core is given
 * hash            hashes to choose by and to tell apart by, comparison of secrets
 * headers, abort  the narrow forms of the runtimes' own Headers and AbortSignal
 */

/** A body that is read chunk by chunk, as a reader of a `ReadableStream` reads; costs a tenth of a stream. */
export interface ByteReader {
  /** The next chunk, or the end. One call at a time. Rejects where the body breaks. */
  read(): Promise<ByteChunk>
  /** Nobody wants the rest. */
  cancel(reason?: unknown): Promise<void>
  /** All that is still to come goes to `sink`, without a promise for each chunk. Absent where the body can't. */
  flow?(sink: ByteSink): Flow
}

/** Takes a body: any number of chunks, then its end, or the error with which it breaks. Throws nothing. */
export interface ByteSink {
  /** False = no more until `resume`. */
  chunk(value: Uint8Array): boolean
  end(): void
  fail(error: unknown): void
}

/**
 * A body on its way to a sink; `resume` goes on after a chunk that was answered with false. Ended early by the reader's
 * `cancel`, and its sink then hears no more or the end.
 */
export interface Flow {
  resume(): void
}

export type ByteChunk =
  | { readonly done: false; readonly value: Uint8Array }
  | { readonly done: true; readonly value?: Uint8Array | undefined }

export const END: ByteChunk = { done: true }

/** A body that is there already, as one chunk; none where it is empty. */
export function readerOf(body: Uint8Array | ByteReader): ByteReader {
  if (!(body instanceof Uint8Array)) return body
  const rest = body.length > 0 ? [body] : []
  return {
    async read() {
      const value = rest.pop()
      return value === undefined ? END : { done: false, value }
    },
    async cancel() {
      rest.length = 0
    },
  }
}

/** Lets a body flow, whether it can do so by itself or has to be read. */
export function flowTo(reader: ByteReader, sink: ByteSink): Flow {
  if (reader.flow !== undefined) return reader.flow(sink)
  const pull = (): void => {
    reader.read().then(
      ({ done, value }) => {
        if (done) sink.end()
        else if (sink.chunk(value)) pull()
      },
      (error: unknown) => sink.fail(error),
    )
  }
  pull()
  return { resume: pull }
}

/** The same as a stream, for runtimes that take nothing else. Pulls; keeps no queue of its own. */
export function streamOf(reader: ByteReader): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await reader.read()
        return done ? controller.close() : controller.enqueue(value)
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  )
}

/**
 * A search for the next `needle` (1 to 255 bytes) at or after `from`, −1 when there is none (Horspool 1980).
 *
 * Each window is compared from its front, so with a needle whose first byte occurs in it only once no byte
 * is looked at more than twice, whatever is searched: 25 MB take 5 to 50 ms.
 * @throws RangeError for a needle of another length
 */
export function createByteSearch(needle: Uint8Array): (bytes: Uint8Array, from: number) => number {
  const size = needle.length
  if (size < 1 || size > 255) throw new RangeError('the needle must have 1 to 255 bytes')
  const jumps = new Uint8Array(256).fill(size)
  for (const [index, byte] of needle.subarray(0, -1).entries()) jumps[byte] = size - 1 - index
  return (bytes, from) => {
    const last = bytes.length - size
    for (let at = from; at <= last; at += jumps[bytes[at + size - 1] ?? 0] ?? size) {
      if (matchesAt(bytes, at, needle)) return at
    }
    return -1
  }
}

/** Whether `needle` stands at `at`. */
function matchesAt(bytes: Uint8Array, at: number, needle: Uint8Array): boolean {
  for (let index = 0; index < needle.length; index++) {
    if (bytes[at + index] !== needle[index]) return false
  }
  return true
}

/**
 * Keeps the last `limit` bytes of a stream in a ring; `bytes` gives a copy of them. Memory grows with what has passed,
 * from 2 KiB by doubling; nothing is allocated before the first byte, and no chunk is kept alive.
 */
export function createTail(limit = 16_384) {
  let ring = new Uint8Array(0)
  let end = 0
  let kept = 0

  function grow(needed: number): void {
    let size = ring.length || 2_048
    while (size < needed) size *= 2
    const grown = new Uint8Array(Math.min(size, limit))
    // It never wraps before it has its full size, so what is kept is in order.
    grown.set(ring.subarray(0, kept))
    ring = grown
  }

  return {
    push(chunk: Uint8Array): void {
      if (ring.length < limit && kept + chunk.length > ring.length) grow(kept + chunk.length)
      const bytes = chunk.length > ring.length ? chunk.subarray(chunk.length - ring.length) : chunk
      kept = Math.min(kept + bytes.length, ring.length)
      const untilWrap = ring.length - end
      if (bytes.length <= untilWrap) {
        ring.set(bytes, end)
        end += bytes.length
      } else {
        ring.set(bytes.subarray(0, untilWrap), end)
        ring.set(bytes.subarray(untilWrap), 0)
        end = bytes.length - untilWrap
      }
    },
    /** The last `most` of them. */
    last: (most: number): Uint8Array => bytesOf(Math.min(kept, most)),
    bytes: (): Uint8Array => bytesOf(kept),
  }

  function bytesOf(length: number): Uint8Array {
    const start = end - length
    return start >= 0 ? ring.slice(start, end) : concatBytes([ring.subarray(start), ring.subarray(0, end)])
  }
}

/** Several chunks as one; the chunk itself where there is only one, so that nothing is copied. */
export function concatBytes(chunks: readonly Uint8Array[]): Uint8Array {
  if (chunks.length === 1 && chunks[0] !== undefined) return chunks[0]
  const whole = new Uint8Array(lengthOf(chunks))
  let at = 0
  for (const chunk of chunks) {
    whole.set(chunk, at)
    at += chunk.length
  }
  return whole
}

/** Chunks below this size are copied together while they wait: as objects they would take more than their bytes. */
const SMALL_CHUNK_BYTES = 1024
/** What small chunks are copied into: it grows with what has come. */
const LEAST_BLOCK_BYTES = 1024
const MOST_BLOCK_BYTES = 64 * 1024

/** Chunks that wait, in their order. They keep no memory alive that is much larger than they are. */
export class Chunks {
  /** In all of them. */
  bytes = 0
  /** Of the memory that they keep: of a view the whole buffer, of small chunks what they are copied into. */
  heldBytes = 0
  #chunks: Uint8Array[] = []
  /** The small chunks at the end are copied into it. */
  #block: Uint8Array | undefined
  #used = 0

  push(chunk: Uint8Array): void {
    const size = chunk.byteLength
    const isDense = chunk.buffer.byteLength <= 2 * size
    if (isDense && (this.#chunks.length === 0 || size >= SMALL_CHUNK_BYTES)) {
      this.#seal()
      this.#chunks.push(chunk)
      this.heldBytes += chunk.buffer.byteLength
    } else if (size >= SMALL_CHUNK_BYTES) {
      this.#seal()
      // A `slice` of Node's buffers is no copy.
      this.#chunks.push(new Uint8Array(chunk))
      this.heldBytes += size
    } else this.#copy(chunk)
    this.bytes += size
  }

  #copy(chunk: Uint8Array): void {
    let block = this.#block
    if (block === undefined || this.#used + chunk.byteLength > block.byteLength) {
      this.#seal()
      const grown = Math.min(MOST_BLOCK_BYTES, Math.max(LEAST_BLOCK_BYTES, this.bytes))
      block = new Uint8Array(Math.max(chunk.byteLength, grown))
      this.#block = block
      this.heldBytes += block.byteLength
    } else this.#chunks.pop()
    block.set(chunk, this.#used)
    this.#used += chunk.byteLength
    this.#chunks.push(block.subarray(0, this.#used))
  }

  /** Nothing more is copied into the block; one that is mostly empty becomes smaller. */
  #seal(): void {
    const block = this.#block
    if (block !== undefined && 2 * this.#used < block.byteLength) {
      this.#chunks.pop()
      this.#chunks.push(block.slice(0, this.#used))
      this.heldBytes -= block.byteLength - this.#used
    }
    this.#block = undefined
    this.#used = 0
  }

  shift(): Uint8Array | undefined {
    const chunk = this.#chunks.shift()
    if (chunk === undefined) return undefined
    if (this.#chunks.length === 0) {
      this.#block = undefined
      this.#used = 0
    }
    this.bytes -= chunk.byteLength
    this.heldBytes -= chunk.buffer.byteLength
    return chunk
  }

  /** All of them; none waits any more. */
  take(): Uint8Array[] {
    const chunks = this.#chunks
    this.#chunks = []
    this.#block = undefined
    this.#used = 0
    this.bytes = 0
    this.heldBytes = 0
    return chunks
  }
}

/** Bytes in all pieces. */
export const lengthOf = (pieces: readonly Uint8Array[]): number =>
  pieces.reduce((size, { length }) => size + length, 0)

/** The bytes from `start` up to `end` of what lies in pieces one after the other, as views. */
export function viewsOf(pieces: readonly Uint8Array[], start: number, end: number): Uint8Array[] {
  const views: Uint8Array[] = []
  let at = 0
  for (const piece of pieces) {
    const from = Math.max(0, start - at)
    const to = Math.min(piece.length, end - at)
    if (from < to) views.push(to - from === piece.length ? piece : piece.subarray(from, to))
    at += piece.length
    if (at >= end) break
  }
  return views
}

/** The same in one piece: a view where it lies in one, else a copy. */
export function bytesBetween(pieces: readonly Uint8Array[], start: number, end: number): Uint8Array {
  return concatBytes(viewsOf(pieces, start, end))
}

export const LF = 0x0a
export const CR = 0x0d

/** UTF-8's, which may stand in front of any text and is no part of it. */
export const BYTE_ORDER_MARK: readonly number[] = [0xef, 0xbb, 0xbf]

/** How much of a text is the mark in front of it. */
export const markSize = (bytes: Uint8Array): number =>
  BYTE_ORDER_MARK.every((byte, at) => bytes[at] === byte) ? BYTE_ORDER_MARK.length : 0

/** Whether there is no more yet than a beginning of one: then it may be cut. */
export const isMarkCut = (bytes: Uint8Array): boolean =>
  bytes.length < BYTE_ORDER_MARK.length && bytes.every((byte, at) => byte === BYTE_ORDER_MARK[at])

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** Up to here a loop is quicker than a call into the runtime, by five times for a word. */
const SHORT = 48

/** The text of the UTF-8 bytes from `start` to `end`; what is no UTF-8 is U+FFFD. A byte order mark stays. */
export function utf8Text(bytes: Uint8Array, start: number, end: number): string {
  if (end - start > SHORT) return decoder.decode(bytes.subarray(start, end))
  let text = ''
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0
    if (byte > 0x7f) return decoder.decode(bytes.subarray(start, end))
    text += String.fromCharCode(byte)
  }
  return text
}

/** The UTF-8 bytes of a text; half a surrogate pair is U+FFFD. */
export function utf8Bytes(text: string): Uint8Array {
  if (text.length > SHORT) return encoder.encode(text)
  const bytes = new Uint8Array(text.length)
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code > 0x7f) return encoder.encode(text)
    bytes[at] = code
  }
  return bytes
}

/** A body without the byte order mark in front of it, wherever that is cut. */
export function withoutMark(reader: ByteReader): ByteReader {
  /** Absent once the mark is behind us, or can't come any more. */
  let start: Uint8Array | undefined = new Uint8Array(0)
  function rest(chunk: Uint8Array): Uint8Array {
    if (start === undefined) return chunk
    start = concatBytes([start, chunk])
    if (isMarkCut(start)) return new Uint8Array(0)
    const bytes = start
    start = undefined
    return bytes.subarray(markSize(bytes))
  }
  return {
    async read() {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return END
        const bytes = rest(value)
        if (bytes.length > 0) return { done, value: bytes }
      }
    },
    cancel: (reason) => reader.cancel(reason),
    flow: (sink) =>
      flowTo(reader, {
        chunk(value) {
          const bytes = rest(value)
          return bytes.length === 0 || sink.chunk(bytes)
        },
        end: () => sink.end(),
        fail: (error) => sink.fail(error),
      }),
  }
}
