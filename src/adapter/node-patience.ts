import { GatewayError } from '../errors.ts'
import { KEEP_ALIVE_S } from './node-http-answer-text.ts'

/** For how long a connection is waited for, ms. Nothing hurries a body that comes, or an answer. */
const LIMITS_MS = {
  /** The first byte of the first request. */
  start: 15_000,
  /** The rest of a head, from its first byte on. */
  head: 10_000,
  /** The next request. */
  idle: KEEP_ALIVE_S * 1_000,
  /** The client's word that it has read the last answer, while what it still sends is thrown away. */
  ending: 2_000,
  exchange: Infinity,
} as const

/** What a connection waits for. */
export type Wait = keyof typeof LIMITS_MS

/** Knows how long a connection has been waiting. Keeps no timer: with thousands of connections, one look at all. */
export interface Patience {
  readonly waitsFor: Wait
  /** A wait begins. */
  waitFor(what: Wait): void
  isOver(): boolean
}

/** `performance.now` does not jump when somebody sets the clock. */
export function createPatience(): Patience {
  let waitsFor: Wait = 'start'
  let since = performance.now()
  return {
    get waitsFor() {
      return waitsFor
    },
    waitFor(what) {
      waitsFor = what
      since = performance.now()
    },
    isOver: () => performance.now() - since >= LIMITS_MS[waitsFor],
  }
}

/** RFC 9110 §15.5.9. */
export const headTimeout = (): GatewayError =>
  new GatewayError('request_timeout', `The headers did not arrive within ${LIMITS_MS.head / 1_000} s.`)
