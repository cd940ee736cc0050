/**
 * Loaded into a process before its program (`--import`), with the name of a file in RECORD_CONNECTIONS: a line there for
 * each connection, lookup of a name, datagram socket, process and thread that is begun. Node itself tells them, whatever
 * interface the program used.
 */
import { createHook } from 'node:async_hooks'
import { appendFileSync } from 'node:fs'

const file = process.env['RECORD_CONNECTIONS'] ?? ''

/**
 * What Node names a beginning, and how it is written down, from what Node's own object for it says.
 * @type {Readonly<Record<string, (begun: { address?: string, port?: number, hostname?: string }) => string>>}
 */
const lines = {
  TCPCONNECTWRAP: ({ address, port }) => `connect ${address}:${port}`,
  PIPECONNECTWRAP: ({ address }) => `connect ${address}`,
  GETADDRINFOREQWRAP: ({ hostname }) => `lookup ${hostname}`,
  GETNAMEINFOREQWRAP: ({ hostname }) => `lookup ${hostname}`,
  QUERYWRAP: ({ hostname }) => `lookup ${hostname}`,
  UDPWRAP: () => 'datagram socket',
  PROCESSWRAP: () => 'process',
  WORKER: () => 'thread',
}

createHook({
  init(_id, type, _trigger, resource) {
    const line = lines[type]
    if (line !== undefined) appendFileSync(file, `${line(resource)}\n`)
  },
}).enable()
appendFileSync(file, 'recording\n')
