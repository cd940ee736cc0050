import { GatewayError } from '../errors.ts'
import type { BodyLimits } from './arrival.ts'

/** A client that sends nothing for this long is cut; one that makes progress never is. */
export const BODY_SILENCE_MS = 30_000

/** Gathers chunks of one body within its limits. */
export interface BodyCollector {
  /** @throws GatewayError when a limit is passed */
  add(chunk: Uint8Array): void
  /** Everything as one piece, given once: it is held by its taker alone. */
  whole(): Uint8Array
  /** The bytes are no longer held. */
  drop(): void
}

/** @param declared the `content-length`, where one was sent: a body that is too large is refused at once */
export function createBodyCollector(
  { maxBytes, memory }: BodyLimits,
  declared: number | undefined,
): BodyCollector {
  const chunks: Uint8Array[] = []
  let size = 0
  if (declared !== undefined && declared > maxBytes) throw tooLarge(maxBytes)

  return {
    add(chunk) {
      if (size + chunk.length > maxBytes) throw tooLarge(maxBytes)
      if (!memory.take(chunk.length)) throw overloaded()
      size += chunk.length
      chunks.push(chunk)
    },
    whole() {
      const [only] = chunks
      if (only !== undefined && chunks.length === 1) return only
      const joined = new Uint8Array(size)
      let at = 0
      for (const chunk of chunks) {
        joined.set(chunk, at)
        at += chunk.length
      }
      // Whoever holds the collector would hold a second copy.
      chunks.length = 0
      return joined
    },
    drop() {
      memory.free(size)
      size = 0
      chunks.length = 0
    },
  }
}

/** RFC 9110 §15.5.14. The rest of the body is not read, so the connection can't be used again. */
function tooLarge(maxBytes: number): GatewayError {
  return new GatewayError(
    'request_too_large',
    `The body is larger than ${maxBytes} bytes (server.max_body).`,
    {
      headers: { connection: 'close' },
    },
  )
}

function overloaded(): GatewayError {
  return new GatewayError(
    'overloaded',
    'Too many request bodies are being held at once; try again in a second.',
    {
      headers: { 'retry-after': '1', connection: 'close' },
    },
  )
}

/** RFC 9110 §15.5.9. */
export function bodyTimeout(): GatewayError {
  return new GatewayError('request_timeout', `No byte of the body arrived for ${BODY_SILENCE_MS / 1000} s.`, {
    headers: { connection: 'close' },
  })
}

/** A body that breaks off was left by its client; the status is for the log. */
export function clientGone(): GatewayError {
  return new GatewayError('client_closed_request', 'The client left before its request was complete.')
}
