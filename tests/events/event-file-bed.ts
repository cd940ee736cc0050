import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { keepEvents, type EventLimits } from '../../src/adapter/node/event-file.ts'
import { createRuntimeConfig } from '../../src/http/deps.ts'
import { instantOf } from '../../src/lib/clock.ts'
import type { GatewayEvent } from '../../src/relay/deps.ts'
import { createMemoryStore } from '../../src/state/memory.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { checked, configOf } from '../support/test-app.ts'
import { requestEvent } from '../telemetry/events.ts'

/** A log of events whose requests end as a test says. */
export function bed(directory: string, limits: EventLimits = { bytes: 1_000_000, days: 2 }) {
  const file = join(directory, 'events.log')
  const told: GatewayEvent[] = []
  const clock = createFakeClock()
  const report = (event: GatewayEvent): void => void told.push(event)
  const events = keepEvents({ file, limits: () => limits, report, random: () => 0.5 })
  const { recorder, requests } = events
  recorder.recordedStore(createMemoryStore({ random: recorder.random }), () => instantOf(clock))
  const { config, pools } = createRuntimeConfig(checked(configOf(['a.test'])))
  recorder.configured({ settings: config.settings, pools, credits: new Map() })
  let ids = 0
  const end = async (count: number): Promise<string[]> => {
    const ended: string[] = []
    for (let nth = 0; nth < count; nth++) {
      const ownId = crypto.randomUUID()
      recorder.ended(requestEvent({ id: ownId, ownId, requestedModel: `m${ids++ % 7}` }))
      ended.push(ownId)
      await clock.advance(10)
    }
    return ended
  }
  onTestFinished(() => events.close())
  return {
    ...events,
    file,
    told,
    end,
    list: (limit = 1_000) => requests.list({ limit }),
    /** All is in the file by then: whom nobody knows is looked for there too. */
    written: () => requests.explain('nobody'),
  }
}

/** Of the requests that are listed, the newest first. */
export const idsOf = async (log: ReturnType<typeof bed>, limit?: number): Promise<string[]> =>
  (await log.list(limit)).requests.map(({ id }) => id)
