import { GatewayError } from '../errors.ts'
import { headerBagOf } from '../lib/headers.ts'
import type { Clock } from '../relay/clock.ts'
import type { Arrive } from './arrival.ts'
import { BODY_SILENCE_MS, bodyTimeout, clientGone, createBodyCollector } from './collect-body.ts'

/** How a request arrives on any fetch runtime; `peerOf` is the one thing that each knows in its own way. */
export function createWebArrive(clock: Clock, peerOf: (request: Request, env: unknown) => string): Arrive {
  return (request, env) => {
    const headers = headerBagOf(request.headers)
    return {
      headers,
      peer: peerOf(request, env),
      gone: request.signal,
      async readBody(limits) {
        const declared = headers['content-length']
        const body = createBodyCollector(limits, declared === undefined ? undefined : Number(declared))
        if (request.body === null) return body.whole()
        const reader: ReadableStreamDefaultReader<Uint8Array> = request.body.getReader()
        try {
          for (;;) {
            const { done, value } = await readInTime(reader, clock)
            if (done) return body.whole()
            body.add(value)
          }
        } catch (error) {
          body.drop()
          void reader.cancel().catch(() => {})
          throw error instanceof GatewayError ? error : clientGone()
        }
      },
    }
  }
}

async function readInTime(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  clock: Clock,
): Promise<Awaited<ReturnType<typeof reader.read>>> {
  let cancelTimer = (): void => {}
  const silence = new Promise<never>((_resolve, reject) => {
    cancelTimer = clock.after(BODY_SILENCE_MS, () => reject(bodyTimeout()))
  })
  try {
    return await Promise.race([reader.read(), silence])
  } finally {
    cancelTimer()
  }
}
