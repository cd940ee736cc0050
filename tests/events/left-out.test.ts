import { expect, test } from 'vitest'
import { explanationOf, type Decision, type Explanation } from '../../src/events/explain.ts'
import { createRecordedDay, SECRET, seenIn } from './recorded-day.ts'

const TOKEN_OF_A = 'token-of-the-client-a-0123456789abcdef'

const entry = (name: string, more: object = {}) => ({
  base_url: `https://${name}.test/v1`,
  api_key: `key-${name}`,
  model: `model-${name}`,
  name,
  ...more,
})

const MODELS = [
  entry('one', { groups: ['some'], limits: { concurrency: 1 } }),
  entry('two', { groups: ['some'] }),
  entry('three', { limits: { rpm: 20 } }),
  entry('off', { enabled: false, groups: ['some'] }),
  entry('chat', { endpoints: ['chat'], groups: ['some'] }),
  entry('same', { model: 'model-two' }),
]
const NAMES = MODELS.map(({ name }) => name)

const configOf = (models: readonly object[], settings: object = {}): object => ({
  auth_token: 'sk-test-token',
  tokens: [{ name: 'a', token: TOKEN_OF_A, models: ['some', 'three'] }],
  models,
  settings: { queue_timeout: 30, queue_size: 5, strategy: 'in_order', affinity: 'off', ...settings },
})

async function explanationsOf(day: ReturnType<typeof createRecordedDay>): Promise<Explanation[]> {
  const [segment, ...others] = day.segments()
  if (segment === undefined || others.length > 0) throw new Error('one segment was meant')
  const requests = seenIn(segment)
  return Promise.all(
    requests.map((one) => explanationOf({ ...one, segments: [segment], isAlive: false }, SECRET)),
  )
}

const whyIn = ({ unavailable }: Decision): Record<string, string> =>
  Object.fromEntries(unavailable.map(({ upstream, why, source }) => [upstream, `${why} (${source})`]))

const OFF = 'disabled (configured)'
const VECTORS = "its vectors do not mix with another model's (configured)"
const ELSE = 'not of the model that was asked for (request)'

test.each([
  {
    what: 'of a group',
    body: { model: 'some' },
    left: { off: OFF, three: ELSE, same: ELSE },
  },
  {
    what: 'for vectors',
    body: { model: 'auto', input: 'x' },
    how: { path: 'embeddings' },
    left: {
      off: OFF,
      chat: 'does not serve embeddings (configured)',
      two: VECTORS,
      three: VECTORS,
      same: VECTORS,
    },
  },
  {
    what: 'with the token of a client',
    body: { model: 'auto' },
    how: { authorization: `Bearer ${TOKEN_OF_A}` },
    left: { off: OFF, same: "not for the client's token (token)" },
  },
])('a choice $what names everybody whom it left out, and why', async ({ body, how = {}, left }) => {
  const day = createRecordedDay(configOf(MODELS), 5)
  day.askIn(0, '10.0.0.1', body, how)
  await day.run()
  const [{ decisions, exact } = { decisions: [], exact: false }] = await explanationsOf(day)
  const [first] = decisions
  if (first === undefined) throw new Error('no choice')
  expect([exact, whyIn(first)]).toEqual([true, left])
  const looked = first.candidates.map(({ upstream }) => upstream)
  expect([...looked, ...Object.keys(left)].toSorted()).toEqual(NAMES.toSorted())
})

test('what is presumed to be for other endpoints is named as such', async () => {
  const day = createRecordedDay(configOf(MODELS), 5)
  day.askIn(0, '10.0.0.1')
  await day.run()
  const [segment] = day.segments()
  if (segment === undefined) throw new Error('nothing was recorded')
  const [one] = seenIn(segment)
  // As if the list of its vendor had said so.
  const upstreams = segment.config.upstreams.map((upstream) =>
    upstream.name === 'same' ? { ...upstream, presumedEndpoints: ['embeddings' as const] } : upstream,
  )
  const listed = { ...segment, config: { ...segment.config, upstreams } }
  const told = await explanationOf({ ...one!, segments: [listed], isAlive: false }, SECRET)
  const left = { off: OFF, same: 'presumed to be for other endpoints (presumed)' }
  expect([told.exact, whyIn(told.decisions[0]!)]).toEqual([true, left])
})

