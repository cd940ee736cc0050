import { getEventListeners } from 'node:events'
import { expect, test } from 'vitest'
import type { MemoryStore } from '../../src/state/memory.ts'
import type { StateStore } from '../../src/state/store.ts'
import { chatAnswer, chatStream, play, refusal, stagedBy } from '../support/played.ts'
import { settle } from '../support/fake-clock.ts'
import { configOf, createTestApp } from '../support/test-app.ts'

const settings = { strategy: 'in_order', timeout: 10 }

/** A store that is elsewhere: every answer, and every effect, comes later. */
const remote = (store: MemoryStore): StateStore => {
  const later = async <T>(step: () => T): Promise<Awaited<T>> => {
    await new Promise((resolve) => setImmediate(resolve))
    return await step()
  }
  return {
    snapshot: (scopes) => later(() => store.snapshot(scopes)),
    claimSnapshots: (claims) => later(() => store.claimSnapshots(claims)),
    acquire: (order, ask, at) => later(() => store.acquire(order, ask, at)),
    reclaim: (at) => void later(() => store.reclaim(at)),
    confirm: (lease, answer, at) => later(() => store.confirm(lease, answer, at)),
    settle: (lease, outcome, at) => later(() => store.settle(lease, outcome, at)),
    pause: (...how) => later(() => store.pause(...how)),
    closeBreakers: (scopes, at) => later(() => store.closeBreakers(scopes, at)),
    recall: (key, at) => later(() => store.recall(key, at)),
    locate: (key, at) => later(() => store.locate(key, at)),
    remember: (key, upstream, life) => later(() => store.remember(key, upstream, life)),
  }
}

test('a store that answers later changes nothing of choosing, failing over and sticking', async () => {
  const config = configOf(['a.test', 'b.test', 'c.test'], { settings: { ...settings, affinity: 'ip' } })
  const app = createTestApp(
    config,
    stagedBy({ 'a.test': [refusal(429), chatAnswer()], 'b.test': refusal(500), 'c.test': chatStream('c') }),
    { around: remote },
  )
  expect(await (await app.chat({ stream: true })).text()).toContain('"c"')
  await app.clock.advance(20_000)
  expect((await app.chat({ stream: true })).headers.get('x-aiload-upstream')).toBe('c.test')
})

test('the waiting are woken when the release is known, and not before', async () => {
  const config = configOf(['a.test'], { settings, models: { limits: { concurrency: 1 } } })
  const app = createTestApp(config, play({ afterMs: 1_000, ...chatAnswer() }), { around: remote })
  const statuses = Promise.all([1, 2, 3].map(async () => (await app.chat()).status))
  await app.clock.advance(3_100)
  expect(await statuses).toEqual([200, 200, 200])
  expect([app.inFlight(), app.openLeases]).toEqual([0, 0])
})

test('a client that leaves while its lease is being had causes no call, and the lease goes back', async () => {
  const gone = new AbortController()
  const app = createTestApp(configOf(['a.test'], { settings }), play(chatAnswer()), {
    around: (store) => ({
      ...remote(store),
      acquire(order, ask, at) {
        setImmediate(() => gone.abort())
        return remote(store).acquire(order, ask, at)
      },
    }),
  })
  expect((await app.chat({}, { clientSignal: gone.signal })).status).toBe(499)
  await settle()
  expect(app.calls).toHaveLength(0)
  expect([app.inFlight(), app.openLeases]).toEqual([0, 0])
  expect(app.requests()).toMatchObject([{ status: 499, attempts: [] }])
  expect(getEventListeners(gone.signal, 'abort')).toHaveLength(0)
})

test('a store that knows better is asked of everybody, and not of the first few alone', async () => {
  const hosts = Array.from({ length: 20 }, (_, nth) => `u${nth}.test`)
  const asked: number[] = []
  const config = configOf(hosts, { settings: { ...settings, queue_timeout: 0 } })
  const app = createTestApp(config, play(chatAnswer()), {
    around: (store) => ({
      ...remote(store),
      acquire(order, ask, at) {
        asked.push(order.length)
        return asked.length < 3 ? undefined : remote(store).acquire(order, ask, at)
      },
    }),
  })
  const answer = await app.chat()
  expect(answer.headers.get('x-aiload-upstream')).toBe('u16.test')
  expect(asked).toEqual([8, 8, 4])
})

test('who alone may answer is found out with a lease that was refused, and nobody else is asked as a last resort', async () => {
  const config = configOf(['failing.test', 'holder.test'], { settings: { ...settings, affinity: 'off' } })
  const response = JSON.stringify({ id: 'resp_1', object: 'response', output: [{ type: 'message' }] })
  let isKnown = true
  const app = createTestApp(
    config,
    stagedBy({ 'failing.test': refusal(503), 'holder.test': { body: [response] } }),
    {
      around: (store) => ({
        ...remote(store),
        recall: (key, at) => (isKnown ? remote(store).recall(key, at) : null),
        acquire(order, ask, at) {
          if (isKnown) return remote(store).acquire(order, ask, at)
          isKnown = true
          return undefined
        },
      }),
    },
  )
  const ask = async (body: object): Promise<string | null> =>
    (await app.chat({ input: 'x', ...body }, { path: 'responses' })).headers.get('x-aiload-upstream')
  expect(await ask({})).toBe('holder.test')
  isKnown = false
  expect(await ask({ previous_response_id: 'resp_1' })).toBe('holder.test')
  await settle()
  expect(app.openLeases).toBe(0)
})
