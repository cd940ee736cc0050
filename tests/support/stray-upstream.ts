import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

/** An upstream on a thread of its own, which goes on while this one is busy. It answers each request with its path. */
export interface StrayUpstream {
  readonly url: string
  /** Sends an answer that nobody asked for over the last connection, and returns when it is on its way: it blocks. */
  sendStray(): void
  close(): Promise<void>
}

const ASKED = 1
const SENT = 2

const script = `
const { parentPort, workerData } = require('node:worker_threads')
const state = new Int32Array(workerData)
let last
const server = require('node:net').createServer((socket) => {
  last = socket
  socket.setNoDelay(true).on('error', () => {})
  socket.on('data', (bytes) => {
    const path = /^\\S+ (\\S+)/.exec(bytes.toString())[1]
    socket.write('HTTP/1.1 200 OK\\r\\ncontent-length: ' + path.length + '\\r\\n\\r\\n' + path)
  })
})
server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port))
setInterval(() => {
  if (Atomics.load(state, 0) !== ${ASKED}) return
  const sent = () => Atomics.store(state, 0, ${SENT})
  last.write('HTTP/1.1 200 OK\\r\\ncontent-length: 5\\r\\n\\r\\nstray', sent)
}, 1)
`

export async function startStrayUpstream(): Promise<StrayUpstream> {
  const shared = new SharedArrayBuffer(4)
  const state = new Int32Array(shared)
  const worker = new Worker(script, { eval: true, workerData: shared })
  const [port] = (await once(worker, 'message')) as [number]
  return {
    url: `http://127.0.0.1:${port}`,
    sendStray() {
      Atomics.store(state, 0, ASKED)
      while (Atomics.load(state, 0) !== SENT);
    },
    async close() {
      await worker.terminate()
    },
  }
}
