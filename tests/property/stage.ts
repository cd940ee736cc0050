import { readAll, play } from '../support/played.ts'
import type { FakeClock } from '../support/fake-clock.ts'
import { createTestApp, jsonAnswer, type SeenRequest, type TestApp } from '../support/test-app.ts'
import { TransportError } from '../../src/transport/transport.ts'
import { askedOf, judge, verdictsOf, type Course, type Past, type Violation } from './oracle.ts'
import { bodyOf, configOf, modelOf, nameOf, PATHS, type Scenario } from './scenario.ts'
import { playOf } from './scripts.ts'

/** A clock that jumps to the next timer. */
interface SteppingClock extends FakeClock {
  /** Fires the next timer; false where there is none. */
  step(): boolean
}

function createSteppingClock(start = Date.UTC(2026, 10, 22, 12)): SteppingClock {
  let now = start
  let order = 0
  const timers = new Set<{ at: number; order: number; task: () => void }>()
  const clock: SteppingClock = {
    now: () => now,
    wall: () => now,
    get timers() {
      return timers.size
    },
    setWall() {},
    after(ms, task) {
      const timer = { at: now + Math.max(0, ms), order: order++, task }
      timers.add(timer)
      return () => void timers.delete(timer)
    },
    async advance(ms) {
      const end = now + ms
      for (;;) {
        await turns()
        const next = nextTimer()
        if (next === undefined || next.at > end) break
        clock.step()
      }
      now = end
    },
    step() {
      const next = nextTimer()
      if (next === undefined) return false
      timers.delete(next)
      now = Math.max(now, next.at)
      next.task()
      return true
    },
  }
  function nextTimer() {
    let next: { at: number; order: number; task: () => void } | undefined
    for (const timer of timers)
      if (next === undefined || timer.at < next.at || (timer.at === next.at && timer.order < next.order))
        next = timer
    return next
  }
  return clock
}

/** Lets everything that is ready run. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** Longer than any request of a scenario may last, ms. */
const PATIENCE_MS = 600_000
/** All that rests is awake again, and nothing that was learned is remembered. */
const DAYS_MS = 3 * 86_400_000

/** Plays a scenario in this process and tells what was wrong. */
export async function playOut(scenario: Scenario): Promise<readonly Violation[]> {
  const lost: unknown[] = []
  const onLost = (reason: unknown): void => void lost.push(reason)
  process.on('unhandledRejection', onLost)
  try {
    const violations = await runRequests(scenario)
    await turns()
    return [
      ...violations,
      ...lost.map((reason) => ({ kind: 'a rejection is not handled', detail: String(reason) })),
    ]
  } finally {
    process.off('unhandledRejection', onLost)
  }
}

async function runRequests(scenario: Scenario): Promise<Violation[]> {
  const clock = createSteppingClock()
  const began = clock.now()
  const asks: { upstream: number; at: number }[] = []
  const config = configOf(scenario, ({ host }) => `https://h${host}.test`)
  const app = createTestApp(
    config,
    (request, signal) => {
      // Its list of models, which may be read in the background, is no part of the request.
      if (request.method !== 'POST') return jsonAnswer(404, {})
      const upstream = upstreamOf(scenario, request)
      asks.push({ upstream, at: clock.now() - began })
      const played = playOf(scenario.upstreams[upstream]!.script, askedOf(scenario, upstream))
      if ('throws' in played) throw new TransportError(played.throws, 'as the script says')
      return play(played)(request, signal, clock)
    },
    { clock, seed: scenario.seed },
  )
  if (scenario.isBudgetSpent) while (app.deps.traffic.budget.spend(clock.now()));

  const request = async (): Promise<Course> => {
    asks.length = 0
    let client: Course['client']
    const reading = app
      .chat({}, { path: PATHS[scenario.endpoint], body: JSON.stringify(bodyOf(scenario)) })
      .then(async (response) => {
        const body = await readAll(response)
        client = { status: response.status, headers: Object.fromEntries(response.headers), ...body }
      })
    const since = clock.now()
    for (;;) {
      await turns()
      if (client !== undefined || clock.now() - since > PATIENCE_MS || !clock.step()) break
    }
    if (client !== undefined) await reading
    return { asks: [...asks], endedAt: clock.now() - began, client }
  }

  const first = await request()
  const violations = [...judge(scenario, first), ...leftBehind(app, scenario, first)]
  if (violations.length > 0 || scenario.again === 'never' || scenario.isBudgetSpent) return violations
  if (scenario.again === 'days later') {
    await clock.advance(DAYS_MS)
    return [...judge(scenario, await request(), { resting: new Set(), stuckTo: undefined })].map(later)
  }
  return [...judge(scenario, await request(), pastOf(scenario, first))].map(soon)
}

