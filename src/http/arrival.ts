import type { AbortSignalLike } from '../lib/abort.ts'
import type { HeaderBag } from '../lib/headers.ts'

/** What the runtime knows of a request that came in. */
export interface Arrival {
  /** Lower-case names. */
  readonly headers: HeaderBag
  /**
   * The request target as it stood on the wire, where the runtime still has it. A parsed URL is not that:
   * it writes some bytes of a query otherwise (`'` as `%27`).
   */
  readonly target?: string | undefined
  /** The address at the other end of the connection; where the platform names the client, that one. */
  readonly peer: string
  /** Aborted when the client leaves before its answer is complete. */
  readonly gone: AbortSignalLike
  /**
   * Reads the whole body, counting while it reads.
   *
   * @throws GatewayError `request_too_large` as soon as the limit is passed, `request_timeout` after 30 s of
   * silence, `overloaded` when all bodies together take too much memory
   */
  readonly readBody: (limits: BodyLimits) => Promise<Uint8Array>
}

/** What one body may cost. */
export interface BodyLimits {
  readonly maxBytes: number
  /** Counts the bytes of all bodies that are held. */
  readonly memory: BufferedBytes
}

/** The bytes of all buffered bodies together. */
export interface BufferedBytes {
  /** False when `bytes` more would pass the cap; then nothing is counted. */
  take(bytes: number): boolean
  free(bytes: number): void
  readonly held: number
}

/** @param cap asked at every step, since a reload may change it */
export function createBufferedBytes(cap: () => number): BufferedBytes {
  let held = 0
  return {
    get held() {
      return held
    },
    take(bytes) {
      if (held + bytes > cap()) return false
      held += bytes
      return true
    },
    free(bytes) {
      held = Math.max(0, held - bytes)
    },
  }
}

/** How a runtime tells what it knows; `env` is what it passes to the app beside the request. */
export type Arrive = (request: Request, env: unknown) => Arrival
