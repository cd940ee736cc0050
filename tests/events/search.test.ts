import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createRecorder } from '../../src/events/recorder.ts'
import { createRequestLog } from '../../src/events/requests.ts'
import { createRuntimeConfig } from '../../src/http/deps.ts'
import { instantOf } from '../../src/lib/clock.ts'
import { createMemoryStore } from '../../src/state/memory.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { checked, configOf } from '../support/test-app.ts'
import { requestEvent } from '../telemetry/events.ts'

const COUNT = 3_000

/** A log of one long segment, whose search gives way whenever it asks whether to. */
function bed() {
  const secret = Uint32Array.of(1, 2, 3, 4)
  const recorder = createRecorder({ random: () => 0.5, secret, segmentRequests: 10_000 })
  const clock = createFakeClock()
  recorder.recordedStore(createMemoryStore({ random: recorder.random }), () => instantOf(clock))
  const { config, pools } = createRuntimeConfig(checked(configOf(['a.test'])))
  recorder.configured({ settings: config.settings, pools, credits: new Map() })
  const ids = Array.from({ length: COUNT }, () => crypto.randomUUID())
  for (const ownId of ids) recorder.ended(requestEvent({ id: 'same', ownId }))
  return { ids, log: createRequestLog({ recorder, secret, pause: () => setImmediate() }) }
}

/** How often others had their turn while something was under way. */
async function turnsDuring(task: Promise<unknown>): Promise<number> {
  let turns = 0
  const over = task.then(() => true)
  while (!(await Promise.race([over, setImmediate(false)]))) turns += 1
  return turns
}

test('others have their turns during a search and an explanation, however long a segment is', async () => {
  const { ids, log } = bed()
  expect(await turnsDuring(log.list({ limit: 10, q: 'nothing like this' }))).toBeGreaterThan(COUNT / 100)
  expect(await turnsDuring(log.explain(ids[0] ?? ''))).toBeGreaterThan(COUNT / 100)
})

test('an id that thousands of requests bear lists the newest thousand', async () => {
  const { ids, log } = bed()
  const told = await log.explain('same')
  if (told === undefined || !('requests' in told)) throw new Error('no list')
  expect(told.requests.map(({ id }) => id)).toEqual(ids.slice(-1_000).toReversed())
})
