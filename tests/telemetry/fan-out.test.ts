import { expect, test } from 'vitest'
import type { GatewayEvent } from '../../src/relay/deps.ts'
import { fanOut } from '../../src/telemetry/log.ts'

const event: GatewayEvent = { kind: 'queue', waiting: 1 }

test('every report gets every event, in order', () => {
  const seen: string[] = []
  const report = fanOut([(e) => seen.push(`first ${e.kind}`), (e) => seen.push(`second ${e.kind}`)])
  report(event)
  report({ kind: 'notice', level: 'info', message: 'x' })
  expect(seen).toEqual(['first queue', 'second queue', 'first notice', 'second notice'])
})

test('a report that throws neither reaches the caller nor keeps the others from the event', () => {
  const seen: GatewayEvent[] = []
  const broken = (): never => {
    throw new Error('disk full')
  }
  const report = fanOut([broken, (e) => seen.push(e), broken])
  expect(() => report(event)).not.toThrow()
  expect(seen).toEqual([event])
})
