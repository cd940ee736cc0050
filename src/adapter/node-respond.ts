import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { ServerResponse } from 'node:http'
import type { ByteChunk, ByteReader } from '../lib/byte-reader.ts'
import type { Respond } from '../http/respond.ts'

/**
 * Answers on Node: whole bodies by the server, streams chunk by chunk straight to the connection.
 *
 * The server would take a stream too, but prints the error of one that breaks, and costs twice as much a chunk.
 */
export const nodeRespond: Respond = ({ status, headers, body }, env) => {
  if (body === null || body instanceof Uint8Array)
    return new Response(body as Uint8Array<ArrayBuffer> | null, { status, headers })
  const outgoing = (env as HttpBindings).outgoing
  outgoing.writeHead(status, headers)
  outgoing.flushHeaders()
  pump(body, outgoing)
  return RESPONSE_ALREADY_SENT
}

/** A broken stream resets the connection: a client must not take the part for the whole. */
function pump(reader: ByteReader, outgoing: ServerResponse): void {
  const cancel = (): void => void reader.cancel().catch(() => {})
  const next = (): void => void reader.read().then(write, () => reset(outgoing))
  function write({ done, value }: ByteChunk): void {
    if (done) {
      outgoing.off('close', cancel)
      outgoing.end()
    } else if (outgoing.write(value)) next()
    else outgoing.once('drain', next)
  }
  outgoing.once('close', cancel)
  next()
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
