import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { Respond } from '../http/respond.ts'
import { flowTo, type ByteReader } from '../lib/byte-reader.ts'
import type { ServerAnswer } from './node-server-answer.ts'
import type { Exchange } from './node-server-connection.ts'

/** Answers on Node straight to the connection, without a detour over web streams. */
export const nodeRespond: Respond = ({ status, headers, body }, env) => {
  const { outgoing } = env as Exchange
  outgoing.writeHead(status, headers)
  if (body === null || body instanceof Uint8Array) outgoing.end(body)
  else pump(body, outgoing)
  return RESPONSE_ALREADY_SENT
}

/** A broken stream cuts the connection: a client must not take the part for the whole. */
function pump(reader: ByteReader, outgoing: ServerAnswer): void {
  let isOver = false
  let isFull = false
  const flow = flowTo(reader, {
    chunk(value) {
      isFull = !outgoing.write(value)
      return !isFull
    },
    end() {
      isOver = true
      outgoing.end()
    },
    fail() {
      isOver = true
      outgoing.destroy()
    },
  })
  outgoing.on('drain', () => {
    if (!isFull || isOver) return
    isFull = false
    flow.resume()
  })
  outgoing.on('close', () => {
    if (!isOver) reader.cancel().catch(() => {})
  })
  // The head goes with what is there already; where nothing is, it does not wait.
  process.nextTick(() => outgoing.flushHeaders())
}
