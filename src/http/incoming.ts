import { GatewayError } from '../errors.ts'
import type { AbortSignalLike } from '../lib/abort.ts'
import { Chunks } from '../lib/bytes.ts'
import type { Clock } from '../lib/clock.ts'
import { headerBagOf, type HeaderBag } from '../lib/headers.ts'

/** What the runtime knows of a request that came in. */
export interface IncomingRequest {
  /** Lower-case names. */
  readonly headers: HeaderBag
  /** As it stood on the wire, where the runtime has that: a parsed URL writes some bytes otherwise (`'` as `%27`). */
  readonly target?: string | undefined
  /** The address at the other end of the connection; where the platform names the client, that one. */
  readonly peer: string
  /** Aborted when the client leaves before its answer is complete. */
  readonly clientSignal: AbortSignalLike
  /**
   * Reads the whole body, in pieces; `look` sees each chunk when it comes and throws nothing. @throws
   * `request_too_large` as soon as the limit is passed, `request_timeout` after 30 s of silence, `overloaded` when all
   * bodies together take too much memory
   */
  readonly readBody: (limits: BodyLimits, look?: LookAtChunk) => Promise<readonly Uint8Array[]>
}

/** Sees a chunk of a body on its way. */
export type LookAtChunk = (chunk: Uint8Array) => void

/** What one body may cost; `memory` counts the bytes of all that are held. */
export interface BodyLimits {
  readonly maxBytes: number
  readonly memory: BufferedBytes
}

export type BufferedBytes = ReturnType<typeof createBufferedBytes>

/** The bytes of all buffered bodies together. `cap` is asked at every step, since a reload may change it. */
export function createBufferedBytes(cap: () => number) {
  let held = 0
  return {
    get held() {
      return held
    },
    /** False when `bytes` more would pass the cap; then nothing is counted. */
    reserve(bytes: number): boolean {
      if (held + bytes > cap()) return false
      held += bytes
      return true
    },
    release(bytes: number): void {
      held = Math.max(0, held - bytes)
    },
  }
}

/** How a runtime tells what it knows; `env` is what it passes to the app beside the request. */
export type Receive = (request: Request, env: unknown) => IncomingRequest

/** A client that sends nothing for this long is cut; one that makes progress never is. */
export const BODY_IDLE_TIMEOUT_MS = 30_000

/**
 * Gathers chunks of one body within its limits. `declared` is the `content-length`: a body that is too large is refused
 * at once.
 */
export function createBodyCollector(
  { maxBytes, memory }: BodyLimits,
  declared: string | undefined,
  look: LookAtChunk = () => {},
) {
  const chunks = new Chunks()
  /** RFC 9110 §15.5.14. The rest of the body is not read, so the connection can't be used again. */
  function checkSize(bytes: number): void {
    if (bytes <= maxBytes) return
    const message = `The body is larger than ${maxBytes} bytes (server.max_body).`
    throw new GatewayError('request_too_large', message, CLOSING)
  }
  if (declared !== undefined) checkSize(Number(declared))

  return {
    /** @throws GatewayError when a limit is passed */
    add(chunk: Uint8Array): void {
      if (chunk.length === 0) return
      checkSize(chunks.bytes + chunk.length)
      if (!memory.reserve(chunk.length)) throw new GatewayError('overloaded', OVERLOADED, COME_BACK)
      chunks.push(chunk)
      look(chunk)
    },
    /** Everything, given once: it is held by its taker alone. */
    take: () => chunks.take(),
    /** The bytes are no longer held. */
    drop(): void {
      memory.release(chunks.bytes)
      chunks.take()
    },
  }
}

const CLOSING = { headers: { connection: 'close' } }
/** RFC 9110 §15.6.4: the client's next connection, in a second, may reach somebody who serves it. */
export const COME_BACK = { headers: { connection: 'close', 'retry-after': '1' } }
const OVERLOADED = 'Too many request bodies are being held at once; try again in a second.'

/** RFC 9110 §15.5.9. */
export function bodyTimeout(): GatewayError {
  const message = `No data of the request body arrived for ${BODY_IDLE_TIMEOUT_MS / 1000} s.`
  return new GatewayError('request_timeout', message, CLOSING)
}

/** A body that breaks off was left by its client; the status is for the log. */
export function incompleteRequest(): GatewayError {
  return new GatewayError('client_closed_request', 'The client left before its request was complete.')
}

/** How a request arrives on any fetch runtime; `peerOf` is the one thing that each knows in its own way. */
export function createWebReceive(clock: Clock, peerOf: (request: Request, env: unknown) => string): Receive {
  return (request, env) => {
    const headers = headerBagOf(request.headers)
    return {
      headers,
      peer: peerOf(request, env),
      clientSignal: request.signal,
      async readBody(limits, look) {
        const body = createBodyCollector(limits, headers['content-length'], look)
        if (request.body === null) return body.take()
        const reader: ReadableStreamDefaultReader<Uint8Array> = request.body.getReader()
        try {
          for (;;) {
            const { done, value } = await readInTime(reader, clock)
            if (done) return body.take()
            body.add(value)
          }
        } catch (error) {
          body.drop()
          void reader.cancel().catch(() => {})
          throw error instanceof GatewayError ? error : incompleteRequest()
        }
      },
    }
  }
}

async function readInTime(reader: ReadableStreamDefaultReader<Uint8Array>, clock: Clock) {
  let cancelTimer = (): void => {}
  const idle = new Promise<never>((_resolve, reject) => {
    cancelTimer = clock.after(BODY_IDLE_TIMEOUT_MS, () => reject(bodyTimeout()))
  })
  try {
    return await Promise.race([reader.read(), idle])
  } finally {
    cancelTimer()
  }
}
