import { GatewayError } from '../errors.ts'
import { KEEP_ALIVE_S } from './node-http-answer-text.ts'

/** For how long a connection is waited for, ms. Nothing hurries a body that comes, or an answer. */
const LIMITS_MS: Readonly<Record<Wait, number>> = {
  /** The first byte of the first request. */
  start: 15_000,
  /** The rest of a head, from its first byte on. */
  head: 10_000,
  /** The next request. */
  idle: KEEP_ALIVE_S * 1_000,
  /** A client that is still sending, though it has its last answer, to look at it, or to fall silent. */
  ending: 2_000,
  exchange: Infinity,
}
/** However much it sends: RFC 9112 §9.6 wants it to have a chance to read the answer, and no more than that. */
const LONGEST_ENDING_MS = 30_000

/** What a connection waits for. */
export type Wait = 'start' | 'head' | 'idle' | 'ending' | 'exchange'

/** Knows how long a connection has been waiting. Keeps no timer: with thousands of connections, one look at all. */
export interface Patience {
  readonly waitsFor: Wait
  /** A wait begins. */
  waitFor(what: Wait): void
  /** Something came that is thrown away. */
  heard(): void
  isOver(): boolean
}

/** `performance.now` does not jump when somebody sets the clock. */
export function createPatience(): Patience {
  let waitsFor: Wait = 'start'
  let since = performance.now()
  let heardAt = since
  return {
    get waitsFor() {
      return waitsFor
    },
    waitFor(what) {
      waitsFor = what
      since = heardAt = performance.now()
    },
    heard() {
      heardAt = performance.now()
    },
    isOver() {
      const now = performance.now()
      if (waitsFor === 'ending' && now - since >= LONGEST_ENDING_MS) return true
      return now - heardAt >= LIMITS_MS[waitsFor]
    },
  }
}

/** RFC 9110 §15.5.9. */
export const headTimeout = (): GatewayError =>
  new GatewayError('request_timeout', `The headers did not arrive within ${LIMITS_MS.head / 1_000} s.`)
