import { beforeEach, describe, expect, test } from 'vitest'
import { createObjectBed, type ObjectBed } from '../support/object-bed.ts'
import { chatAnswer, play, refusal, stagedBy } from '../support/played.ts'
import { configOf, type FakeUpstream, type TestApp } from '../support/test-app.ts'

const settings = { strategy: 'least_busy', timeout: 10, queue_timeout: 0 }
const hosts = (count: number): string[] => Array.from({ length: count }, (_, nth) => `u${nth}.test`)

let bed: ObjectBed
/** How many messages had passed when an upstream was called. */
let passed: number[]

beforeEach(() => {
  bed = createObjectBed()
  passed = []
})

const noted =
  (upstream: FakeUpstream): FakeUpstream =>
  (...call) => {
    passed.push(bed.calls.length)
    return upstream(...call)
  }

/** Asks after all that was to be told has been; gives who answered, and the round trips before it was called. */
async function asked(app: TestApp, body: object = {}, path = 'chat/completions') {
  await bed.clock.advance(5_000)
  const before = bed.calls.length
  passed = []
  const answer = await app.chat(body, { path })
  await answer.text()
  return {
    by: answer.headers.get('x-aiload-upstream'),
    status: answer.status,
    trips: passed.map((at) => at - before),
  }
}

describe('before an attempt one round trip is made', () => {
  test.each([
    { affinity: 'off', count: 3 },
    { affinity: 'ip', count: 3 },
    { affinity: 'conversation', count: 20 },
  ])(
    'with affinity $affinity and $count upstreams, of which the isolate has heard nothing',
    async ({ affinity, count }) => {
      const config = configOf(hosts(count), { settings: { ...settings, affinity } })
      const app = bed.isolate(config, noted(play(chatAnswer())))
      expect((await asked(app)).trips).toEqual([1])
      expect((await asked(app)).trips).toEqual([1])
    },
  )

  test('and a conversation that another isolate began goes on where it was, however many there are', async () => {
    const config = configOf(hosts(30), {
      settings: { ...settings, affinity: 'conversation', strategy: 'round_robin' },
    })
    const [left, right] = [
      bed.isolate(config, play(chatAnswer())),
      bed.isolate(config, noted(play(chatAnswer()))),
    ]
    const talks = Array.from({ length: 20 }, (_, nth) => ({
      messages: [{ role: 'user', content: `talk ${nth}` }],
    }))
    const served = []
    for (const talk of talks) served.push((await asked(left, talk)).by)
    expect(new Set(served).size).toBe(20)
    for (const [nth, talk] of [...talks.entries()].toReversed())
      expect(await asked(right, talk)).toMatchObject({ by: served[nth], trips: [1] })
  })

  test('where an upstream of a lower tier served the key, the upper tier is asked all the same', async () => {
    const config = {
      ...configOf([], { settings: { ...settings, affinity: 'ip' } }),
      models: ['upper.test', 'lower.test'].map((host, priority) => ({
        base_url: `https://${host}/v1`,
        model: 'm',
        name: host,
        priority,
      })),
    }
    const upstream = stagedBy({ 'upper.test': [refusal(500), chatAnswer()], 'lower.test': chatAnswer() })
    const [left, right] = [bed.isolate(config, upstream), bed.isolate(config, noted(upstream))]
    expect((await asked(left)).by).toBe('lower.test')
    expect(await asked(right)).toMatchObject({ by: 'upper.test', trips: [1] })
  })

  test('and an answer is built on where it is, by the isolate that never heard of it too', async () => {
    const config = configOf(hosts(12), { settings })
    const first = play({
      ...chatAnswer(),
      body: ['{"id":"resp_1","object":"response","output":[{"type":"message"}]}'],
    })
    const [left, right] = [bed.isolate(config, first), bed.isolate(config, noted(first))]
    const { by } = await asked(left, { input: 'hello' }, 'responses')
    const next = { input: 'and?', previous_response_id: 'resp_1' }
    expect(await asked(right, next, 'responses')).toMatchObject({ by, trips: [1] })
    const failing = bed.isolate(config, noted(play(refusal(429))))
    expect(await asked(failing, next, 'responses')).toMatchObject({ status: 429, trips: [1] })
    const unknown = { input: 'and?', previous_response_id: 'resp_2' }
    expect(await asked(right, unknown, 'responses')).toMatchObject({ status: 200, trips: [1] })
  })

  test('and while its holder rests nobody else is asked, as the object alone knows', async () => {
    const config = configOf(hosts(3), { settings })
    const first = play({
      ...chatAnswer(),
      body: ['{"id":"resp_1","object":"response","output":[{"type":"message"}]}'],
    })
    const left = bed.isolate(config, first)
    await asked(left, { input: 'hello' }, 'responses')
    const next = { input: 'and?', previous_response_id: 'resp_1' }
    const limited = bed.isolate(config, play(refusal(429, 'some_code', { 'retry-after': '60' })))
    await asked(limited, next, 'responses')
    const right = bed.isolate(config, noted(first))
    expect(await asked(right, next, 'responses')).toMatchObject({ status: 429, trips: [] })
  })
})
