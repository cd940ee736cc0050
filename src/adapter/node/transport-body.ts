/**
 * From the chunks of an answer to its body: decoded where the upstream encoded it, whole where it is small, and
 * otherwise read chunk by chunk, with the upstream held back while nobody reads.
 */
import type { Transform } from 'node:stream'
import * as zlib from 'node:zlib'
import { Chunks, concatBytes, END } from '../../lib/bytes.ts'
import type { ByteChunk, ByteReader, ByteSink, Flow } from '../../lib/bytes.ts'
import { type HeaderBag, withoutCoding } from '../../lib/headers.ts'
import {
  TransportError,
  UNDECODABLE,
  type UpstreamRequest,
  type UpstreamResponse,
} from '../../transport/transport.ts'
import type { IdleTimeout } from './timers.ts'

/** What a receiver of body bytes can do to their source. */
export interface BodySource {
  pause(): void
  resume(): void
  /** Nobody wants the rest. */
  cut(): void
}

/** What a source of body bytes calls: any number of `data`, then one of the other two or nothing. */
export interface BodySink {
  data(chunk: Uint8Array): void
  end(): void
  /** The body broke off: what came before stays readable, unless it was aborted. */
  fail(error: TransportError): void
}

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

/**
 * The sink for the body of an answer. It resolves the answer when its body is there or worth streaming.
 *
 * @throws TransportError where the coding is unknown
 */
export function receiveBody(answer: StartedAnswer): BodySink {
  const { request, status, headers } = answer
  const gatherBytes = request.gatherBytes(status, headers)
  const coding = headers['content-encoding']?.trim().toLowerCase() ?? ''
  if (coding === '')
    return createBodyBuffer(answer, Number(headers['content-length']) > gatherBytes ? 0 : gatherBytes)
  const plain = { ...answer, headers: withoutCoding(headers) }
  // A word that is no coding (`utf-8`, `aws-chunked`) is a slip: the bytes are what they are.
  if (!CODINGS.has(coding)) return createBodyBuffer(plain, gatherBytes)
  return createDecoder(coding, answer.source, (source) => createBodyBuffer({ ...plain, source }, gatherBytes))
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

/** The first bytes tell the two things apart that are sent as `deflate`. */
type MakeDecoder = (first: Uint8Array) => Transform

/** Node has it from 22.15 on, and the types of Node 20 do not know it. */
const { createZstdDecompress } = zlib as { createZstdDecompress?: () => Transform }

const DECODERS: Readonly<Record<string, MakeDecoder>> = {
  gzip: () => zlib.createGunzip(),
  'x-gzip': () => zlib.createGunzip(),
  // RFC 9110 §8.4.1.2 means zlib by it; some servers send it without zlib's header.
  deflate: (first) => (((first[0] ?? 0) & 0x0f) === 8 ? zlib.createInflate() : zlib.createInflateRaw()),
  br: () => zlib.createBrotliDecompress(),
  ...(createZstdDecompress && { zstd: () => createZstdDecompress() }),
}

/** RFC 1952 §2.3.1. */
const GZIP_MAGIC = 0x1f

/** Codings there are (RFC 9110 §18.6), known here or not. */
const CODINGS: ReadonlySet<string> = new Set([
  ...Object.keys(DECODERS),
  'zstd',
  'compress',
  'x-compress',
  'dcb',
  'dcz',
])

/**
 * A sink that decodes what it gets; `to` makes the sink behind it from the source that it has to steer.
 *
 * Memory stays bounded: the decoder waits for the sink behind it, and the source for the decoder.
 *
 * What is called gzip and begins as text is taken as it is.
 *
 * @throws TransportError where the coding can't be undone
 */
function createDecoder(coding: string, source: BodySource, to: (source: BodySource) => BodySink): BodySink {
  const make = Object.hasOwn(DECODERS, coding) ? DECODERS[coding] : undefined
  if (make === undefined)
    throw new TransportError('undecodable', 'the content encoding is unknown', UNDECODABLE)
  let decoder: Transform | undefined
  let isPlain = false

  const sink = to({
    pause: () => (isPlain ? source.pause() : decoder?.pause()),
    resume: () => (isPlain ? source.resume() : decoder?.resume()),
    cut: () => {
      decoder?.destroy()
      source.cut()
    },
  })

  const start = (first: Uint8Array): Transform =>
    make(first)
      .on('data', (chunk: Uint8Array) => sink.data(chunk))
      .on('drain', () => source.resume())
      .on('end', () => sink.end())
      .on('error', () => {
        sink.fail(new TransportError('undecodable', `the body is not valid ${coding}`, UNDECODABLE))
        source.cut()
      })

  return {
    data(chunk) {
      if (decoder === undefined) isPlain ||= coding.endsWith('gzip') && chunk[0] !== GZIP_MAGIC
      if (isPlain) return sink.data(chunk)
      decoder ??= start(chunk)
      if (!decoder.destroyed && !decoder.write(chunk)) source.pause()
    },
    end() {
      // Nothing at all is a body without a coding.
      if (decoder === undefined) sink.end()
      else decoder.end()
    },
    fail(error) {
      decoder?.destroy()
      sink.fail(error)
    },
  }
}
