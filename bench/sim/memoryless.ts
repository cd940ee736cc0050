import { sendTo } from './vendor.ts'
import type { Bed, Client } from './run.ts'

/**
 * What most balancers do: each request begins with the next upstream in turn and tries the others one after the
 * other until one answers. Nothing is remembered from one request to the next, and nobody waits.
 */
export function memoryless({ clock, vendors }: Bed): Client {
  const send = sendTo(vendors)
  const names = vendors.map(({ spec }) => spec.name)
  let turn = 0
  return async () => {
    const { signal } = new AbortController()
    const since = clock.now()
    const first = turn++
    for (let step = 0; step < names.length; step++) {
      const sentAt = clock.now()
      const model = names[(first + step) % names.length] ?? ''
      const { status } = await send(requestTo(model), signal)
      if (status === 200) return sentAt - since
    }
    return undefined
  }
}

function requestTo(model: string): Parameters<ReturnType<typeof sendTo>>[0] {
  return {
    method: 'POST',
    url: `https://${model}.sim/v1/chat/completions`,
    headers: {},
    connectTimeoutMs: 5_000,
    timeoutMs: 120_000,
    gatherBytes: () => 1_000_000,
  }
}
