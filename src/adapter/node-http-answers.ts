import { createChunkFrames } from './node-http-chunks.ts'
import { CHUNKED, UNTIL_CLOSE, type AnswerHead, type ReadHead } from './node-http-head.ts'

/** What is told of the answers on one connection, in this order; informational ones are left out. */
export interface AnswerEvents {
  head(head: AnswerHead): void
  /** Bytes of its own; all of the body that came in one piece of the connection's. */
  data(chunk: Uint8Array): void
  /** The answer is whole. */
  end(isPersistent: boolean): void
}

/** Finds the answers in the bytes of one connection, one at a time. */
export interface AnswerReader {
  /** From now on the bytes are the answer to a request with this method. */
  expect(method: string): void
  /** False for junk, and for bytes that nobody expects: the connection is then of no more use. */
  push(bytes: Buffer): boolean
  /** The connection has ended in order. True where that is the end of the answer. */
  finish(): boolean
}

/** Larger than Node's 16 KB: vendors put policies, traces and cookies into their heads. */
const MOST_HEAD_BYTES = 65_536
const HEAD_END = '\r\n\r\n'
const PROTOCOL = 'HTTP/1.'

export function createAnswerReader(readHead: ReadHead, on: AnswerEvents): AnswerReader {
  const frames = createChunkFrames()
  let place: 'idle' | 'head' | 'length' | 'chunks' | 'until-close' = 'idle'
  let method = ''
  /** The bytes of a head that is not complete. */
  let early: Buffer | undefined
  let left = 0
  let isPersistent = false

  function end(): void {
    place = 'idle'
    on.end(isPersistent)
  }

  /** Reads a head from `at` on, and returns where its body begins; -1 for junk. */
  function takeHead(given: Buffer, at: number): number {
    const bytes = early === undefined ? given.subarray(at) : Buffer.concat([early, given.subarray(at)])
    const length = bytes.indexOf(HEAD_END)
    if (length < 0) {
      early = Buffer.from(bytes)
      return isEarlyHead(bytes) ? given.length : -1
    }
    const head = length > MOST_HEAD_BYTES ? undefined : readHead(bytes.toString('latin1', 0, length), method)
    const bodyAt = at + length + HEAD_END.length - (early?.length ?? 0)
    early = undefined
    if (head === undefined || head.status === 101) return -1
    if (head.status >= 200) begin(head)
    return bodyAt
  }

  function begin(head: AnswerHead): void {
    isPersistent = head.isPersistent
    left = head.length
    if (left === CHUNKED) frames.begin()
    place = left === CHUNKED ? 'chunks' : left === UNTIL_CLOSE ? 'until-close' : 'length'
    on.head(head)
    if (left === 0) end()
  }

  function takeLength(bytes: Buffer, at: number): number {
    const stop = Math.min(bytes.length, at + left)
    left -= stop - at
    on.data(Buffer.from(bytes.subarray(at, stop)))
    if (left === 0) end()
    return stop
  }

  /** All frames in these bytes as one chunk: who writes many small ones at once is not copied in that. */
  function takeChunks(bytes: Buffer, at: number): number {
    let body: Buffer | undefined
    let size = 0
    const how = frames.push(bytes, at, (from, to) => {
      body ??= Buffer.allocUnsafe(bytes.length - from)
      size += bytes.copy(body, size, from, to)
    })
    if (body !== undefined) on.data(body.subarray(0, size))
    if (how === 'junk') return -1
    if (how === 'end' && place === 'chunks') end()
    return frames.at
  }

  return {
    expect(next) {
      place = 'head'
      method = next
      early = undefined
    },
    push(bytes) {
      for (let at = 0; at < bytes.length;) {
        if (place === 'head') at = takeHead(bytes, at)
        else if (place === 'length') at = takeLength(bytes, at)
        else if (place === 'chunks') at = takeChunks(bytes, at)
        else if (place === 'idle') return false
        else {
          on.data(Buffer.from(bytes.subarray(at)))
          return true
        }
        if (at < 0) return false
      }
      return true
    },
    finish() {
      if (place !== 'until-close') return false
      end()
      return true
    },
  }
}

/** Whether more bytes can make a head of this. Lines that end without a CR never do. */
function isEarlyHead(bytes: Buffer): boolean {
  if (bytes.length > MOST_HEAD_BYTES) return false
  const start = bytes.toString('latin1', 0, PROTOCOL.length)
  return PROTOCOL.startsWith(start) && !/(?:^|[^\r])\n/.test(bytes.toString('latin1'))
}
