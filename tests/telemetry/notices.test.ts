import { expect, test } from 'vitest'
import type { AttemptEvent, AttemptFailure, GatewayEvent } from '../../src/relay/deps.ts'
import { createNotices } from '../../src/telemetry/notices.ts'
import { attemptEvent } from './events.ts'

const url = 'https://a.test/v1/chat/completions'
const WALL = Date.UTC(2026, 10, 22, 12)

/** Notices of upstream `a`, at a moment that a test moves. */
function createBed() {
  let passed = 0
  const told: GatewayEvent[] = []
  const clock = { now: () => passed, wall: () => WALL + passed }
  const notices = createNotices((event) => void told.push(event), clock)
  return {
    notices,
    pass: (ms: number) => void (passed += ms),
    /** What is told of an attempt that ended so. */
    after(event: Partial<AttemptEvent>, failure: Partial<AttemptFailure> = {}): string[] {
      const failed = event.outcome !== 'ok' && { failure: { url, isUnsent: false, ...failure } }
      notices.report(attemptEvent({ ...failed, ...event }))
      return told.splice(0).map((one) => {
        if (one.kind !== 'notice') return expect.fail('only notices are told')
        expect(one).toMatchObject({ level: 'warning', upstream: event.upstream ?? 'a' })
        return one.message
      })
    },
  }
}
const unreachable = { outcome: 'failure', status: undefined } as const
const refused = { reason: 'connection refused', isUnsent: true }

test.each([
  { outcome: 'auth', status: 401, told: `its key was refused (401) at ${url}` },
  { outcome: 'not-found', status: 404, told: `its model or the endpoint chat was not found (404) at ${url}` },
  {
    outcome: 'quota',
    status: 429,
    failure: { hintMs: 7_200_000 },
    told: 'its quota is spent until 2026-11-22T14:00:00.000Z (429)',
  },
  { outcome: 'quota', status: 402, told: 'its quota is spent (402)' },
  {
    outcome: 'failure',
    status: undefined,
    failure: refused,
    told: `out of reach: connection refused at ${url}`,
  },
] as const)('$outcome, $status is told once, and once that it is over', ({ told, failure, ...event }) => {
  const bed = createBed()
  expect(bed.after(event, failure)).toEqual([`upstream a: ${told}`])
  for (let times = 0; times < 5; times++) {
    bed.pass(120_000)
    expect(bed.after(event, failure)).toEqual([])
  }
  expect(bed.after({ outcome: 'ok' })).toEqual(['upstream a: works again'])
  expect(bed.after({ outcome: 'ok' })).toEqual([])
})

test.each(['rate-limited', 'overloaded', 'client-error', 'other-model', 'aborted', 'ok'] as const)(
  '%s is daily bread and not told',
  (outcome) => {
    const bed = createBed()
    for (let times = 0; times < 5; times++) expect(bed.after({ outcome })).toEqual([])
  },
)

test('single failures are not told, the third in a row is', () => {
  const bed = createBed()
  const broken = { outcome: 'failure', status: 500 } as const
  for (let times = 0; times < 5; times++) {
    expect([bed.after(broken), bed.after(broken), bed.after({ outcome: 'ok' })].flat()).toEqual([])
  }
  expect([bed.after(broken), bed.after(broken)].flat()).toEqual([])
  expect(bed.after(broken)).toEqual([`upstream a: fails: status 500, 3 in a row at ${url}`])
  expect(bed.after({ outcome: 'aborted' })).toEqual([])
  expect(bed.after({ outcome: 'client-error' })).toEqual(['upstream a: works again'])
})

test('another trouble is another change', () => {
  const bed = createBed()
  expect(bed.after(unreachable, refused)).toHaveLength(1)
  expect(bed.after({ outcome: 'auth', status: 401 })).toHaveLength(1)
  expect(bed.after({ outcome: 'ok' })).toEqual(['upstream a: works again'])
})

test('one that comes and goes writes two lines a minute and no more', () => {
  const bed = createBed()
  const lines: string[] = []
  for (let second = 0; second < 600; second++) {
    lines.push(...bed.after(unreachable, refused), ...bed.after({ outcome: 'ok' }))
    bed.pass(1_000)
  }
  expect(lines).toHaveLength(20)
})

test('a trouble that came back too soon to be told is told when it lasts', () => {
  const bed = createBed()
  bed.after(unreachable, refused)
  bed.after({ outcome: 'ok' })
  expect(bed.after(unreachable, refused)).toEqual([])
  bed.pass(61_000)
  expect(bed.after(unreachable, refused)).toHaveLength(1)
})

test('an endpoint that is not there is not over with the success of another', () => {
  const bed = createBed()
  const missing = { outcome: 'not-found', status: 404, endpoint: 'embeddings' } as const
  expect(bed.after(missing)).toHaveLength(1)
  expect(bed.after({ outcome: 'ok' })).toEqual([])
  expect(bed.after(missing)).toEqual([])
  expect(bed.after({ outcome: 'ok', endpoint: 'embeddings' })).toEqual(['upstream a: works again'])
})

test('each upstream has its own, and those that left the configuration are forgotten', () => {
  const bed = createBed()
  expect(bed.after(unreachable, refused)).toHaveLength(1)
  expect(bed.after({ ...unreachable, upstreamId: 'id-b', upstream: 'b' }, refused)).toHaveLength(1)
  bed.notices.prune(['id-b'])
  expect(bed.after({ outcome: 'ok' })).toEqual([])
  expect(bed.after({ outcome: 'ok', upstreamId: 'id-b', upstream: 'b' })).toHaveLength(1)
})
