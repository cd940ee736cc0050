/** The heap of another Node process after a collection, over the inspector's protocol. */
import { WebSocket } from 'undici'
import type { AiloadProcess } from './gateway-process.ts'

/** Put into the environment of a process whose heap is to be asked for. */
export const inspected = { NODE_OPTIONS: '--inspect=127.0.0.1:0' }

/** Bytes in use right after a forced collection. */
export async function heapAfterCollection(child: AiloadProcess): Promise<number> {
  const [, url = ''] = await child.printed(/Debugger listening on (ws:\S+)/)
  const socket = new WebSocket(url)
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve)
    socket.addEventListener('error', reject)
  })
  let id = 0
  const ask = (method: string): Promise<{ usedSize?: number }> =>
    new Promise((resolve) => {
      const own = ++id
      socket.addEventListener('message', ({ data }) => {
        const message: { id?: number; result: { usedSize?: number } } = JSON.parse(String(data))
        if (message.id === own) resolve(message.result)
      })
      socket.send(JSON.stringify({ id: own, method }))
    })
  await ask('HeapProfiler.collectGarbage')
  await ask('HeapProfiler.collectGarbage')
  const { usedSize } = await ask('Runtime.getHeapUsage')
  socket.close()
  return usedSize ?? Number.NaN
}
