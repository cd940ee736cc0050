import { expect, test } from 'vitest'
import { createGateway } from '../../src/adapter/gateway.ts'
import { createRecorder } from '../../src/events/recorder.ts'
import { createWebReceive } from '../../src/http/incoming.ts'
import { toWebResponse } from '../../src/http/response.ts'
import { instantOf } from '../../src/lib/clock.ts'
import { createMemoryStore } from '../../src/state/memory.ts'
import { createClock } from '../../src/adapter/gateway.ts'
import { createDice } from '../support/dice.ts'
import { checked, configOf, TOKEN } from '../support/test-app.ts'

const LIMITS = {
  'x-ratelimit-limit-requests': '14400',
  'x-ratelimit-remaining-requests': '14370',
  'x-ratelimit-reset-requests': '2m59.56s',
  'x-ratelimit-limit-tokens': '18000',
  'x-ratelimit-remaining-tokens': '17997',
  'x-ratelimit-reset-tokens': '7.66s',
}

/** The bytes that a request costs in the log whose first attempts are refused, on a real clock. */
async function bytesOf(refusals: number): Promise<number> {
  const clock = createClock()
  const dice = createDice(1)
  const recorder = createRecorder({ random: dice, secret: Uint32Array.of(1, 2, 3, 4), segmentRequests: 1e9 })
  const store = recorder.recordedStore(createMemoryStore({ random: recorder.random }), () => instantOf(clock))
  let asked = 0
  const send = async () => {
    await new Promise((resolve) => setTimeout(resolve, 3))
    const isRefused = asked++ % (refusals + 1) < refusals
    const choices = [{ index: 0, message: { role: 'assistant', content: 'x' }, finish_reason: 'stop' }]
    const body = isRefused
      ? { error: { message: 'Rate limit reached', code: 'rate_limit_exceeded' } }
      : { id: 'x', choices, usage: { prompt_tokens: 211, completion_tokens: 1_234, total_tokens: 1_445 } }
    const headers = {
      'content-type': 'application/json',
      ...LIMITS,
      ...(isRefused && { 'retry-after': '1' }),
    }
    return { status: isRefused ? 429 : 200, headers, body: new TextEncoder().encode(JSON.stringify(body)) }
  }
  const hosts = Array.from({ length: 300 }, (_, at) => `host-${at}.test`)
  const config = checked(configOf(hosts, { settings: { affinity: 'ip', queue_timeout: 0 } }))
  const gateway = createGateway(config, {
    clock,
    store,
    send,
    receive: createWebReceive(clock, () => '10.1.2.3'),
    toResponse: toWebResponse,
    log: () => {},
    abilities: store.abilities,
    recorder,
  })
  const ask = async (peerAt: number): Promise<void> => {
    const request = new Request('http://gateway.test/v1/chat/completions', {
      method: 'POST',
      headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'auto',
        stream: false,
        messages: [{ role: 'user', content: `hi ${peerAt}` }],
      }),
    })
    const response = await gateway.app.fetch(request, {})
    expect([response.status, response.headers.get('x-aiload-attempts')]).toEqual([200, String(refusals + 1)])
    await response.text()
  }
  // Texts are written once for all that follow.
  for (let nth = 0; nth < 5; nth++) await ask(nth)
  const sizes: number[] = []
  for (let nth = 0; nth < 20; nth++) {
    const before = recorder.segments()[0]?.bytes.length ?? 0
    await ask(nth)
    sizes.push((recorder.segments()[0]?.bytes.length ?? 0) - before)
  }
  return Math.max(...sizes)
}

test.each([
  { attempts: 1, most: 200 },
  { attempts: 2, most: 300 },
  { attempts: 3, most: 400 },
])('a request with $attempts attempts costs at most $most bytes in the log', async ({ attempts, most }) => {
  expect(await bytesOf(attempts - 1)).toBeLessThanOrEqual(most)
})
