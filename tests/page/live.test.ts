import { expect, test } from 'vitest'
import { withEvent, type LiveState } from '../../src/page/live.ts'
import { sceneAt } from './scene.ts'

const scene = sceneAt(Date.parse('2026-11-30T12:00:00Z'))
const empty: LiveState = { connection: 'live' }
const { status, requests, usage } = scene
const begun = withEvent(empty, 'snapshot', { status, requests, usage })
const namesIn = (state: LiveState): string[] | undefined => state.status?.upstreams.map(({ name }) => name)

test('a snapshot is all that is known', () => {
  expect(begun).toEqual({ connection: 'live', status, requests, usage })
})

test('a change of the status replaces its fields, and whole upstreams in their places', () => {
  const [first] = status.upstreams
  const after = withEvent(begun, 'status', { queue: { waiting: 4 }, upstreams: [{ ...first, in_flight: 9 }] })
  expect(after.status?.queue.waiting).toBe(4)
  expect(after.status?.upstreams[0]?.in_flight).toBe(9)
  expect(namesIn(after)).toEqual(namesIn(begun))
})

test('upstreams come, go and change places as they are told', () => {
  const [first] = status.upstreams
  const added = withEvent(begun, 'status', {
    upstreams: [{ ...first, id: 'new', name: 'new' }],
    upstream_ids: ['new', 'gemini', 'groq'],
  })
  expect(namesIn(added)).toEqual(['new', 'gemini', 'groq'])
})

test('a renamed upstream stays the same one', () => {
  const [first] = status.upstreams
  const after = withEvent(begun, 'status', { upstreams: [{ ...first, name: 'another name' }] })
  expect(namesIn(after)?.[0]).toBe('another name')
  expect(namesIn(after)).toHaveLength(status.upstreams.length)
})

test('requests are kept newest first, each once, and no more than a page can bear', () => {
  const at = (ms: number): string => new Date(Date.parse('2026-11-30T12:00:00Z') + ms).toISOString()
  const one = { ...requests[0], id: 'a', at: at(5_000) }
  const once = withEvent(withEvent(begun, 'requests', [one]), 'requests', [{ ...one, status: 502 }])
  expect(once.requests?.filter(({ id }) => id === 'a').map((request) => request.status)).toEqual([502])
  expect(once.requests?.[0]?.id).toBe('a')
  const many = Array.from({ length: 700 }, (_, nth) => ({ ...one, id: `many-${nth}`, at: at(10_000 + nth) }))
  const full = withEvent(once, 'requests', many)
  expect(full.requests).toHaveLength(500)
  expect(full.requests?.[0]?.id).toBe('many-699')
})

test('an event of another kind changes nothing', () => {
  expect(withEvent(begun, 'skipped', { skipped: 7 })).toBe(begun)
})
