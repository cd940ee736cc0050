import { createBodyReader } from './node-http-body.ts'
import { createHeadGatherer } from './node-http-gather.ts'
import type { AnswerHead, ReadHead } from './node-http-head.ts'

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

const PROTOCOL = 'HTTP/1.'
const LIMITS = {
  /** Larger than Node's 16 KB: vendors put policies, traces and cookies into their heads. */
  mostBytes: 65_536,
  isStart: (text: string): boolean => text.startsWith(PROTOCOL) || PROTOCOL.startsWith(text),
}

export function createAnswerReader(readHead: ReadHead, on: AnswerEvents): AnswerReader {
  const gatherer = createHeadGatherer(LIMITS)
  const body = createBodyReader(on.data, (bytes) => Buffer.from(bytes))
  let place: 'idle' | 'head' | 'body' = 'idle'
  let method = ''
  let isPersistent = false

  function end(): void {
    place = 'idle'
    on.end(isPersistent)
  }

  /** Reads a head from `at` on, and returns where its body begins; -1 for junk. */
  function takeHead(bytes: Buffer, at: number): number {
    const step = gatherer.push(bytes, at)
    if (step === 'more') return bytes.length
    const head = step === 'whole' ? readHead(gatherer.text, method) : undefined
    if (head === undefined || head.status === 101) return -1
    // What is told may lead to the next request.
    const { bodyAt } = gatherer
    if (head.status >= 200) begin(head)
    return bodyAt
  }

  function begin(head: AnswerHead): void {
    isPersistent = head.isPersistent
    body.begin(head.length)
    place = 'body'
    on.head(head)
    if (body.isWhole) end()
  }

  function takeBody(bytes: Buffer, at: number): number {
    const stop = body.push(bytes, at)
    if (body.isWhole && place === 'body') end()
    return stop
  }

  return {
    expect(next) {
      place = 'head'
      method = next
      gatherer.drop()
    },
    push(bytes) {
      for (let at = 0; at < bytes.length;) {
        if (place === 'idle') return false
        at = place === 'head' ? takeHead(bytes, at) : takeBody(bytes, at)
        if (at < 0) return false
      }
      return true
    },
    finish() {
      if (place !== 'body' || !body.finish()) return false
      end()
      return true
    },
  }
}
