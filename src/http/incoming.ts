import { GatewayError } from '../errors.ts'
import type { AbortSignalLike } from '../lib/abort.ts'
import { Chunks, type ByteReader } from '../lib/bytes.ts'
import type { Clock } from '../lib/clock.ts'
import { headerBagOf, type HeaderBag } from '../lib/headers.ts'
import { invalidEncoding, webDecoders, type DecodeBody } from './content-coding.ts'

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
  /** The content codings that this runtime undoes: the names of RFC 9110 §8.4.1, `br` and `zstd`. */
  readonly codings: readonly string[]
  /**
   * Reads the whole body. @throws `request_too_large` as soon as the limit is passed, `request_timeout` after 30 s of
   * silence, `invalid_encoding` where it can't be decoded, `overloaded` when all bodies together take too much memory
   */
  readonly readBody: (rules: BodyRules) => Promise<HeldBody>
}

/** How one body is read. */
export interface BodyRules {
  /** Of the decoded body, and of what it is decoded from on the way. */
  readonly maxBytes: number
  /** Whether nobody can change that; else `server.max_body` does. */
  readonly isFixed?: true
  /** Counts the memory of all bodies that are held. */
  readonly memory: BufferedBytes
  /** What to undo, the outermost first; see `codingsOf`. */
  readonly codings: readonly string[]
  /** Sees the decoded bytes when they come, chunk by chunk or in smaller pieces. Throws nothing. */
  readonly look?: ((piece: Uint8Array) => void) | undefined
}

