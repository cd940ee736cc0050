import { END, type ByteChunk, type ByteReader, type ByteSink, type Flow } from '../lib/byte-reader.ts'
import type { TransportError } from '../relay/transport.ts'
import type { Silence } from './node-silence.ts'

/** What a receiver of body bytes can do to their source. */
export interface Source {
  pause(): void
  resume(): void
  /** Nobody wants the rest. */
  cut(): void
}

/** What a source of body bytes calls: any number of `data`, then one of the other two or nothing. */
export interface Sink {
  data(chunk: Uint8Array): void
  end(): void
  /** The body broke off: what came before stays readable. */
  fail(error: TransportError): void
  /** Nothing more is to be read, not even what has come. */
  abort(error: TransportError): void
}

/** What becomes of a body. */
export interface Intake {
  /** How many bytes may be collected before the body is handed over to be read. */
  readonly gatherBytes: number
  /** Called once, with the whole body or with a reader of it. */
  readonly deliver: (body: Uint8Array | ByteReader) => void
  /** Called instead of `deliver` when the body fails while it is collected. */
  readonly refuse: (error: TransportError) => void
  readonly source: Source
  /** Told when somebody begins and ends to wait for the upstream. */
  readonly silence: Silence
}

/** With this much unread the upstream has to wait; one read of the socket (64 KB) may come on top. */
const UNREAD_LIMIT_BYTES = 16 * 1024

/**
 * Collects a body up to `gatherBytes`, and hands a longer one over to be read chunk by chunk.
 *
 * A chunk goes straight to a reader that waits or to where the body flows, and without one it waits here, until the
 * source is told to pause.
 */
export function createIntake({ gatherBytes, deliver, refuse, source, silence }: Intake): Sink {
  let chunks: Uint8Array[] = []
  let bytes = 0
  let isOpen = false
  /** Who waits for the next chunk. */
  let waiting: { resolve: (chunk: ByteChunk) => void; reject: (error: TransportError) => void } | undefined
  /** Where everything goes once it flows, until it has heard of the end. */
  let sink: ByteSink | undefined
  /** Whether the sink takes no more for now. */
  let isFull = false
  let isOver = false
  let failure: TransportError | undefined

  function open(): void {
    isOpen = true
    silence.rest()
    if (bytes >= UNREAD_LIMIT_BYTES) source.pause()
    deliver({ read, cancel, flow })
  }

  function read(): Promise<ByteChunk> {
    const value = chunks.shift()
    if (value !== undefined) {
      bytes -= value.byteLength
      if (chunks.length === 0 && !isOver) source.resume()
      return Promise.resolve({ done: false, value })
    }
    if (failure !== undefined) return Promise.reject(failure)
    if (isOver) return Promise.resolve(END)
    silence.wait()
    return new Promise((resolve, reject) => {
      waiting = { resolve, reject }
    })
  }

  function flow(to: ByteSink): Flow {
    sink = to
    drain(to)
    return {
      resume() {
        isFull = false
        drain(to)
      },
    }
  }

  /** What has waited longest; undefined while `to` takes none. */
  function nextFor(to: ByteSink): Uint8Array | undefined {
    const value = sink === to && !isFull ? chunks.shift() : undefined
    bytes -= value?.byteLength ?? 0
    return value
  }

  /** What waits here goes on, and then whatever comes. */
  function drain(to: ByteSink): void {
    for (let value = nextFor(to); value !== undefined; value = nextFor(to)) isFull = !to.chunk(value)
    if (isOver) tellEnd()
    else if (!isFull) {
      silence.wait()
      source.resume()
    }
  }

  /** Once, and behind everything that waits here. */
  function tellEnd(): void {
    if (sink === undefined || isFull) return
    const told = sink
    sink = undefined
    if (failure === undefined) told.end()
    else told.fail(failure)
  }

  function pass(to: ByteSink, chunk: Uint8Array): void {
    if (to.chunk(chunk)) return
    isFull = true
    silence.rest()
    source.pause()
  }

  async function cancel(): Promise<void> {
    if (isOver) return
    isOver = true
    chunks = []
    sink = undefined
    source.cut()
    waiting?.resolve(END)
  }

  function fail(error: TransportError): void {
    isOver = true
    failure = error
    if (!isOpen) refuse(error)
    else if (sink === undefined) waiting?.reject(error)
    else tellEnd()
  }

  if (gatherBytes <= 0) open()

  return {
    data(chunk) {
      if (isOver || chunk.byteLength === 0) return
      if (sink !== undefined && !isFull) return pass(sink, chunk)
      if (waiting !== undefined) {
        const { resolve } = waiting
        waiting = undefined
        silence.rest()
        return resolve({ done: false, value: chunk })
      }
      chunks.push(chunk)
      bytes += chunk.byteLength
      if (!isOpen && bytes > gatherBytes) open()
      else if (isOpen && bytes >= UNREAD_LIMIT_BYTES) source.pause()
    },
    end() {
      if (isOver) return
      isOver = true
      silence.rest()
      if (!isOpen) deliver(joined(chunks, bytes))
      else if (sink === undefined) waiting?.resolve(END)
      else tellEnd()
    },
    fail(error) {
      if (!isOver) fail(error)
    },
    abort(error) {
      if (isOver) return
      chunks = []
      isFull = false
      fail(error)
    },
  }
}

function joined(chunks: readonly Uint8Array[], bytes: number): Uint8Array {
  const [first] = chunks
  if (first === undefined) return new Uint8Array(0)
  return chunks.length === 1 ? first : Buffer.concat(chunks, bytes)
}
