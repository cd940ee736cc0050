import type { TransportError } from '../relay/transport.ts'
import type { Silence } from './node-transport-silence.ts'

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
  /** How many bytes may be collected before the body turns into a stream. */
  readonly gatherBytes: number
  /** Called once, with the whole body or with a stream of it. */
  readonly deliver: (body: Uint8Array | ReadableStream<Uint8Array>) => void
  /** Called instead of `deliver` when the body fails while it is collected. */
  readonly refuse: (error: TransportError) => void
  readonly source: Source
  /** Told when somebody begins and ends to wait for the upstream. */
  readonly silence: Silence
}

/** With this much unread the upstream has to wait; one read of the socket (64 KB) may come on top. */
const unreadLimitBytes = 16 * 1024

/**
 * Collects a body up to `gatherBytes`, and hands a longer one over as a stream that pulls.
 *
 * The stream keeps no queue of its own: a chunk goes straight to a reader that waits, and without one it
 * waits here, until the source is told to pause.
 */
export function createIntake({ gatherBytes, deliver, refuse, source, silence }: Intake): Sink {
  let chunks: Uint8Array[] = []
  let bytes = 0
  let stream: ReadableStreamDefaultController<Uint8Array> | undefined
  let wanted = false
  let ended = false
  let failure: TransportError | undefined
  let over = false

  const drained = (to: ReadableStreamDefaultController<Uint8Array>) => {
    if (failure) {
      over = true
      to.error(failure)
    } else if (ended) {
      over = true
      to.close()
    } else source.resume()
  }

  const pull = (to: ReadableStreamDefaultController<Uint8Array>) => {
    const chunk = chunks.shift()
    if (chunk === undefined) {
      wanted = true
      silence.wait()
      return
    }
    bytes -= chunk.byteLength
    to.enqueue(chunk)
    if (chunks.length === 0 && !over) drained(to)
  }

  const cancel = () => {
    if (over) return
    over = true
    chunks = []
    source.cut()
  }

  const openStream = () => {
    silence.rest()
    if (chunks.length > 1) chunks = [joined(chunks, bytes)]
    const start = (to: ReadableStreamDefaultController<Uint8Array>) => {
      stream = to
    }
    const body = new ReadableStream<Uint8Array>({ start, pull, cancel }, { highWaterMark: 0 })
    if (bytes >= unreadLimitBytes) source.pause()
    deliver(body)
  }

  if (gatherBytes <= 0) openStream()

  return {
    data(chunk) {
      if (over || chunk.byteLength === 0) return
      if (stream && wanted) {
        wanted = false
        silence.rest()
        stream.enqueue(chunk)
        return
      }
      chunks.push(chunk)
      bytes += chunk.byteLength
      if (stream === undefined) {
        if (bytes > gatherBytes) openStream()
      } else if (bytes >= unreadLimitBytes) source.pause()
    },
    end() {
      if (over) return
      ended = true
      silence.rest()
      if (stream === undefined) {
        over = true
        deliver(joined(chunks, bytes))
      } else if (chunks.length === 0) drained(stream)
    },
    fail(error) {
      if (over) return
      failure = error
      if (stream === undefined) {
        over = true
        refuse(error)
      } else if (chunks.length === 0) drained(stream)
    },
    abort(error) {
      if (over) return
      over = true
      chunks = []
      if (stream) stream.error(error)
      else refuse(error)
    },
  }
}

function joined(chunks: readonly Uint8Array[], bytes: number): Uint8Array {
  const [first] = chunks
  if (first === undefined) return new Uint8Array(0)
  return chunks.length === 1 ? first : Buffer.concat(chunks, bytes)
}
