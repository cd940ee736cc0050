import { GatewayError } from '../errors.ts'
import { createBodyReader } from './node-http-body.ts'
import { createHeadGatherer, type HeadStep } from './node-http-gather.ts'
import { malformed, type ReadRequestHead, type RequestHead } from './node-http-request-head.ts'

/** What is told of the requests on one connection, in this order. */
export interface RequestEvents {
  head(head: RequestHead): void
  /** A stretch of the bytes that were pushed, or of its own. */
  data(chunk: Uint8Array): void
  /** The request is whole. */
  end(): void
}

/** Finds the requests in the bytes of one connection. */
export interface RequestReader {
  /**
   * Takes bytes from `at` on, at most to the end of one request, and returns where it stopped.
   *
   * @throws GatewayError `bad_request` or `headers_too_large`; the connection is then of no more use
   */
  push(bytes: Buffer, at: number): number
  /** A part of a head is there. */
  readonly isAmidHead: boolean
}

/** Twice Node's own limit: clients bring cookies and long tokens. */
const MOST_HEAD_BYTES = 32_768
const LIMITS = {
  mostBytes: MOST_HEAD_BYTES,
  /** A method and what may follow it. */
  isStart: (text: string): boolean => /^[A-Z][A-Z-]*(?: |$)/.test(text),
}
const CR = 0x0d
const LF = 0x0a

/** @param readHead shared by all connections: it remembers the names that are in use */
export function createRequestReader(readHead: ReadRequestHead, on: RequestEvents): RequestReader {
  const gatherer = createHeadGatherer(LIMITS)
  const body = createBodyReader(on.data, (bytes) => bytes)
  let isInBody = false

  function takeHead(bytes: Buffer, at: number): number {
    const step = gatherer.push(bytes, at)
    if (step === 'more') return bytes.length
    if (step !== 'whole') throw noHead(step)
    const head = readHead(gatherer.text)
    body.begin(head.length)
    isInBody = true
    on.head(head)
    return gatherer.bodyAt
  }

  function takeBody(bytes: Buffer, at: number): number {
    const stop = body.push(bytes, at)
    if (stop < 0) throw malformed('the chunks of its body are none')
    return stop
  }

  return {
    get isAmidHead() {
      return gatherer.isAmid
    },
    push(bytes, from) {
      let at = from
      // RFC 9112 §2.2: lines left over from a body that was longer than it said.
      if (!isInBody && !gatherer.isAmid) while (bytes[at] === CR || bytes[at] === LF) at++
      while (at < bytes.length) {
        at = isInBody ? takeBody(bytes, at) : takeHead(bytes, at)
        if (!isInBody || !body.isWhole) continue
        isInBody = false
        on.end()
        return at
      }
      return at
    },
  }
}

function noHead(step: HeadStep): GatewayError {
  if (step === 'junk') return malformed('it is no HTTP/1.1, or its lines do not end with CR and LF')
  return new GatewayError(
    'headers_too_large',
    `The request line and the headers are larger than ${MOST_HEAD_BYTES} bytes.`,
    { headers: { connection: 'close' } },
  )
}
