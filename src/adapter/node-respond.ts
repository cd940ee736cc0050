import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { ServerResponse } from 'node:http'
import type { Writable } from 'node:stream'
import { flowTo, type ByteReader } from '../lib/byte-reader.ts'
import type { Respond } from '../http/respond.ts'
import { latin1Of, TEXT_LIMIT_BYTES } from './node-latin1.ts'

/**
 * Answers on Node straight to the connection: what is small in one piece with its head, which is one write and no
 * list of buffers. The server would take a stream too, but prints the error of one that breaks.
 */
export const nodeRespond: Respond = ({ status, headers, body }, env) => {
  const { outgoing } = env as HttpBindings
  outgoing.writeHead(status, headers)
  if (body === null) outgoing.end()
  else if (!(body instanceof Uint8Array)) pump(body, outgoing)
  else if (body.length > TEXT_LIMIT_BYTES) outgoing.end(body)
  else outgoing.end(latin1Of(body), 'latin1')
  return RESPONSE_ALREADY_SENT
}

/** A broken stream resets the connection: a client must not take the part for the whole. */
function pump(reader: ByteReader, outgoing: ServerResponse): void {
  const cancel = (): void => void reader.cancel().catch(() => {})
  const frames = takeFraming(outgoing)
  outgoing.once('close', cancel)
  const flow = flowTo(reader, {
    chunk(value) {
      const full = frames.write(value)
      full?.once('drain', () => flow.resume())
      return full === undefined
    },
    end() {
      outgoing.off('close', cancel)
      frames.end()
    },
    fail: () => reset(outgoing),
  })
  // The head goes with what is there already; where nothing is, it does not wait.
  process.nextTick(frames.begin)
}

/** A body on its way out. */
interface Frames {
  /** Sends the head, if nothing has been written yet. */
  readonly begin: () => void
  /** Where to wait for room, when there is none for now. */
  readonly write: (chunk: Uint8Array) => Writable | undefined
  readonly end: () => void
}

/**
 * Writes the frames of a chunked body (RFC 9112 §7.1) in place of Node, which hands the connection four pieces for
 * each, a moment later. Behind the head they go straight to the connection. A client of HTTP/1.0 gets none.
 */
function takeFraming(outgoing: ServerResponse): Frames {
  const isFramed = outgoing.chunkedEncoding
  outgoing.chunkedEncoding = false
  let hasBegun = false

  /** The first piece goes with the head; and a request that was sent ahead waits for its connection. */
  function placeFor(): Writable {
    const { socket } = outgoing
    const isBehindHead = hasBegun && socket !== null
    hasBegun = true
    return isBehindHead ? socket : outgoing
  }

  return {
    begin() {
      if (!hasBegun) outgoing.flushHeaders()
      hasBegun = true
    },
    write(chunk) {
      const place = placeFor()
      if (!isFramed) return place.write(chunk) ? undefined : place
      const size = chunk.length.toString(16)
      if (chunk.length <= TEXT_LIMIT_BYTES)
        return place.write(`${size}\r\n${latin1Of(chunk)}\r\n`, 'latin1') ? undefined : place
      place.cork()
      place.write(`${size}\r\n`, 'latin1')
      place.write(chunk)
      const isRoomy = place.write('\r\n', 'latin1')
      place.uncork()
      return isRoomy ? undefined : place
    },
    end() {
      if (isFramed) outgoing.end('0\r\n\r\n', 'latin1')
      else outgoing.end()
    },
  }
}

function reset(outgoing: ServerResponse): void {
  const { socket } = outgoing
  if (socket !== null && 'resetAndDestroy' in socket && !outgoing.writableFinished) flushThenReset(outgoing)
  else outgoing.destroy()
}

/** What arrived stays: the bytes written so far leave before the connection is cut. */
function flushThenReset(outgoing: ServerResponse): void {
  if (outgoing.writableLength === 0 && outgoing.socket?.writableLength === 0) return void outgoing.destroy()
  outgoing.write('', () => outgoing.destroy())
}
