import type { IncomingMessage, ServerResponse } from 'node:http'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { GatewayError } from '../../errors.ts'
import { invalidEncoding } from '../../http/content-coding.ts'
import {
  BODY_IDLE_TIMEOUT_MS,
  bodyTimeout,
  createBodyCollector,
  incompleteRequest,
  mostSent,
  tooLarge,
} from '../../http/incoming.ts'
import type { BodyRules, HeldBody, Receive } from '../../http/incoming.ts'
import type { ToResponse } from '../../http/response.ts'
import { createAbort } from '../../lib/abort.ts'
import { flowTo, type ByteReader } from '../../lib/bytes.ts'
import type { HeaderBag } from '../../lib/headers.ts'
import { createDecoder, nodeCodings, type BodySink, type BodySource } from './decoder.ts'
import { createIdleTimeout, type TimerWheel } from './timers.ts'

/*
 * A body's way in and an answer's way out on Node: between the messages of `node:http` and the app, without a detour
 * over web streams.
 */

/** A request and its answer; the app gets them beside its request. */
export interface ServerMessages {
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
}

/** Whether the request has come to its end: the rest of one that has not could not be told from the next one. */
export function isWhole(incoming: IncomingMessage): boolean {
  return incoming.complete || !hasBody(incoming)
}

/** RFC 9112 §6.3. */
function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/** So much of all bodies is looked at in one turn of the event loop, and what one read brings on top (64 KB). */
const TURN_BYTES = 128 * 1024

/** How a request arrives on Node: straight from its message. */
export function createNodeReceive(timers: TimerWheel): Receive {
  /** Of all bodies, since one had to wait. */
  let lookedAtBytes = 0

  /** Node reads up to 2 MB of a connection in one turn of the event loop, and others have to wait meanwhile. */
  function waitForTurn(incoming: IncomingMessage): void {
    incoming.pause()
    setImmediate(() => {
      lookedAtBytes = 0
      incoming.resume()
    })
  }

  function readBody({ incoming, outgoing }: ServerMessages, rules: BodyRules) {
    return new Promise<HeldBody>((resolve, reject) => {
      const { expect, 'content-length': declared } = incoming.headers
      const body = createBodyCollector(rules, declared)
      // Only a client that waits to be asked for its body.
      if (expect !== undefined && incoming.httpVersionMinor === 1 && hasBody(incoming))
        outgoing.writeContinue()
      let isOver = false
      const idleTimeout = createIdleTimeout(timers, BODY_IDLE_TIMEOUT_MS, () => stop(bodyTimeout()))
      idleTimeout.arm()

      /** What still comes is not kept; the server closes the connection behind the answer. */
      function stop(error: unknown): void {
        if (isOver) return
        isOver = true
        idleTimeout.stop()
        body.drop()
        reject(error)
        sink.fail(error)
        incoming.resume()
      }
      const collected: BodySink<unknown> = {
        data(chunk) {
          if (isOver) return
          try {
            body.add(chunk)
            rules.look?.(chunk)
          } catch (error) {
            stop(error)
          }
        },
        end() {
          if (isOver) return
          isOver = true
          idleTimeout.stop()
          resolve(body.take())
        },
        fail: stop,
      }
      const sink = rules.codings.length === 0 ? collected : decodedBody(incoming, collected, rules)

      function onData(chunk: Uint8Array): void {
        if (isOver) return
        idleTimeout.refresh()
        sink.data(chunk)
        if (sink !== collected || rules.look === undefined) return
        lookedAtBytes += chunk.length
        if (lookedAtBytes > TURN_BYTES) waitForTurn(incoming)
      }
      function onEnd(): void {
        idleTimeout.stop()
        if (!isOver) sink.end()
      }
      function onBroken(error?: Error): void {
        // Every message is closed in the end, and an error is not made for nothing. What has come may still be decoded.
        if (!isOver && !incoming.readableEnded)
          stop(error instanceof GatewayError ? error : incompleteRequest())
      }
      // The listeners go with the message: a client may reset its connection later, and an error that nobody listens to
      // ends the process.
      incoming.on('data', onData).on('end', onEnd).on('close', onBroken).on('error', onBroken)
    })
  }

  return (_request, env) => {
    const messages = env as ServerMessages
    const { incoming, outgoing } = messages
    const clientAbort = createAbort()
    // A message is closed too when it has come to its end.
    const onClose = (): void => {
      if (incoming.socket.destroyed) clientAbort.abort()
    }
    outgoing.on('close', onClose)
    return {
      headers: incoming.headers as HeaderBag,
      peer: incoming.socket.remoteAddress ?? '',
      target: incoming.url,
      clientSignal: clientAbort.signal,
      codings: nodeCodings,
      readBody(rules) {
        // Before what is answered to a client that has left.
        incoming.on('close', onClose)
        return readBody(messages, rules)
      },
    }
  }
}