/** A body that is there, decoded. */
export interface HeldBody {
  readonly pieces: readonly Uint8Array[]
  /** The memory that was counted for it; whoever takes the body releases it. */
  readonly heldBytes: number
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
    /** Counts bytes that are held in any case, above the cap too. */
    add(bytes: number): void {
      held += bytes
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

/** RFC 9110 §15.5.14. The rest of the body is not read, so the connection can't be used again. */
export function tooLarge({ maxBytes, isFixed }: Pick<BodyRules, 'maxBytes' | 'isFixed'>): GatewayError {
  const message = `The body is larger than ${maxBytes} bytes${isFixed ? '' : ' (server.max_body)'}.`
  return new GatewayError('request_too_large', message, CLOSING)
}

/** The most that may arrive. Packing makes some bytes more, but never many; what is still longer says nothing. */
export const mostSent = ({ maxBytes, codings }: BodyRules): number =>
  codings.length === 0 ? maxBytes : maxBytes + maxBytes / 64 + 1024

/**
 * Gathers the decoded chunks of one body within its limits. `declared` is the `content-length`: a body that is too large
 * is refused at once.
 */
export function createBodyCollector(rules: BodyRules, declared?: string) {
  const { maxBytes, memory } = rules
  const chunks = new Chunks()
  let heldBytes = 0
  if (Number(declared ?? 0) > mostSent(rules)) throw tooLarge(rules)

  return {
    /** @throws GatewayError when a limit is passed */
    add(chunk: Uint8Array): void {
      if (chunk.length === 0) return
      if (chunks.bytes + chunk.length > maxBytes) throw tooLarge(rules)
      chunks.push(chunk)
      const grown = chunks.heldBytes - heldBytes
      if (grown > 0 && !memory.reserve(grown)) throw new GatewayError('overloaded', OVERLOADED, COME_BACK)
      if (grown < 0) memory.release(-grown)
      heldBytes += grown
    },
    /** Everything, given once: it is held by its taker alone. */
    take: (): HeldBody => ({ pieces: chunks.take(), heldBytes }),
    /** The bytes are no longer held. */
    drop(): void {
      memory.release(heldBytes)
      heldBytes = 0
      chunks.take()
    },
  }
}

const CLOSING = { headers: { connection: 'close' } }
/** RFC 9110 §15.6.4: the client's next connection, in a second, may reach somebody who serves it. */
export const COME_BACK = { headers: { connection: 'close', 'retry-after': '1' } }
const OVERLOADED = 'Too many bodies are held here at once; try again in a second.'

/** RFC 9110 §15.5.9. */
export function bodyTimeout(): GatewayError {
  const message = `No data of the request body arrived for ${BODY_IDLE_TIMEOUT_MS / 1000} s.`
  return new GatewayError('request_timeout', message, CLOSING)
}

/** A body that breaks off was left by its client; the status is for the log. */
export function incompleteRequest(): GatewayError {
  return new GatewayError('client_closed_request', 'The client left before its request was complete.')
}

/** So much of a body is looked at in one turn of the event loop: 5 ms where it is all brackets. */
const TURN_BYTES = 256 * 1024

/**
 * How a request arrives on any fetch runtime; `peerOf` is the one thing that each knows in its own way. `nextTurn` lets
 * others have the event loop while a large body is looked at.
 */
export function createWebReceive(
  clock: Clock,
  peerOf: (request: Request, env: unknown) => string,
  nextTurn: () => Promise<void> = () => Promise.resolve(),
): Receive {
  const decoders = webDecoders()
  const codings = [...decoders.keys()]
  return (request, env) => {
    const headers = headerBagOf(request.headers)
    return {
      headers,
      peer: peerOf(request, env),
      clientSignal: request.signal,
      codings,
      async readBody(rules) {
        const body = createBodyCollector(rules, headers['content-length'])
        if (request.body === null) return body.take()
        const source = request.body.getReader()
        const reader = decodedBody(inTime(source, clock), rules, decoders)
        const look = rules.look && createPatientLook(rules.look, nextTurn)
        try {
          for (;;) {
            const { done, value } = await reader.read()
            if (done) return body.take()
            body.add(value)
            await look?.(value)
          }
        } catch (error) {
          body.drop()
          for (const one of [reader, source]) void one.cancel().catch(() => {})
          throw error instanceof GatewayError ? error : incompleteRequest()
        }
      },
    }
  }
}

/** Looks at no more than `TURN_BYTES` in a turn: chunks may come without one between them, and be as large as the body. */
function createPatientLook(look: (piece: Uint8Array) => void, nextTurn: () => Promise<void>) {
  let inTurn = 0
  return async (chunk: Uint8Array): Promise<void> => {
    for (let at = 0; at < chunk.length; at += TURN_BYTES) {
      const piece = chunk.subarray(at, at + TURN_BYTES)
      inTurn += piece.length
      if (inTurn > TURN_BYTES) {
        await nextTurn()
        inTurn = piece.length
      }
      look(piece)
    }
  }
}

/** The body with its codings undone. It fails with the first error of any step. */
function decodedBody(source: ByteReader, rules: BodyRules, decoders: ReadonlyMap<string, DecodeBody>) {
  let failure: GatewayError | undefined
  const step = (reader: ByteReader, most: number, errorOf: () => GatewayError): ByteReader => {
    let passed = 0
    return {
      async read() {
        try {
          const chunk = await reader.read()
          passed += chunk.value?.length ?? 0
          if (passed > most) throw tooLarge(rules)
          return chunk
        } catch (error) {
          // On its way through a decoder an error may become another one.
          failure ??= error instanceof GatewayError ? error : errorOf()
          throw failure
        }
      },
      cancel: (reason) => reader.cancel(reason),
    }
  }
  let reader = step(source, mostSent(rules), incompleteRequest)
  for (const coding of rules.codings) {
    const decoded = decoders.get(coding)?.(reader)
    if (decoded !== undefined) reader = step(decoded, rules.maxBytes, () => invalidEncoding(coding))
  }
  return reader
}

/** Each read ends with `request_timeout` where nothing comes for too long. */
const inTime = (reader: ByteReader, clock: Clock): ByteReader => ({
  async read() {
    let cancelTimer = (): void => {}
    const idle = new Promise<never>((_resolve, reject) => {
      cancelTimer = clock.after(BODY_IDLE_TIMEOUT_MS, () => reject(bodyTimeout()))
    })
    try {
      return await Promise.race([reader.read(), idle])
    } finally {
      cancelTimer()
    }
  },
  cancel: (reason) => reader.cancel(reason),
})
