import { expect, test } from 'vitest'
import { upstreamsOf } from '../../src/config/upstreams.ts'
import { utf8Bytes } from '../../src/lib/bytes.ts'
import type { GatewayEvent } from '../../src/relay/deps.ts'
import { createDiscovery } from '../../src/relay/discovery.ts'
import { createAbilities } from '../../src/state/abilities.ts'
import { createModelLists } from '../../src/state/model-lists.ts'
import { TransportError, type Send } from '../../src/transport/transport.ts'
import { configOf, textOf } from '../config/texts.ts'
import type { Clock } from '../../src/lib/clock.ts'
import { createFakeClock } from '../support/fake-clock.ts'

const DAY_MS = 86_400_000
const root = 'https://a.example/v1'

/** What the upstream answers to `GET /v1/models`: ids, a whole answer, a status, or silence. */
type Listing = readonly string[] | object | number | 'down' | 'silent'

function bed(entry: object = { models: '*' }, modelLists = createModelLists()) {
  const clock = createFakeClock()
  let hasTimers = true
  const after: Clock['after'] = (ms, task) => clock.after(ms, () => void (hasTimers && task()))
  const abilities = createAbilities()
  const asked: { url: string; authorization: string | undefined }[] = []
  const messages: string[] = []
  let listing: Listing = []
  let changes = 0
  const send: Send = (request, signal) => {
    asked.push({ url: request.url, authorization: request.headers['authorization'] })
    if (listing === 'silent')
      return new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(new TransportError('aborted', 'left'))),
      )
    if (listing === 'down') return Promise.reject(new TransportError('not-sent', 'x', 'connection refused'))
    const status = typeof listing === 'number' ? listing : 200
    const told =
      Array.isArray(listing) && typeof listing[0] === 'string'
        ? { data: listing.map((id: string) => ({ id })) }
        : listing
    return Promise.resolve({ status, headers: {}, body: utf8Bytes(JSON.stringify(told)) })
  }
  const report = (event: GatewayEvent): void => void (event.kind === 'notice' && messages.push(event.message))
  const discovery = createDiscovery(
    { clock: { ...clock, now: clock.now, after }, send, report, abilities, modelLists },
    () => (changes += 1),
  )
  const config = configOf(textOf({ models: [{ base_url: root, api_key: 'k', ...entry }] }))
  return {
    clock,
    asked,
    messages,
    abilities,
    modelLists,
    discovery,
    config,
    get changes() {
      return changes
    },
    loseTimers: () => void (hasTimers = false),
    answers: (next: Listing) => void (listing = next),
    models: () => upstreamsOf(config, discovery.listedBy).map(({ model }) => model),
  }
}

test('the list is asked for once at start, with the key, and its models are served', async () => {
  const { answers, discovery, config, models, asked, clock } = bed({ models: ['m-*'] })
  answers(['m-1', 'other', 'm-2'])
  await discovery.expect(config)
  expect(models()).toEqual(['m-1', 'm-2'])
  expect(asked).toEqual([{ url: `${root}/models`, authorization: 'Bearer k' }])
  expect(discovery.expect(config)).toBeUndefined()
  await clock.advance(DAY_MS - 1)
  expect(asked).toHaveLength(1)
  await clock.advance(1)
  expect(asked).toHaveLength(2)
})

test('a model leaves with the second good answer without it; one that comes back stays', async () => {
  const { answers, discovery, config, models, clock } = bed()
  answers(['a', 'b'])
  await discovery.expect(config)
  answers(['a'])
  await clock.advance(DAY_MS)
  expect(models()).toEqual(['a', 'b'])
  answers(['a', 'b'])
  await clock.advance(DAY_MS)
  answers(['a'])
  await clock.advance(DAY_MS)
  expect(models()).toEqual(['a', 'b'])
  await clock.advance(DAY_MS)
  expect(models()).toEqual(['a'])
})

test.each<Listing>(['down', 500, { models: 'none' }])(
  'an answer that is none (%j) takes no model away',
  async (bad) => {
    const { answers, discovery, config, models, clock } = bed()
    answers(['a'])
    await discovery.expect(config)
    answers(bad)
    await clock.advance(3 * DAY_MS)
    expect(models()).toEqual(['a'])
  },
)

test('a list that cannot be had is asked for again after 5 s, doubling to an hour, and told once', async () => {
  const one = bed()
  one.answers('down')
  await one.discovery.expect(one.config)
  expect(one.models()).toEqual([])
  await one.clock.advance(5_000)
  await one.clock.advance(10_000)
  expect(one.asked).toHaveLength(3)
  await one.clock.advance(DAY_MS)
  expect(one.asked.length).toBeLessThan(36)
  expect(one.messages).toEqual([
    'the list of models of a.example could not be had (connection refused); it is asked for again',
  ])
  one.answers(['a'])
  await one.clock.advance(3_600_000)
  expect([one.models(), one.changes]).toEqual([['a'], 1])
})

test('who says nothing keeps a configuration waiting for 5 s at most', async () => {
  const { answers, discovery, config, clock } = bed()
  answers('silent')
  let isReady = false
  const ready = discovery.expect(config)?.then(() => (isReady = true))
  await clock.advance(4_999)
  expect(isReady).toBe(false)
  await clock.advance(1)
  await ready
  expect(isReady).toBe(true)
})

