/** The heap of another Node process after a collection, over the inspector's protocol. */
import { WebSocket } from 'undici'
import type { AiloadProcess } from './gateway-process.ts'

/** Put into the environment of a process whose heap is to be asked for. */
export const inspected = { NODE_OPTIONS: '--inspect=127.0.0.1:0' }

/** Bytes of the heap in use right after a forced collection. */
export const heapAfterCollection = (child: AiloadProcess): Promise<number> =>
  afterCollection(child, 'process.memoryUsage().heapUsed')

/** Bytes outside of the heap, in buffers, right after a forced collection. */
export const buffersAfterCollection = (child: AiloadProcess): Promise<number> =>
  afterCollection(child, 'process.memoryUsage().arrayBuffers')

interface Reply {
  readonly id?: number
  readonly result: { readonly result?: { readonly value?: number } }
}

async function afterCollection(child: AiloadProcess, expression: string): Promise<number> {
  const [, url = ''] = await child.printed(/Debugger listening on (ws:\S+)/)
  const socket = new WebSocket(url)
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve)
    socket.addEventListener('error', reject)
  })
  let id = 0
  const ask = (method: string, params = {}): Promise<Reply['result']> =>
    new Promise((resolve) => {
      const own = ++id
      socket.addEventListener('message', ({ data }) => {
        const message = JSON.parse(String(data)) as Reply
        if (message.id === own) resolve(message.result)
      })
      socket.send(JSON.stringify({ id: own, method, params }))
    })
  await ask('HeapProfiler.collectGarbage')
  await ask('HeapProfiler.collectGarbage')
  const { result } = await ask('Runtime.evaluate', { expression, returnByValue: true })
  socket.close()
  return result?.value ?? Number.NaN
}