test('a request that builds on an answer names the others as bound to it', async () => {
  const day = createRecordedDay(configOf(MODELS), 5)
  day.askIn(0, '10.0.0.1', { input: 'x' }, { path: 'responses' })
  for (const [at, authorization] of [undefined, `Bearer ${TOKEN_OF_A}`].entries())
    day.askIn(
      5_000 * (at + 1),
      '10.0.0.1',
      { input: 'x', previous_response_id: 'x' },
      {
        path: 'responses',
        ...(authorization && { authorization }),
      },
    )
  await day.run()
  const [, bound] = await explanationsOf(day)
  expect(bound?.attempts[0]?.why).toBe('pinned')
  expect(whyIn(bound!.decisions[0]!)).toMatchObject({
    off: OFF,
    chat: 'does not serve responses (configured)',
    two: 'another one has the answer that the request builds on (pinned)',
    three: 'another one has the answer that the request builds on (pinned)',
  })
})

test('who was asked before a wait may be asked again behind it, and is a candidate then', async () => {
  const names = ['sick-1', 'sick-2', 'sick-3']
  const day = createRecordedDay(
    configOf(
      names.map((name) => entry(name)),
      { queue_timeout: 60 },
    ),
    3,
    10_000,
  )
  for (let nth = 0; nth < 40; nth++) day.askIn(nth * 3_000, '10.0.0.1')
  await day.run()
  let again = 0
  for (const { decisions } of await explanationsOf(day)) {
    const before = new Set<string | null>()
    for (const { kind, chosen, candidates, unavailable } of decisions) {
      if (kind === 'next in order' && before.has(chosen)) again += 1
      const looked = candidates.map(({ upstream }) => upstream)
      if (chosen !== null && kind !== 'last resort') expect(looked).toContain(chosen)
      expect([...looked, ...unavailable.map(({ upstream }) => upstream)].toSorted()).toEqual(names)
      before.add(chosen)
    }
  }
  expect(again).toBeGreaterThan(0)
})

test('every upstream of the configuration stands in every choice once, with a reason that fits what happened', async () => {
  const day = createRecordedDay(configOf(MODELS), 31, 10_000)
  let at = 0
  for (let nth = 0; nth < 250; nth++) {
    at += day.dice() < 0.1 ? 5_000 * day.dice() : day.dice() * 60
    const model = ['auto', 'some', 'model-two', 'one', 'nobody'][Math.floor(day.dice() * 5)]
    day.askIn(
      at,
      '10.0.0.1',
      { model, stream: day.dice() < 0.3 },
      {
        ...(day.dice() < 0.3 && { authorization: `Bearer ${TOKEN_OF_A}` }),
      },
    )
  }
  await day.run()
  const explanations = await explanationsOf(day)
  const seen = new Map<string, number>()
  for (const { request, decisions, attempts, exact } of explanations) {
    expect(exact).toBe(true)
    for (const decision of decisions) {
      const { candidates, unavailable } = decision
      const named = [...candidates, ...unavailable].map(({ upstream }) => upstream)
      expect(named.toSorted()).toEqual(NAMES.toSorted())
      for (const { upstream, why } of unavailable) {
        seen.set(why, (seen.get(why) ?? 0) + 1)
        const before = attempts.filter(({ started_ms: ms }) => ms <= decision.after_ms)
        const wasAsked = before.some((one) => one.upstream === upstream)
        if (why === 'asked already for this request') expect(wasAsked).toBe(true)
        if (why === 'others wait for it already') expect(wasAsked).toBe(false)
        if (why === "not for the client's token") expect([request.token, upstream]).toEqual(['a', 'same'])
      }
    }
  }
  expect([...seen.keys()]).toEqual(
    expect.arrayContaining([
      'disabled',
      'asked already for this request',
      'others wait for it already',
      'not of the model that was asked for',
      "not for the client's token",
    ]),
  )
}, 60_000)