test('the size of a context and abilities are read where the list has them', async () => {
  const { answers, discovery, config, abilities } = bed()
  const entry = { id: 'a', context_length: 8_000, supported_parameters: ['tools'] }
  answers({ data: [entry, { id: 'b' }] })
  await discovery.expect(config)
  const [a, b] = upstreamsOf(config, discovery.listedBy)
  expect(abilities.of(a?.id ?? '')).toMatchObject({
    can: { tools: { can: true, source: 'models' } },
    sizes: { context: { most: 8_000 } },
  })
  expect(abilities.of(b?.id ?? '').sizes).toEqual({})
})

test.each([
  [
    'a bare list',
    [
      { id: 'a', type: 'chat' },
      { id: 'e', type: 'embedding' },
    ],
  ],
  [
    'models by name',
    {
      models: [
        { name: 'a', endpoints: ['chat'] },
        { name: 'e', endpoints: ['embed'] },
      ],
    },
  ],
  ['the paths of Gemini', { data: [{ id: 'models/a' }, { id: 'models/embedding-e' }] }],
])('%s is read too', async (_, listing) => {
  const { answers, discovery, config } = bed()
  answers(listing)
  await discovery.expect(config)
  const upstreams = upstreamsOf(config, discovery.listedBy)
  expect(upstreams.map(({ model }) => model.replace('embedding-', ''))).toEqual(['a', 'e'])
  expect(upstreams.map(({ presumed }) => presumed?.endpoints?.has('embeddings'))).toEqual([false, true])
})

test('what no model can be called is left out of a list, and what stands there twice is one model', async () => {
  const { answers, discovery, config, models } = bed()
  const odd = ['', 'a\nb', 'a\u0000', '\u001b[2J', 'a\u202eb', 'a\ud800', 'x'.repeat(257)]
  answers([...odd, 'm', 'm', 'models/m', '__proto__', 'auto', 'x'.repeat(256), 'modèle 智'])
  await discovery.expect(config)
  expect(models()).toEqual(['m', '__proto__', 'auto', 'x'.repeat(256), 'modèle 智'])
})

test('a list in another order is no news: who comes first stays first', async () => {
  const bedOf = bed()
  const { answers, discovery, config, models, clock } = bedOf
  answers(['a', 'b', 'c'])
  await discovery.expect(config)
  answers(['c', 'b', 'a'])
  await clock.advance(DAY_MS)
  expect([models(), bedOf.changes]).toEqual([['a', 'b', 'c'], 1])
  answers(['new', 'c', 'a'])
  await clock.advance(DAY_MS)
  expect([models(), bedOf.changes]).toEqual([['a', 'b', 'c', 'new'], 2])
})

test('globs that match nothing are told once, and again by no other answer', async () => {
  const { answers, discovery, config, messages, clock } = bed({ models: 'nobody-*' })
  answers(['a', 'b'])
  await discovery.expect(config)
  await clock.advance(2 * DAY_MS)
  const told = 'models[0].models: matches none of the 2 models that a.example lists; correct it'
  expect([messages, discovery.unmatched()]).toEqual([[told], [told]])
})

test('a source that is no longer configured is asked no more', async () => {
  const { answers, discovery, config, asked, clock } = bed()
  answers(['a'])
  await discovery.expect(config)
  expect(discovery.expect(configOf(textOf()))).toBeUndefined()
  await clock.advance(3 * DAY_MS)
  expect(asked).toHaveLength(1)
  discovery.close()
  expect(clock.timers).toBe(0)
})

test('where timers are lost, the next request asks for what is overdue', async () => {
  const { answers, discovery, config, models, asked, clock, loseTimers } = bed()
  answers('down')
  await discovery.expect(config)
  loseTimers()
  expect(discovery.askOverdue(1_000)).toBeUndefined()
  await clock.advance(8_000)
  answers(['a'])
  await discovery.askOverdue(1_000)
  expect([models(), asked.length]).toEqual([['a'], 2])
  expect(discovery.askOverdue(1_000)).toBeUndefined()
})

test('after a restart what was listed before is served at once, also while the list is away', async () => {
  const before = bed()
  before.answers([{ id: 'e', type: 'embedding' }, { id: 'a' }])
  await before.discovery.expect(before.config)
  const kept: unknown = JSON.parse(JSON.stringify(before.modelLists.keep()))
  expect(JSON.stringify(kept)).not.toContain('"k"')

  const modelLists = createModelLists()
  modelLists.restore(kept)
  modelLists.restore([['x', [{ id: 7 }]], 'junk', null])
  const after = bed(undefined, modelLists)
  after.answers('down')
  expect(after.discovery.expect(after.config)).toBeUndefined()
  expect(after.models()).toEqual(['e', 'a'])
  const [first] = upstreamsOf(after.config, after.discovery.listedBy)
  expect([...(first?.presumed?.endpoints ?? [])]).toEqual(['embeddings'])
  await after.clock.advance(3 * DAY_MS)
  expect(after.models()).toEqual(['e', 'a'])
  expect(after.discovery.expect(configOf(textOf()))).toBeUndefined()
  expect(modelLists.keep()).toEqual([])
})
