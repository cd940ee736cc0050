import { errorBody } from '../errors.ts'
import type { AbortSignalLike } from '../lib/abort.ts'
import { createTail, END, flowTo, type ByteChunk, type ByteReader } from '../lib/bytes.ts'
import { createBoundaryTracker, createOpeningTracker } from '../lib/sse.ts'
import { usageOf } from '../openai/usage.ts'
import type { Outcome } from '../pool/outcome.ts'
import type { Endpoint } from '../pool/upstream.ts'
import { TransportError } from '../transport/transport.ts'

/** How a streamed body ended. */
export type BodyEnd = Exclude<Outcome, { kind: 'failed' }>

/** How an upstream broke off in the middle of one. */
type Break = Extract<Outcome, { kind: 'broken' }>['code']

/** A body to be passed on. */
interface TapSource {
  readonly reader: ByteReader
  /** What was read before the commit point. */
  readonly head: readonly Uint8Array[]
  /** Absent where nobody asks what passes: every break then resets the connection. */
  readonly observer?: BodyObserver
  /** Aborted when the client leaves: that ends the body, also when nobody reads it any more. */
  readonly clientSignal: AbortSignalLike
  /** Called once, when the body has ended in any way. */
  readonly onEnd: (end: BodyEnd) => void
}

const ABORTED: BodyEnd = { kind: 'aborted', sent: true }

/**
 * The same bytes, chunk by chunk, and one call at the end.
 *
 * Keeps nothing back: a client that does not read stops the upstream. A break between two events of an event
 * stream adds one error event and ends cleanly; any other break rejects, which resets the connection, so that
 * half an event is never taken for a whole one. Never adds a `[DONE]`.
 */
export function createTap({ reader, head, observer, clientSignal, onEnd }: TapSource): ByteReader {
  const waiting = [...head]
  let hasEnded = false
  let isOver = false

  function end(how: BodyEnd): void {
    if (hasEnded) return
    hasEnded = true
    clientSignal.removeEventListener('abort', onClientAbort)
    onEnd(how)
  }
  const onClientAbort = (): void => end(ABORTED)
  clientSignal.addEventListener('abort', onClientAbort)

  function passed(value: Uint8Array): Uint8Array {
    observer?.push(value)
    return value
  }

  /** @throws TransportError where no event can tell of it */
  function breakOff(code: Break): Uint8Array {
    end({ kind: 'broken', code })
    if (observer?.atBoundary() !== true) throw new TransportError('broken', 'the upstream broke off')
    return observer.errorEvent(code)
  }

  /** Our own last word at the end of the upstream's; mostly there is none. */
  function ended(): Uint8Array | undefined {
    isOver = true
    if (observer?.isCutShort() === true) return breakOff('upstream_disconnected')
    end({ kind: 'ok' })
    return undefined
  }

  /** The same where the upstream broke off. */
  function broke(error: unknown): Uint8Array {
    isOver = true
    const failure = error instanceof TransportError ? error.failure : 'broken'
    if (!clientSignal.aborted && failure !== 'aborted')
      return breakOff(failure === 'timeout' ? 'upstream_timeout' : 'upstream_disconnected')
    end(ABORTED)
    throw new TransportError('aborted', 'the client left')
  }

  return {
    async read() {
      if (isOver) return END
      const first = waiting.shift()
      if (first !== undefined) return chunkOf(passed(first))
      let next: ByteChunk
      try {
        next = await reader.read()
      } catch (error) {
        return chunkOf(broke(error))
      }
      return chunkOf(next.done ? ended() : passed(next.value))
    },
    async cancel(reason) {
      isOver = true
      end(ABORTED)
      await reader.cancel(reason).catch(() => {})
    },
    flow(sink) {
      const endWith = (lastWord: () => Uint8Array | undefined): void => {
        if (isOver) return
        try {
          const word = lastWord()
          if (word !== undefined) sink.chunk(word)
        } catch (error) {
          return sink.fail(error)
        }
        sink.end()
      }
      const start = () => {
        for (let first = waiting.shift(); first !== undefined; first = waiting.shift())
          if (!sink.chunk(passed(first))) return undefined
        return flowTo(reader, {
          chunk: (value) => sink.chunk(passed(value)),
          end: () => endWith(ended),
          fail: (error) => endWith(() => broke(error)),
        })
      }
      let inner = start()
      return {
        resume() {
          if (inner === undefined) inner = start()
          else inner.resume()
        },
      }
    },
  }
}

const chunkOf = (value: Uint8Array | undefined): ByteChunk =>
  value === undefined ? END : { done: false, value }

const CHUNKS_END = /^data:\s*\[DONE\]|"finish_reason"\s*:\s*"|"error"\s*:\s*[{"]/m
/**
 * What the last events of a finished stream hold, for the endpoints that have such a mark. Inside a text the quotes
 * are escaped and lines do not begin, so that what a model writes is not taken for it.
 */
const FINISHED: Readonly<Partial<Record<Endpoint, RegExp>>> = {
  chat: CHUNKS_END,
  completions: CHUNKS_END,
  responses:
    /^data:\s*\[DONE\]|^event:\s*(error|response\.(completed|incomplete|failed|cancelled))|"type"\s*:\s*"(error|response\.(completed|incomplete|failed|cancelled))"/m,
}
/** Some upstreams leave out the blank line behind their last word. */
const LAST_WORD = /^data:\s*\[DONE\]\s*$(?![^])/m

const BREAK_MESSAGES: Readonly<Record<Break, string>> = {
  upstream_disconnected: 'The upstream disconnected in the middle of its answer.',
  upstream_timeout: 'The upstream stopped sending in the middle of its answer.',
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

type BodyObserver = ReturnType<typeof createBodyObserver>

/**
 * Looks at a passing body, and changes none of it: where its events end, how it ends, what it has cost.
 *
 * A stream of chat chunks or Responses events says that it is done; a clean end without that word is a break that a
 * proxy, or a runtime that hides resets, has made look clean. Where another body is cut is not for us to tell.
 */
export function createBodyObserver(endpoint: Endpoint, isEvents: boolean) {
  const tail = createTail()
  const boundary = isEvents ? createBoundaryTracker() : undefined
  // The last event of a response repeats all of it, and its type stands at its beginning.
  const openings = isEvents && endpoint === 'responses' ? createOpeningTracker() : undefined
  let bytes = 0
  return {
    get bytes() {
      return bytes
    },
    push(chunk: Uint8Array): void {
      bytes += chunk.length
      tail.push(chunk)
      boundary?.push(chunk)
      openings?.push(chunk)
    },
    /** Whether what passed so far ends between two events. */
    atBoundary: () => boundary?.atBoundary() === true,
    /** Asked at a clean end: whether the stream stopped before it was done. */
    isCutShort(): boolean {
      if (boundary === undefined) return false
      const end = decoder.decode(tail.bytes())
      if (!boundary.atBoundary()) return !LAST_WORD.test(end)
      const finished = FINISHED[endpoint]
      if (finished === undefined || finished.test(end)) return false
      return openings === undefined || !finished.test(decoder.decode(openings.opening()))
    },
    /** The event that tells a client of a break. */
    errorEvent(code: Break): Uint8Array {
      const body = errorBody(code, BREAK_MESSAGES[code])
      const named = endpoint === 'responses' ? 'event: error\n' : ''
      return encoder.encode(`${named}data: ${JSON.stringify(body)}\n\n`)
    },
    /** From the last bytes; undefined when they did not say. */
    usage: () => usageOf(tail.bytes()),
  }
}
