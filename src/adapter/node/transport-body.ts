/**
 * From the chunks of an answer to its body: decoded where the upstream encoded it, whole where it is small, and
 * otherwise read chunk by chunk, with the upstream held back while nobody reads.
 */
import { Chunks, concatBytes, END } from '../../lib/bytes.ts'
import type { ByteChunk, ByteReader, ByteSink, Flow } from '../../lib/bytes.ts'
import { type HeaderBag, withoutCoding } from '../../lib/headers.ts'
import {
  codingsOfAnswer,
  TransportError,
  UNDECODABLE,
  type UpstreamRequest,
  type UpstreamResponse,
} from '../../transport/transport.ts'
import { createDecoder, type BodySink, type BodySource } from './decoder.ts'
import type { IdleTimeout } from './timers.ts'

/** An answer whose headers have come, and who waits for it. */
interface StartedAnswer {
  readonly request: UpstreamRequest
  readonly status: number
  readonly headers: HeaderBag
  /** See `UpstreamResponse`. */
  readonly isEndSure: boolean
  readonly source: BodySource
  /** Told when somebody begins and ends to wait for the upstream. */
  readonly idleTimeout: IdleTimeout
  readonly resolve: (response: UpstreamResponse) => void
  readonly reject: (error: TransportError) => void
}

/** With this much unread the upstream has to wait; one read of the socket (64 KB) may come on top. */
const UNREAD_LIMIT_BYTES = 16 * 1024

/** The sink for the body of an answer. It resolves the answer when its body is there or worth streaming. */
export function receiveBody(answer: StartedAnswer): BodySink {
  const { request, status, headers } = answer
  const gatherBytes = request.gatherBytes(status, headers)
  if (headers['content-encoding'] === undefined)
    return createBodyBuffer(answer, Number(headers['content-length']) > gatherBytes ? 0 : gatherBytes)
  return decodedBody(codingsOfAnswer(headers), { ...answer, headers: withoutCoding(headers) }, gatherBytes)
}

/** A decoder for each coding, the outermost first. */
function decodedBody(codings: readonly string[], answer: StartedAnswer, gatherBytes: number): BodySink {
  const coding = codings.at(-1)
  if (coding === undefined) return createBodyBuffer(answer, gatherBytes)
  return createDecoder(coding, answer.source, {
    to: (source) => decodedBody(codings.slice(0, -1), { ...answer, source }, gatherBytes),
    invalid: () => new TransportError('undecodable', `the body is not valid ${coding}`, UNDECODABLE),
    isLenient: true,
  })
}

/**
 * Collects a body up to `gatherBytes`, and hands a longer one over to be read chunk by chunk.
 *
 * A chunk goes straight to where the body flows or to who reads it, and without one it waits here, until the source is
 * told to pause.
 */
function createBodyBuffer(answer: StartedAnswer, gatherBytes: number): BodySink {
  const { request, status, headers, source, idleTimeout, resolve, reject } = answer
  const isEndSure = answer.isEndSure
  const unread = new Chunks()
  let isOpen = false
  /** Where everything goes, until it has heard of the end. */
  let sink: ByteSink | undefined
  /** Whether the sink takes no more for now. */
  let isFull = false
  let isOver = false
  let failure: TransportError | undefined

  function open(): void {
    isOpen = true
    idleTimeout.disarm()
    if (unread.bytes >= UNREAD_LIMIT_BYTES) source.pause()
    resolve({ status, headers, isEndSure, body: { read, cancel, flow } satisfies ByteReader })
  }

  /** Flows for one chunk. */
  function read(): Promise<ByteChunk> {
    return new Promise((resolve, reject) => {
      flow({
        chunk(value) {
          resolve({ done: false, value })
          return false
        },
        end: () => resolve(END),
        fail: reject,
      })
    })
  }

  function flow(to: ByteSink): Flow {
    sink = to
    const resume = (): void => {
      isFull = false
      drain()
    }
    resume()
    return { resume }
  }

  /** What waits here goes on, and then whatever comes. */
  function drain(): void {
    const next = () => (isFull ? undefined : unread.shift())
    for (let value = next(); value !== undefined; value = next()) isFull = sink?.chunk(value) === false
    if (isOver) return tellEnd()
    if (isFull) return
    idleTimeout.arm()
    source.resume()
  }

  /** Once, and behind everything that waits here. */
  function tellEnd(): void {
    if (sink === undefined || isFull) return
    const receiver = sink
    sink = undefined
    if (failure === undefined) receiver.end()
    else receiver.fail(failure)
  }

  async function cancel(): Promise<void> {
    if (isOver) return
    isOver = true
    unread.take()
    source.cut()
    isFull = false
    tellEnd()
  }

  function fail(error: TransportError): void {
    if (isOver) return
    isOver = true
    failure = error
    if (error.failure === 'aborted') {
      unread.take()
      isFull = false
    }
    if (isOpen) tellEnd()
    else reject(error)
  }

  if (gatherBytes <= 0) open()

  return {
    data(chunk) {
      if (isOver || chunk.byteLength === 0) return
      if (sink !== undefined && !isFull) {
        if (sink.chunk(chunk)) return
        isFull = true
        idleTimeout.disarm()
        source.pause()
        return
      }
      unread.push(chunk)
      if (!isOpen && (unread.bytes > gatherBytes || request.onGathered?.(chunk) === false)) open()
      else if (isOpen && unread.bytes >= UNREAD_LIMIT_BYTES) source.pause()
    },
    end() {
      if (isOver) return
      isOver = true
      idleTimeout.disarm()
      if (isOpen) tellEnd()
      else resolve({ status, headers, isEndSure, body: concatBytes(unread.take()) })
    },
    fail,
  }
}
