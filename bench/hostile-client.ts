/** Clients that somebody else has to share a proxy with. */
import net from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { echoBody } from './echo-client.ts'

/** Where they send to. */
export interface HostileTarget {
  readonly port: number
  readonly token: string
}

/** Bothers a target until it is told to stop. */
export type Hostile = (target: HostileTarget, signal: AbortSignal) => Promise<void>

const body = echoBody('hostile')
const headOf = (token: string, ...fields: string[]): string =>
  [
    'POST /v1/chat/completions HTTP/1.1',
    'host: 127.0.0.1',
    `authorization: Bearer ${token}`,
    'content-type: application/json',
    ...fields,
    '',
    '',
  ].join('\r\n')
const plain = (token: string): string => headOf(token, `content-length: ${body.length}`) + body

/** Requests that two readers may cut at two places, each with one more inside of it or behind it. */
function ambiguous(token: string): string[] {
  const inner = plain(token)
  const chunk = `${body.length.toString(16)}\r\n${body}\r\n`
  const length = `content-length: ${body.length}`
  return [
    headOf(token, 'content-length: 5', 'transfer-encoding: chunked') + `0\r\n\r\n${inner}`,
    headOf(token, `content-length: ${inner.length}`, 'transfer-encoding: identity, chunked') + inner,
    headOf(token, length, 'transfer-encoding : chunked') + `0\r\n\r\n${inner}`,
    headOf(token, length, 'transfer-encoding: \vchunked') + `0\r\n\r\n${inner}`,
    headOf(token, 'transfer-encoding: chunked', 'transfer-encoding: x') + `0\r\n\r\n${inner}`,
    headOf(token, length, 'content-length: 0') + body + inner,
    headOf(token, `content-length: +${body.length}`) + body + inner,
    headOf(token, 'transfer-encoding: chunked') + `${chunk}0;a="\n\r\n"\r\n\r\n${inner}`,
    headOf(token, 'transfer-encoding: chunked') + `${chunk}0\r\ncontent-length: 9\r\nx\r\n\r\n${inner}`,
    headOf(token, 'transfer-encoding: chunked') + `fffffffffffffffff\r\n${body}\r\n0\r\n\r\n${inner}`,
    headOf(token, length).replace('\r\nhost', '\nhost') + body + inner,
    headOf(token, length, 'x: a\r\n folded: b') + body + inner,
    headOf(token, `content-length: ${body.length + 500}`) + body,
  ]
}

/** Writes on a connection of its own, drains what comes, and gives it up after some ms. */
async function throwAt(port: number, bytes: string, ms: number): Promise<void> {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.resume()
  socket.write(bytes, 'latin1')
  await pause(ms)
  socket.destroy()
}

/** Everybody by name. */
export const hostileClients: Readonly<Record<string, Hostile>> = {
  nobody: async (_target, signal) => {
    while (!signal.aborted) await pause(20)
  },
  // A hundred requests in one write, the last of them cut off, and the connection given up before all are answered.
  pipelining: async ({ port, token }, signal) => {
    const burst = plain(token).repeat(100).slice(0, -10)
    while (!signal.aborted) await throwAt(port, burst, 40)
  },
  'ambiguous requests': async ({ port, token }, signal) => {
    while (!signal.aborted) {
      for (const bytes of ambiguous(token)) await throwAt(port, bytes, 20)
    }
  },
}
