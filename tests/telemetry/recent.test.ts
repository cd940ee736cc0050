import { expect, test } from 'vitest'
import { createRecent } from '../../src/telemetry/recent.ts'
import { attemptEvent, requestEvent } from './events.ts'

test('an upstream that was never asked has no past', () => {
  expect(createRecent(() => 0).of('id-a')).toBeUndefined()
})

test('the last forty outcomes are kept, newest first, and all are counted', () => {
  let wall = 0
  const recent = createRecent(() => wall)
  for (wall = 1; wall <= 50; wall++) recent.report(attemptEvent({ durationMs: wall }))
  recent.report(requestEvent())
  const past = recent.of('id-a')
  expect(past?.last.map(({ at }) => at)).toEqual(Array.from({ length: 40 }, (_, at) => 50 - at))
  expect(past?.last[0]).toEqual({ at: 50, outcome: 'ok', status: 200, durationMs: 50 })
  expect(past?.attempts).toBe(50)
})

test.each([
  { outcome: 'ok', failures: 0, because: 'it answered' },
  { outcome: 'aborted', failures: 0, because: 'the client left' },
  { outcome: 'client-error', failures: 0, because: 'the request was at fault' },
  { outcome: 'other-model', failures: 0, because: 'another model may do it' },
  { outcome: 'rate-limited', failures: 1, because: 'it refused' },
  { outcome: 'auth', failures: 1, because: 'its key is refused' },
  { outcome: 'broken', failures: 1, because: 'it broke off' },
] as const)('$outcome counts $failures failure(s), since $because', ({ outcome, failures }) => {
  const recent = createRecent(() => 0)
  recent.report(attemptEvent({ outcome }))
  expect(recent.of('id-a')).toMatchObject({ attempts: 1, failures })
})

test('percentiles are of the last 200 answers, whatever came before', () => {
  const recent = createRecent(() => 0)
  for (let at = 0; at < 300; at++) recent.report(attemptEvent({ firstByteMs: 99_999 }))
  for (let ms = 200; ms >= 1; ms--) recent.report(attemptEvent({ firstByteMs: ms }))
  expect(recent.of('id-a')?.firstByteMs).toEqual({ p50: 100, p95: 190 })
})

test('one answer is its own median, and a failure is no answer', () => {
  const recent = createRecent(() => 0)
  const { firstByteMs: _, ...unanswered } = attemptEvent({ outcome: 'failure' })
  recent.report(unanswered)
  expect(recent.of('id-a')).not.toHaveProperty('firstByteMs')
  recent.report(attemptEvent({ firstByteMs: 7 }))
  expect(recent.of('id-a')?.firstByteMs).toEqual({ p50: 7, p95: 7 })
})

test('what left the configuration is forgotten, the rest stays', () => {
  const recent = createRecent(() => 0)
  recent.report(attemptEvent({ upstreamId: 'a' }))
  recent.report(attemptEvent({ upstreamId: 'b' }))
  recent.prune(['b', 'c'])
  expect(recent.of('a')).toBeUndefined()
  expect(recent.of('b')?.attempts).toBe(1)
})

test('a look at the past does not change with what comes after', () => {
  const recent = createRecent(() => 0)
  recent.report(attemptEvent())
  const past = recent.of('id-a')
  recent.report(attemptEvent({ firstByteMs: 1 }))
  expect(past?.last).toHaveLength(1)
  expect(past?.attempts).toBe(1)
})
