import type { StateCall, StateReply } from '../../src/state/durable-object/protocol.ts'
import { createObjectStore } from '../../src/state/durable-object/store.ts'
import { createStateObject } from '../../src/state/durable-object/object.ts'
import { createFallbackStore } from '../../src/state/fallback-store.ts'
import { createFakeClock, type FakeClock } from './fake-clock.ts'
import { createTestApp, type FakeUpstream, type TestApp } from './test-app.ts'

/** Isolates over one Durable Object, all on one clock, and every message that passes between them. */
export interface ObjectBed {
  readonly clock: FakeClock
  readonly calls: StateCall[]
  /** The gateway of another isolate. */
  isolate(config: object, upstream: FakeUpstream): TestApp
  /** Whether messages arrive. */
  isAway: boolean
}

export function createObjectBed(): ObjectBed {
  const clock = createFakeClock()
  const calls: StateCall[] = []
  let isolates = 0
  const object = createStateObject({
    rows: { all: () => [], put: () => {}, remove: () => {} },
    at: () => ({ now: clock.now(), wall: clock.wall() }),
    random: () => 0.5,
    after: (ms, task) => void clock.after(ms, task),
    life: 'one',
  })
  const bed: ObjectBed = {
    clock,
    calls,
    isAway: false,
    isolate: (config, upstream) =>
      createTestApp(config, upstream, {
        clock,
        isShared: true,
        around(local) {
          const remote = createObjectStore({
            isolate: String(isolates++),
            now: clock.now,
            after: clock.after,
            ownInFlight: (scope) => local.snapshot([scope])[0]?.inFlight ?? 0,
            defer: () => {},
            // What passes is JSON, as on the wire.
            async call(question) {
              const sent = JSON.parse(JSON.stringify(question)) as StateCall
              calls.push(sent)
              if (bed.isAway) throw new Error('away')
              return JSON.parse(JSON.stringify(object.answer(sent))) as StateReply
            },
          })
          return createFallbackStore({ remote, local, now: clock.now, after: clock.after, defer: () => {} })
        },
      }),
  }
  return bed
}
