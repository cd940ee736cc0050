import type { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'

/** How long a client may go on sending what nobody wants, while it has not looked at its answer. */
const LINGER_MS = 2_000

/**
 * Lets the answer to a request arrive whose body is not read to its end: the connection is closed for writing
 * behind the answer, and what still comes is thrown away until the client stops, at most for 2 s.
 *
 * Closed at once, the system would answer the unread bytes with a reset that overtakes the answer
 * (RFC 9112 §9.6). Called before an answer with `connection: close` is sent.
 */
export function lingerBehind(incoming: IncomingMessage): void {
  const { socket } = incoming
  const close = (): void => Socket.prototype.destroySoon.call(socket)
  // This is how Node's server ends a connection behind its last answer.
  socket.destroySoon = () => {
    if (incoming.complete) return close()
    socket.end()
    const timer = setTimeout(() => socket.destroy(), LINGER_MS)
    socket.once('close', () => clearTimeout(timer))
    incoming.once('close', close)
    incoming.resume()
  }
}