/** From the bytes as they are sent to the decoded ones in `to`: a decoder for each coding, the outermost first. */
function decodedBody(incoming: IncomingMessage, to: BodySink<unknown>, rules: BodyRules): BodySink<unknown> {
  function bounded(sink: BodySink<unknown>, most: number): BodySink<unknown> {
    let passed = 0
    return {
      ...sink,
      data(chunk) {
        passed += chunk.length
        if (passed > most) sink.fail(tooLarge(rules))
        else sink.data(chunk)
      },
    }
  }
  function undo([coding, ...inner]: readonly string[], source: BodySource): BodySink<unknown> {
    if (coding === undefined) return to
    const decoding = {
      to: (decoded: BodySource) => bounded(undo(inner, decoded), rules.maxBytes),
      invalid: (): unknown => invalidEncoding(coding),
    }
    return createDecoder(coding, source, decoding)
  }
  const resume = (): void => void incoming.resume()
  const source = { pause: () => void incoming.pause(), resume, cut: resume }
  return bounded(undo(rules.codings, source), mostSent(rules))
}

/** Up to here an answer goes out as one text with its head: a copy costs less than a second piece. */
const TEXT_LIMIT_BYTES = 16 * 1024

/** Answers on Node straight to the client's connection. */
export const toNodeResponse: ToResponse = ({ status, headers, body, onLeft, cut }, env) => {
  const { incoming, outgoing } = env as ServerMessages
  if (onLeft !== undefined) {
    if (outgoing.destroyed || outgoing.headersSent) onLeft()
    else outgoing.once('close', onLeft)
  }
  if (outgoing.headersSent) return RESPONSE_ALREADY_SENT
  outgoing.shouldKeepAlive &&= isWhole(incoming)
  cut?.addEventListener('abort', () => outgoing.destroy())
  const isBytes = body instanceof Uint8Array
  outgoing.writeHead(status, isBytes ? Object.assign(headers, { 'content-length': body.length }) : headers)
  if (isBytes && body.length > TEXT_LIMIT_BYTES) outgoing.end(body)
  // One character for each byte, which Node writes back as the same bytes.
  else if (isBytes)
    outgoing.end(Buffer.from(body.buffer, body.byteOffset, body.length).toString('latin1'), 'latin1')
  else if (body !== null && incoming.method !== 'HEAD') pump(body, outgoing)
  else {
    outgoing.end()
    body?.cancel().catch(() => {})
  }
  return RESPONSE_ALREADY_SENT
}

/** A broken stream cuts the connection: a client must not take the part for the whole. */
function pump(reader: ByteReader, outgoing: ServerResponse): void {
  let isDone = false
  let isFull = false
  const flow = flowTo(reader, {
    chunk(value) {
      isFull = !outgoing.write(value)
      return !isFull
    },
    end() {
      isDone = true
      outgoing.end()
    },
    fail() {
      isDone = true
      // What was written leaves before the connection is cut, without the end that would make it whole.
      outgoing.write('', () => {
        // HTTP/1.0 ends a body with its connection: only a reset tells that this is not the end.
        if (outgoing.chunkedEncoding) outgoing.destroy()
        else outgoing.socket?.resetAndDestroy()
      })
    },
  })
  outgoing.on('drain', () => {
    if (!isFull || isDone) return
    isFull = false
    flow.resume()
  })
  outgoing.on('close', () => {
    if (!isDone) reader.cancel().catch(() => {})
  })
  // The head goes with what is there already; where nothing is, it does not wait.
  process.nextTick(() => outgoing.flushHeaders())
}
