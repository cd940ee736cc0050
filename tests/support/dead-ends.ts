import { once } from 'node:events'
import net from 'node:net'
import { Worker } from 'node:worker_threads'

let nextPort = 650

/**
 * An address on which nobody listens: connecting is refused. Ports this low are given to nobody who asks for any
 * port (one that was just closed might be the next test's), and fetch refuses none of these by itself.
 */
export function refusedUrl(): string {
  return `http://127.0.0.1:${nextPort++}`
}

/** A port that never completes a connection. */
export interface Blackhole {
  readonly url: string
  close(): Promise<void>
}

/**
 * A port whose backlog is full and whose owner never accepts, so that the kernel drops every further
 * attempt: connecting neither succeeds nor fails. (Linux, with `tcp_abort_on_overflow` off, as it is.)
 */
export async function startBlackhole(): Promise<Blackhole> {
  const owner = new Worker(
    `const { parentPort } = require('node:worker_threads')
     const server = require('node:net').createServer()
     server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
       parentPort.postMessage(server.address().port)
       // Blocks the thread's event loop: nobody accepts from now on.
       setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0))
     })`,
    { eval: true },
  )
  const [port] = (await once(owner, 'message')) as [number]
  const fillers: net.Socket[] = []
  for (;;) {
    const filler = net.connect(port, '127.0.0.1')
    filler.on('error', () => {})
    fillers.push(filler)
    const connected = await Promise.race([
      once(filler, 'connect').then(() => true),
      new Promise<false>((resolve) => setTimeout(() => resolve(false), 200)),
    ])
    if (!connected) break
  }
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      for (const filler of fillers) filler.destroy()
      await owner.terminate()
    },
  }
}
