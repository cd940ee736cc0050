import { errorBody } from '../errors.ts'
import { parsedJson } from '../lib/json/parse.ts'
import type { AbortSignalLike } from '../lib/abort.ts'
import type { Clock } from '../lib/clock.ts'
import {
  concatBytes,
  CR,
  createByteSearch,
  createTail,
  END,
  flowTo,
  LF,
  type ByteChunk,
  type ByteReader,
} from '../lib/bytes.ts'
import { createBoundaryTracker, createOpeningTracker } from '../lib/sse.ts'
import { encryptedKeys, itemIdIn, MOST_IDS } from '../openai/affinity-key.ts'
import { usageOf } from '../openai/usage.ts'
import type { Outcome } from '../pool/outcome.ts'
import type { Endpoint } from '../pool/upstream.ts'
import { TransportError } from '../transport/transport.ts'
import { jsonObjectOf } from '../vendors/error-body.ts'

/** How a streamed body ended. */
export type BodyEnd = Exclude<Outcome, { kind: 'failed' }>

/** What is kept on the account of an upstream alone: encrypted items by their keys, answers and items by their ids. */
export interface KeptItems {
  readonly keys: readonly string[]
  readonly ids: readonly string[]
}

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
    if (observer === undefined) return false
    observer.push(value)
    if (observer.hasSaidAll() || observer.isStalled()) return true
    if (observer.hasLastWord()) awaitLineEnds()
    return false
  }

  let stopGrace = (): void => {}
  let endFlow = (): void => {}
  /** Resolves when nothing has followed the last word. */
  let silence: Promise<ByteChunk> | undefined

  /** Some leave out the line ends behind their last word, and some the end of the body too. */
  function awaitLineEnds(): void {
    stopGrace()
    silence = new Promise((resolve) => {
      stopGrace = after(GRACE_MS, () => {
        if (isOver) return
        isOver = true
        end({ kind: 'ok' })
        void reader.cancel().catch(() => {})
        endFlow()
        resolve(END)
      })
    })
  }

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
    if (observer?.isDone() === true || observer?.hasFailed() === true) {
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
          next = await (silence === undefined ? reader.read() : Promise.race([reader.read(), silence]))
          stopGrace()
        } catch (error) {
          stopGrace()
          return chunkOf(broke(error))
        }
        if (isOver) return END
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
      endFlow = () => sink.end()
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