const later = ({ kind, detail }: Violation): Violation => ({ kind: `days later: ${kind}`, detail })
const soon = ({ kind, detail }: Violation): Violation => ({ kind: `at once again: ${kind}`, detail })

function upstreamOf({ upstreams }: Scenario, { host, headers, text }: SeenRequest): number {
  const [, model] = /"model":"(m\d+)"/.exec(text) ?? []
  return upstreams.findIndex(
    (one) =>
      host === `h${one.host}.test` &&
      headers['authorization'] === `Bearer ${one.key}` &&
      modelOf(one) === model,
  )
}

const RESTLESS = new Set(['answer', 'too-long', 'refused-body', 'empty', 'other-form'])

/** Who may rest after a request, and who answered its conversation. */
function pastOf(scenario: Scenario, course: Course): Past {
  const readings = verdictsOf(scenario, course)
  const resting = new Set<number>()
  for (const [nth, { upstream }] of course.asks.entries()) {
    if (readings[nth]!.every(({ row }) => RESTLESS.has(row))) continue
    resting.add(upstream)
    // With its key, maybe.
    for (const [index, { key }] of scenario.upstreams.entries())
      if (key === scenario.upstreams[upstream]!.key) resting.add(index)
  }
  const last = readings.at(-1) ?? []
  const isAnswered = last.length > 0 && last.every(({ row }) => row === 'answer')
  const answered = course.asks.at(-1)?.upstream
  // Whether a better tier that is awake again comes before the conversation's upstream, the contract leaves open.
  const best = Math.min(...scenario.upstreams.map(({ priority }) => priority))
  const isBest = answered !== undefined && scenario.upstreams[answered]?.priority === best
  const stuckTo = scenario.affinity === 'conversation' && isAnswered && isBest ? answered : undefined
  return { resting, stuckTo }
}

/** Nobody cools for a refused body or a request too long; every lease is settled. */
function leftBehind(app: TestApp, scenario: Scenario, course: Course): Violation[] {
  const found: Violation[] = []
  if (app.openLeases > 0 || app.inFlight() > 0)
    found.push({
      kind: 'a lease is not settled',
      detail: `${app.openLeases} leases, ${app.inFlight()} in flight`,
    })
  // What is thrown by mistake looks like a broken connection to the client.
  for (const event of app.events)
    if (event.kind === 'notice' && event.level === 'error')
      found.push({ kind: 'a mistake of ours', detail: event.message })
  const { upstreams } = app.deps.runtimeConfig().pools
  const readings = verdictsOf(scenario, course)
  const { resting } = pastOf(scenario, course)
  for (const [nth, { upstream }] of course.asks.entries()) {
    const scopes = upstreams[upstream]!.claims[scenario.endpoint].draws.map(({ scope }) => scope)
    const breaker = app.store.snapshot(scopes).find((state) => state?.breaker !== undefined)?.breaker
    if (breaker === undefined || breaker.openUntil <= app.clock.now() || resting.has(upstream)) continue
    // Two bare 429s of one host put all that is there at the end of the order.
    const { host } = scenario.upstreams[upstream]!
    const isLimitedAt = ({ upstream: other }: { upstream: number }, at: number): boolean =>
      scenario.upstreams[other]!.host === host && readings[at]!.some(({ limit }) => limit !== undefined)
    if (course.asks.filter(isLimitedAt).length >= 2) continue
    found.push({
      kind: `an upstream rests for ${readings[nth]!.map(({ row }) => row).join(' or ')}`,
      detail: `${nameOf(upstream)}: ${breaker.cause}`,
    })
  }
  return found
}
