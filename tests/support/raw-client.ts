import { once } from 'node:events'
import net from 'node:net'
import { until } from './until.ts'

/** A client that writes bytes by hand and sees every byte of what comes back. */
export interface RawClient {
  readonly socket: net.Socket
  /** All that has come, as latin1. */
  readonly text: string
  /** Statuses of all answers that have come, interim ones too. */
  readonly statuses: readonly number[]
  /** How the connection ended; undefined while it is open. */
  readonly ending: 'closed' | 'reset' | undefined
  send(bytes: string | Uint8Array): void
  /** Resolves with all text when it fits. */
  received(pattern: RegExp): Promise<string>
  /** Resolves when the connection has ended. */
  ended(patienceMs?: number): Promise<'closed' | 'reset'>
}

/** Opens a connection to the loopback address. */
export async function connectRaw(port: number): Promise<RawClient> {
  const socket = net.connect(port, '127.0.0.1')
  let text = ''
  let ending: RawClient['ending']
  let isReset = false
  socket.setNoDelay(true)
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
  socket.on('error', () => (isReset = true))
  socket.on('close', () => (ending = isReset ? 'reset' : 'closed'))
  await once(socket, 'connect')
  return {
    socket,
    get text() {
      return text
    },
    get statuses() {
      return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
    },
    get ending() {
      return ending
    },
    send: (bytes) => void socket.write(bytes),
    received: (pattern) =>
      until(
        () => text,
        (seen) => pattern.test(seen),
      ),
    ended: async (patienceMs) =>
      (await until(
        () => ending,
        (seen) => seen !== undefined,
        patienceMs,
      ))!,
  }
}

/** The head of a request, with its empty line. */
export function headOf(start: string, headers: Readonly<Record<string, string | number>>): string {
  const lines = Object.entries({ host: 'gateway.test', ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  )
  return `${start}\r\n${lines.join('')}\r\n`
}