const CHUNKS_END = /^data:\s*\[DONE\]|"finish_reason"\s*:\s*"[^"]|"error"\s*:\s*[{"]/m
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
const END_PROMISED = /"finish_reason"\s*:\s*(null|"")/
/** Behind these nothing follows that anybody waits for, however the body ends. */
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
const searchFor = (text: string): ReturnType<typeof createByteSearch> =>
  createByteSearch(encoder.encode(text))
/** Behind so much only half of what is kept is from before. */
const LARGE_CHUNK_BYTES = 8_192
const SPACE = 0x20
const LETTER_D = 0x64

/** A line of which no event comes: a comment, a blank one, or a field that says nothing. */
const LIFELESS = /^(?::.*|(?:id|retry)(?::.*)?|(?:data|event)?:?[ \t]*)$/

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

/** The marks of a last word: the search finds a candidate, the pattern tells. */
const DONE = {
  search: searchFor('[DONE]'),
  pattern: /(?:^|[\r\n])data:[ \t]*\[DONE\][ \t]*(?:[\r\n]|$)/,
  isWhole: true,
}
const LAST_WORDS: Readonly<Partial<Record<Endpoint, readonly (typeof DONE)[]>>> = {
  chat: [DONE],
  completions: [DONE],
  // The type of the event itself: the first in its data, or, where keys are sorted, the last.
  responses: [
    DONE,
    {
      search: searchFor('response.completed'),
      pattern:
        /(?:^|[\r\n])data:[ \t]*\{(?:(?!"type")[^\r\n])*"type"\s*:\s*"response\.completed"|"type"\s*:\s*"response\.completed"\s*\}[ \t]*(?:[\r\n]|$)/,
      isWhole: false,
    },
  ],
}
/** More than a mark is long. */
const SEAM_BYTES = 32

/**
 * Looks for the last word in the chunks of a stream, which may be cut anywhere; what a model writes is not taken for it,
 * since inside a text quotes are escaped and lines do not begin.
 */
function createLastWord(words: readonly (typeof DONE)[]) {
  let isWhole = false
  /** Behind nothing of it, its text, the end of its line, or a further line end or anything else. */
  let passed: 'nothing' | 'text' | 'line' | 'all' = 'nothing'
  let isAfterCr = false

  /** What follows the mark. */
  function follow(bytes: Uint8Array): void {
    let at = 0
    if (passed === 'text') {
      const ends = [bytes.indexOf(LF), bytes.indexOf(CR)].filter((index) => index >= 0)
      if (ends.length === 0) return
      at = Math.min(...ends)
    }
    for (; at < bytes.length && passed !== 'all'; at++) {
      const isSecondHalf = isAfterCr && bytes[at] === LF
      isAfterCr = bytes[at] === CR
      if (!isSecondHalf) passed = passed === 'text' ? 'line' : 'all'
    }
  }

  return {
    /** @param before the last bytes in front of the chunk, none where it begins a line */
    push(chunk: Uint8Array, before: Uint8Array): void {
      if (passed === 'all') return
      if (passed !== 'nothing') return follow(chunk)
      const seam = before.length === 0 ? NOTHING : concatBytes([before, chunk.subarray(0, SEAM_BYTES)])
      for (const { search, pattern, isWhole: isWord } of words) {
        if (search(chunk, 0) < 0 && search(seam, 0) < 0) continue
        const bytes = before.length === 0 ? chunk : concatBytes([before, chunk])
        const text = decoder.decode(bytes)
        const found = pattern.exec(text)
        if (found === null) continue
        passed = 'text'
        isWhole = isWord
        follow(encoder.encode(text.slice(found.index + found[0].trimEnd().length)))
        return
      }
    },
    /** Whether it is there, so that nothing more has to come. */
    isThere: (): boolean => isWhole || passed === 'line' || passed === 'all',
    /** Whether all of it is there, or something behind it. */
    hasPassed: (): boolean => passed === 'all',
  }
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
  const words = isEvents ? LAST_WORDS[endpoint] : undefined
  const lastWord = words && createLastWord(words)
  const items = { keys: [] as string[], ids: [] as string[] }
  function noteItem(opening: Uint8Array): void {
    const id = itemIdIn(opening)
    if (id !== undefined && items.ids.length < MOST_IDS) items.ids.push(id)
  }
  // The last event of a response repeats all of it, and its type stands at its beginning.
  const openings = isEvents && endpoint === 'responses' ? createOpeningTracker(noteItem) : undefined
  let bytes = 0
  let last: Uint8Array = NOTHING
  /** Whether the end was told in front of a chunk that is larger than what is kept. */
  let wasFinished = false
  /** When the first of the comments came behind which there was no event. */
  let commentsSince = Infinity

  /** Whether an event stands at its end, or goes on in it. */
  function isLife(chunk: Uint8Array): boolean {
    const line = boundary?.line() ?? 'field'
    if (line === 'field' || (chunk[0] === LETTER_D && (chunk[6] ?? 0) > SPACE)) return true
    const [first = '', ...lines] = decoder.decode(chunk).split(/[\r\n]/)
    return [line === 'comment' ? '' : first, ...lines].some((text) => !LIFELESS.test(text))
  }

  /** Whether the event that has just ended says by its name that it is the last. */
  const isNamedLast = (pattern: RegExp | undefined): boolean =>
    openings !== undefined &&
    boundary?.atBoundary() === true &&
    pattern?.test(decoder.decode(openings.opening())) === true

  return {
    get bytes() {
      return bytes
    },
    push(chunk: Uint8Array): void {
      bytes += chunk.length
      if (isEvents && isLife(chunk)) commentsSince = Infinity
      else if (commentsSince === Infinity) commentsSince = now()
      lastWord?.push(chunk, boundary?.line() === 'none' ? NOTHING : tail.last(SEAM_BYTES))
      if (chunk.length > LARGE_CHUNK_BYTES)
        wasFinished ||= finished?.test(decoder.decode(tail.bytes())) === true
      tail.push(chunk)
      boundary?.push(chunk)
      openings?.push(chunk)
      last = chunk
      if (openings !== undefined) items.keys.push(...encryptedKeys(chunk))
    },
    /** What has passed of items that the account keeps: encrypted ones in one piece, see `encryptedKeys`, and ids. */
    items: items as KeptItems,
    /** Whether what passed so far ends between two events. */
    atBoundary: () => boundary?.atBoundary() === true,
    /** Whether for too long there was no event; told where one could be added. */
    isStalled: (): boolean =>
      boundary?.atBoundary() === true && commentsSince !== Infinity && now() - commentsSince > commentsMs,
    /** Whether the last word has passed, as of any framing. */
    isDone: (): boolean => lastWord?.isThere() === true || isNamedLast(COMPLETED),
    /** Whether the last event of a response has told how it failed, or why it stops. */
    hasFailed: (): boolean => isNamedLast(finished),
    /** Whether the last word is there, and not what ends its event. */
    hasLastWord: (): boolean => lastWord?.isThere() === true,
    /** Whether the last word has passed with its blank line, or something behind it. Asked for every chunk. */
    hasSaidAll(): boolean {
      // The other half of a line end may be in the next chunk.
      return last.at(-1) !== CR && (lastWord?.hasPassed() === true || isNamedLast(COMPLETED))
    },
    /** Asked at a clean end: whether the stream stopped before it was done. */
    isCutShort(): boolean {
      if (boundary === undefined || lastWord?.isThere() === true) return false
      const end = decoder.decode(tail.bytes())
      if (!boundary.atBoundary() && !isWholeLine(LAST_LINE.exec(end)?.[1])) return true
      if (finished === undefined || wasFinished || finished.test(end)) return false
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
