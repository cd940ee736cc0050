import { errorBody, type ErrorCode } from '../errors.ts'
import { createBoundaryTracker } from '../lib/sse-boundary.ts'
import { createOpeningTracker } from '../lib/sse-opening.ts'
import { createTail } from '../lib/tail.ts'
import { usageOf, type Usage } from '../lib/usage.ts'
import type { Endpoint } from '../pool/vocabulary.ts'
import type { Watch } from './tap.ts'

/** Looks at a passing event stream: where its events end, how it ends, what it has cost. */
export interface StreamWatch extends Watch {
  /** From the last events; undefined when they did not say. */
  usage(): Usage | undefined
  /** All bytes that passed. */
  readonly bytes: number
}

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

const MESSAGES = {
  upstream_disconnected: 'The upstream broke off in the middle of its answer.',
  upstream_timeout: 'The upstream fell silent in the middle of its answer.',
} as const satisfies Partial<Record<ErrorCode, string>>

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/**
 * A stream of chat chunks or Responses events says that it is done; a clean end without that word is a break
 * that a proxy, or a runtime that hides resets, has made look clean.
 */
export function createStreamWatch(endpoint: Endpoint): StreamWatch {
  const boundary = createBoundaryTracker()
  const tail = createTail()
  // The last event of a response repeats all of it, and its type stands at its beginning.
  const openings = endpoint === 'responses' ? createOpeningTracker() : undefined
  let bytes = 0
  return {
    get bytes() {
      return bytes
    },
    push(chunk) {
      bytes += chunk.length
      boundary.push(chunk)
      tail.push(chunk)
      openings?.push(chunk)
    },
    atBoundary: boundary.atBoundary,
    isCutShort() {
      const end = decoder.decode(tail.bytes())
      if (!boundary.atBoundary()) return !LAST_WORD.test(end)
      const finished = FINISHED[endpoint]
      if (finished === undefined || finished.test(end)) return false
      return openings === undefined || !finished.test(decoder.decode(openings.opening()))
    },
    usage: () => usageOf(tail.bytes()),
    errorEvent(code) {
      const body = errorBody(code, MESSAGES[code])
      const named = endpoint === 'responses' ? 'event: error\n' : ''
      return encoder.encode(`${named}data: ${JSON.stringify(body)}\n\n`)
    },
  }
}

/** Looks at a passing body that is no event stream: what it has cost. Where it is cut is not for us to tell. */
export function createBodyWatch(): StreamWatch {
  const tail = createTail()
  let bytes = 0
  return {
    get bytes() {
      return bytes
    },
    push(chunk) {
      bytes += chunk.length
      tail.push(chunk)
    },
    atBoundary: () => false,
    isCutShort: () => false,
    usage: () => usageOf(tail.bytes()),
    errorEvent: () => new Uint8Array(0),
  }
}
