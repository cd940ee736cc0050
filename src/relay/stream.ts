import { errorBody } from '../errors.ts'
import type { AbortSignalLike } from '../lib/abort.ts'
import type { Clock } from '../lib/clock.ts'
import { concatBytes, CR, createTail, END, flowTo, type ByteChunk, type ByteReader } from '../lib/bytes.ts'
import { createBoundaryTracker, createOpeningTracker } from '../lib/sse.ts'
import { encryptedKeys } from '../openai/affinity-key.ts'
import { usageOf } from '../openai/usage.ts'
import type { Outcome } from '../pool/outcome.ts'
import type { Endpoint } from '../pool/upstream.ts'
import { TransportError } from '../transport/transport.ts'
import { jsonObjectOf, parsedJson } from '../vendors/error-body.ts'

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
  readonly after: Clock['after']
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
export function createTap({ reader, head, observer, after, clientSignal, onEnd }: TapSource): ByteReader {
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

  /**
   * @returns whether nothing more is waited for: it was the last word, or for too long there were comments alone, which
   *   are no life
   */
  function passed(value: Uint8Array): boolean {
    observer?.push(value)
    return observer !== undefined && (observer.hasSaidAll() || observer.isStalled())
  }

  let stopGrace = (): void => {}

  /** The request ends with the last word. What is left of the framing may follow, so that the connection can serve again. */
  function endWithLastWord(): Uint8Array | undefined {
    isOver = true
    if (observer?.isStalled() === true) {
      void reader.cancel().catch(() => {})
      return breakOff('upstream_timeout')
    }
    end({ kind: 'ok' })
    stopGrace = after(GRACE_MS, () => void reader.cancel().catch(() => {}))
    return undefined
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
  function broke(error: unknown): Uint8Array | undefined {
    isOver = true
    if (observer?.isDone() === true) {
      end({ kind: 'ok' })
      return undefined
    }
    const failure = error instanceof TransportError ? error.failure : 'broken'
    if (!clientSignal.aborted && failure !== 'aborted')
      return breakOff(failure === 'timeout' ? 'upstream_timeout' : 'upstream_disconnected')
    end(ABORTED)
    throw new TransportError('aborted', 'the client left')
  }

  return {
    async read() {
      if (isOver) return END
      let value = waiting.shift()
      if (value === undefined) {
        let next: ByteChunk
        try {
          next = await reader.read()
        } catch (error) {
          return chunkOf(broke(error))
        }
        if (next.done) return chunkOf(ended())
        value = next.value
      }
      if (passed(value)) {
        const word = endWithLastWord()
        if (word !== undefined) return chunkOf(concatBytes([value, word]))
        reader.read().then(({ done }) => (done ? stopGrace() : undefined), stopGrace)
      }
      return chunkOf(value)
    },
    async cancel(reason) {
      isOver = true
      end(ABORTED)
      await reader.cancel(reason).catch(() => {})
    },
    flow(sink) {
      const endWith = (lastWord: () => Uint8Array | undefined): void => {
        stopGrace()
        if (isOver) return
        try {
          const word = lastWord()
          if (word !== undefined) sink.chunk(word)
        } catch (error) {
          return sink.fail(error)
        }
        sink.end()
      }
      /** False = no more, for now or for good. */
      const take = (value: Uint8Array): boolean => {
        if (isOver) return true
        const isLast = passed(value)
        const isReady = sink.chunk(value)
        if (!isLast) return isReady
        const word = endWithLastWord()
        if (word !== undefined) sink.chunk(word)
        sink.end()
        return true
      }
      const start = () => {
        for (let first = waiting.shift(); first !== undefined; first = waiting.shift())
          if (!take(first)) return undefined
        if (isOver) return undefined
        return flowTo(reader, {
          chunk: take,
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

/** For what is left of the framing of an answer whose last word has come. */
const GRACE_MS = 100

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
/** A chunk that is not the last says so, where the last one says why it ends. */
const END_PROMISED = /"finish_reason"\s*:\s*null/
/** Behind these nothing follows that anybody waits for, however the body ends. */
const DONE = /^data:\s*\[DONE\]\s*$(?![^])/m
const COMPLETED = /^event:\s*response\.completed|"type"\s*:\s*"response\.completed"/m
/** Some upstreams leave out the blank line behind their last event, or put single line ends between all of them. */
const LAST_LINE = /(?:^|[\r\n])(?::[^\r\n]*|data: ?([^\r\n]*))[\r\n]*$/

const BREAK_MESSAGES: Readonly<Record<Break, string>> = {
  upstream_disconnected: 'The upstream disconnected in the middle of its answer.',
  upstream_timeout: 'The upstream stopped sending in the middle of its answer.',
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

const NOTHING = new Uint8Array(0)
const CLOSE_BRACKET = 0x5d
const COLON = 0x3a
/** More than `data: [DONE]` with its line ends has. */
const LAST_WORD_BYTES = 64

/** Whether a chunk that begins with one holds nothing but comments. */
const isComments = (chunk: Uint8Array): boolean => /^(:[^\r\n]*|[\r\n])*$/.test(decoder.decode(chunk))

/** Whether the data of a last line is all of an event: undefined is a comment, which is nothing. */
function isWholeLine(data: string | undefined): boolean {
  return data !== undefined && (data.trim() === '[DONE]' || jsonObjectOf(parsedJson(data)) !== undefined)
}

type BodyObserver = ReturnType<typeof createBodyObserver>

/** How a body goes, as far as it is known when it begins. */
interface BodyForm {
  readonly isEvents: boolean
  /** See `UpstreamResponse`. */
  readonly isEndSure: boolean
  readonly now: Clock['now']
  /** How long there may be nothing but comments, ms. */
  readonly commentsMs: number
}

/**
 * Looks at a passing body, and changes none of it: where its events end, how it ends, what it has cost.
 *
 * A stream of chat chunks or Responses events says that it is done; a clean end without that word is a break that a
 * proxy, or a runtime that hides resets, has made look clean. Only where no chunk speaks of an end, and the framing tells
 * it, it is one. Where another body is cut is not for us to tell.
 */
export function createBodyObserver(endpoint: Endpoint, { isEvents, isEndSure, now, commentsMs }: BodyForm) {
  const tail = createTail()
  const boundary = isEvents ? createBoundaryTracker() : undefined
  const finished = FINISHED[endpoint]
  // The last event of a response repeats all of it, and its type stands at its beginning.
  const openings = isEvents && endpoint === 'responses' ? createOpeningTracker() : undefined
  let bytes = 0
  let last: Uint8Array = NOTHING
  /** When the first of the comments came behind which there was no event. */
  let commentsSince = Infinity
  const itemKeys: string[] = []
  const isDone = (): boolean => {
    if (!isEvents || finished === undefined) return false
    if (
      openings !== undefined &&
      boundary?.atBoundary() === true &&
      COMPLETED.test(decoder.decode(openings.opening()))
    )
      return true
    return DONE.test(decoder.decode(tail.last(LAST_WORD_BYTES)))
  }
  return {
    get bytes() {
      return bytes
    },
    push(chunk: Uint8Array): void {
      bytes += chunk.length
      tail.push(chunk)
      boundary?.push(chunk)
      openings?.push(chunk)
      last = chunk
      if (chunk[0] !== COLON || !isEvents || !isComments(chunk)) commentsSince = Infinity
      else if (commentsSince === Infinity) commentsSince = now()
      if (openings !== undefined) itemKeys.push(...encryptedKeys(chunk))
    },
    /** Keys of the encrypted items that have passed in one piece; see `encryptedKeys`. */
    itemKeys: itemKeys as readonly string[],
    /** Whether what passed so far ends between two events. */
    atBoundary: () => boundary?.atBoundary() === true,
    /** Whether for too long there was nothing but comments. */
    isStalled: (): boolean => commentsSince !== Infinity && now() - commentsSince > commentsMs,
    /** Whether the last word has passed, as of any framing. */
    isDone,
    /** The same, with its blank line. Asked for every chunk. */
    hasSaidAll(): boolean {
      if (finished === undefined || boundary?.atBoundary() !== true) return false
      // The other half of a line end may be in the next chunk.
      if (last.at(-1) === CR) return false
      // Most chunks end in an event of another kind: one byte tells.
      const end = last.at(-2) === CR ? last.at(-5) : last.at(-3)
      return (openings !== undefined || end === CLOSE_BRACKET || last.length < 6) && isDone()
    },
    /** Asked at a clean end: whether the stream stopped before it was done. */
    isCutShort(): boolean {
      if (boundary === undefined) return false
      const end = decoder.decode(tail.bytes())
      if (!boundary.atBoundary() && !isWholeLine(LAST_LINE.exec(end)?.[1])) return true
      if (finished === undefined || finished.test(end)) return false
      // Who sends chunks without a word of how they end, ends like that.
      if (openings === undefined && isEndSure && !END_PROMISED.test(end)) return false
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
