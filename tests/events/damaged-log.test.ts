import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { eventLogIn } from '../../src/cli/what-if/log.ts'
import { segmentHead, segmentSteps, type ArchivedSegment } from '../../src/events/archive.ts'
import { explanationOf } from '../../src/events/explain.ts'
import { createRecorder } from '../../src/events/recorder.ts'
import { createRequestLog, explained } from '../../src/events/requests.ts'
import { concatBytes } from '../../src/lib/bytes.ts'
import { createRecordedDay, entryAt, SECRET, seenIn } from './recorded-day.ts'

/** A log of some segments as it stands in a file, in parts. */
async function logOfDay(): Promise<Uint8Array> {
  const config = {
    auth_token: 'sk-test-token',
    models: [
      entryAt('told-1.test'),
      entryAt('own.test', { limits: { rpm: 20, tpd: 9_000 } }),
      entryAt('few.test'),
    ],
    settings: { strategy: 'round_robin' },
  }
  const day = createRecordedDay(config, 5, 20)
  for (let nth = 0; nth < 90; nth++)
    day.askIn(nth * 150, '10.0.0.1', {}, { 'x-request-id': `client-${nth % 4}` })
  await day.run()
  const writer = { process: crypto.randomUUID(), generation: 1, known: new Set<string>() }
  return concatBytes(
    day.segments().flatMap((segment) => {
      const half = segment.bytes.length >> 1
      const parts = [segment.bytes.subarray(0, half), segment.bytes.subarray(half)]
      return parts.flatMap((part, at) => [segmentHead(segment, at * half, writer), part])
    }),
  )
}

/** Reads all that there is to read, as the list, the explanations and what-if do; gives how much that was. */
async function readAll(bytes: Uint8Array) {
  const segments: ArchivedSegment[] = []
  let lost = 0
  for (const step of segmentSteps(bytes)) {
    if (typeof step === 'number') lost += step
    else segments.push(step)
  }
  const log = createRequestLog({
    recorder: createRecorder({ random: () => 0, secret: SECRET }),
    secret: SECRET,
    archive: {
      process: 'another',
      kept: '',
      async *read() {
        yield { segments, lost: lost === 0 ? undefined : `${lost} bytes` }
      },
      readOldest: async () => segments.slice(0, 1),
    },
  })
  const { requests, dropped } = await log.list({ limit: 1_000 })
  const told = await Promise.all([1, 50, 90].map((nth) => log.explain(idOf(nth))))
  const { arrivals } = eventLogIn(segments)
  expect([JSON.stringify(told).length, arrivals.length <= 90]).toEqual([expect.any(Number), true])
  const inexact = told.filter((one) => one !== undefined && !('requests' in one) && !one.exact).length
  return { segments: segments.length, listed: requests.length, inexact, lost, dropped }
}

const idOf = (nth: number): string => `00000000-0000-4000-8000-${String(nth).padStart(12, '0')}`

const log = await logOfDay()
const whole = await readAll(log)
const places = fc.nat({ max: log.length - 1 })
const flips = fc.array(fc.tuple(places, fc.nat({ max: 7 })), { minLength: 1, maxLength: 8 })

test('a log is read as far as it goes, wherever it was cut, and tells of what is left of a frame', async () => {
  expect(whole).toMatchObject({ listed: 90, inexact: 0, lost: 0, dropped: null })
  await fc.assert(
    fc.asyncProperty(places, async (place) => {
      const { listed, inexact, lost, dropped } = await readAll(log.subarray(0, place))
      expect([inexact, listed <= whole.listed, dropped !== null]).toEqual([0, true, lost > 0])
      expect((await readAll(log.subarray(0, place + 1_000))).listed).toBeGreaterThanOrEqual(listed)
    }),
    { numRuns: 60 },
  )
}, 60_000)

test('a log is read without a failure and with an end, whatever bits of it have turned', async () => {
  await fc.assert(
    fc.asyncProperty(flips, async (turned) => {
      const damaged = log.slice()
      for (const [place, bit] of turned) damaged[place] = (damaged[place] ?? 0) ^ (1 << bit)
      const { segments, listed } = await readAll(damaged)
      expect([segments <= whole.segments + 8, listed <= whole.listed + 8]).toEqual([true, true])
    }),
    { numRuns: 150 },
  )
}, 120_000)

test('an explanation out of a damaged segment does not claim to be exact, and one without an end does not claim to be under way', async () => {
  const day = createRecordedDay({ auth_token: 'sk-test-token', models: [entryAt('told-1.test')] }, 5)
  day.askIn(0, '10.0.0.1')
  await day.run()
  const [segment] = day.segments()
  if (segment === undefined) throw new Error('nothing was recorded')
  const [one] = seenIn(segment)
  if (one === undefined) throw new Error('no request was recorded')
  const state = segment.bytes.slice()
  // The state is JSON, at the front.
  state[state.indexOf(0x7b) + 1] = 0x3f
  const damaged = { ...segment, bytes: state }
  expect((await explanationOf({ ...one, segments: [damaged], isAlive: false }, SECRET)).exact).toBe(false)
  const cut = { ...one, end: undefined, segments: [segment] }
  expect((await explanationOf({ ...cut, isAlive: true }, SECRET)).end).toBeNull()
  const lost = await explanationOf({ ...cut, isAlive: false }, SECRET)
  expect(lost.end).toEqual({ status: 0, code: null, text: expect.stringContaining('process ended') })
})

test('an id that a client gives to all its requests lists them, and no choice is made again for that', async () => {
  const day = createRecordedDay({ auth_token: 'sk-test-token', models: [entryAt('told-1.test')] }, 5)
  for (let nth = 0; nth < 30; nth++) day.askIn(nth * 1_000, '10.0.0.1', {}, { 'x-request-id': 'same' })
  await day.run()
  const seen = day.segments().map((segment) => ({ segment, isAlive: false }))
  const told = await explained('same', seen, { secret: SECRET })
  if (told === undefined || !('requests' in told)) throw new Error('no list')
  expect(told.requests).toHaveLength(30)
  const [newest, older] = told.requests
  expect((newest?.at ?? '') > (older?.at ?? '')).toBe(true)
  const one = await explained(newest?.id ?? '', seen, { secret: SECRET })
  expect(one).toMatchObject({
    exact: true,
    request: { id: newest?.id },
    decisions: [{ chosen: 'told-1.test' }],
  })
  expect(await explained('nobody', seen, { secret: SECRET })).toBeUndefined()
})

test('a client that takes an id of ours for its own hides nothing', async () => {
  const day = createRecordedDay({ auth_token: 'sk-test-token', models: [entryAt('told-1.test')] }, 5)
  const first = '00000000-0000-4000-8000-000000000001'
  day.askIn(0, '10.0.0.1')
  day.askIn(2_000, '10.0.0.2', {}, { 'x-request-id': first })
  await day.run()
  const seen = day.segments().map((segment) => ({ segment, isAlive: true }))
  expect(await explained(first, seen, { secret: SECRET })).toMatchObject({ request: { id: first } })
})
