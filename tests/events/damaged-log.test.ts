import { expect, test } from 'vitest'
import { segmentHead, segmentsIn, type ArchivedSegment } from '../../src/events/archive.ts'
import { explanationOf, requestLine } from '../../src/events/explain.ts'
import { explained } from '../../src/events/requests.ts'
import { concatBytes } from '../../src/lib/bytes.ts'
import { createDice } from '../support/dice.ts'
import { createRecordedDay, SECRET, seenIn } from './recorded-day.ts'

const entry = (host: string, more: object = {}) => ({
  base_url: `https://${host}/v1`,
  api_key: `key-${host}`,
  model: 'm',
  name: host,
  ...more,
})

/** A log of some segments as it stands in a file, in parts. */
async function logOfDay(): Promise<Uint8Array> {
  const config = {
    auth_token: 'sk-test-token',
    models: [entry('told-1.test'), entry('own.test', { limits: { rpm: 20, tpd: 9_000 } }), entry('few.test')],
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

/** Reads all that there is to read, as the list and the explanations do; gives how much that was. */
async function readAll(bytes: Uint8Array) {
  const segments: readonly ArchivedSegment[] = segmentsIn(bytes)
  let ended = 0
  let inexact = 0
  for (const segment of segments) {
    const requests = seenIn(segment)
    JSON.stringify(requests.map(requestLine))
    ended += requests.filter(({ end }) => end !== undefined).length
    const [first] = requests
    if (first === undefined) continue
    const told = await explanationOf({ ...first, segments: [segment], isAlive: false }, SECRET)
    if (!told.exact) inexact += 1
  }
  return { segments: segments.length, ended, inexact }
}

test('a log is read as far as it goes, wherever it was cut and whatever bits of it have turned', async () => {
  const log = await logOfDay()
  const whole = await readAll(log)
  expect([whole.ended, whole.inexact]).toEqual([90, 0])
  const dice = createDice(3)
  const at = (): number => Math.floor(dice() * log.length)
  for (let round = 0; round < 150; round++) {
    const cut = log.subarray(0, at())
    const read = await readAll(cut)
    expect([read.inexact, read.ended <= whole.ended]).toEqual([0, true])
  }
  for (let round = 0; round < 300; round++) {
    const damaged = log.slice()
    for (let flips = 1 + Math.floor(dice() * 8); flips > 0; flips--) {
      const place = at()
      damaged[place] = (damaged[place] ?? 0) ^ (1 << Math.floor(dice() * 8))
    }
    const read = await readAll(damaged)
    expect(read.segments).toBeLessThanOrEqual(whole.segments + 8)
  }
}, 120_000)

test('an explanation out of a damaged segment does not claim to be exact, and one without an end does not claim to be under way', async () => {
  const day = createRecordedDay({ auth_token: 'sk-test-token', models: [entry('told-1.test')] }, 5)
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
  const day = createRecordedDay({ auth_token: 'sk-test-token', models: [entry('told-1.test')] }, 5)
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
  const day = createRecordedDay({ auth_token: 'sk-test-token', models: [entry('told-1.test')] }, 5)
  const first = '00000000-0000-4000-8000-000000000001'
  day.askIn(0, '10.0.0.1')
  day.askIn(2_000, '10.0.0.2', {}, { 'x-request-id': first })
  await day.run()
  const seen = day.segments().map((segment) => ({ segment, isAlive: true }))
  expect(await explained(first, seen, { secret: SECRET })).toMatchObject({ request: { id: first } })
})
