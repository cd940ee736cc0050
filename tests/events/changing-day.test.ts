import { expect, test } from 'vitest'
import { createRecordedDay, replayed } from './recorded-day.ts'

const TOKEN_OF_A = 'token-of-the-client-a-0123456789abcdef'

const entry = (host: string, more: object = {}) => ({
  base_url: `https://${host}/v1`,
  api_key: `key-${host}`,
  model: `model-${host}`,
  name: host,
  ...more,
})

const FULL = [
  entry('told-1.test', { groups: ['some'] }),
  entry('told-2.test', { weight: 3, endpoints: ['chat', 'responses'] }),
  entry('own.test', { limits: { rpm: 20, rpd: 400, tpd: 60_000, day_resets: 'America/Los_Angeles' } }),
  entry('shared.test', { api_key: ['a', 'b'], quotas: ['account'], groups: ['some'] }),
  entry('also.test', { quotas: ['account'], limits: { tpm: 9_000 } }),
  entry('few.test', { limits: { concurrency: 2 }, proxy: 'http://proxy.test:3128' }),
  entry('edited.test', { params: { set: { max_tokens: 50 } } }),
  entry('plain.test', { can: { tools: false } }),
  { vendor: 'groq', api_key: 'gsk_groq' },
  entry('last.test', { priority: 2 }),
]

const configOf = (models: readonly object[], settings: object = {}): object => ({
  auth_token: 'sk-test-token',
  quotas: { account: { rpm: 40, tpm: 20_000, concurrency: 3 } },
  tokens: [{ name: 'a', token: TOKEN_OF_A, models: ['some', 'own.test'], limits: { rpm: 200 } }],
  models,
  settings: { queue_timeout: 30, unknown_model: 'auto', ...settings },
})

/** Configurations that follow each other: others, other places, other limits, another strategy, and the first again. */
const CHANGES: readonly object[] = [
  configOf(FULL.slice(1).toReversed()),
  configOf(
    FULL.map((one) => ({ ...one, limits: { rpm: 15, concurrency: 2 }, priority: 0, weight: 1 })),
    {
      strategy: 'least_busy',
      affinity: 'conversation',
    },
  ),
  configOf(FULL.slice(2, 6), { strategy: 'headroom', affinity: 'header:x-team' }),
  configOf(FULL, { strategy: 'round_robin', affinity: 'off' }),
  configOf([...FULL.slice(4), ...FULL.slice(0, 4)], { strategy: 'fastest', affinity: 'user' }),
]

const PATHS = ['embeddings', 'responses', 'completions'] as const

test.each([
  { strategy: 'random', seed: 10, queue_size: 100 },
  { strategy: 'round_robin', seed: 21, queue_size: 3 },
  { strategy: 'headroom', seed: 12, queue_size: 100 },
  { strategy: 'in_order', seed: 23, queue_size: 3 },
])(
  'choices of $strategy fall again as they had beside reloads, streams, clients that leave and a clock that is set ($seed)',
  async ({ strategy, seed, queue_size }) => {
    const day = createRecordedDay(configOf(FULL, { strategy, queue_size }), seed, 40)
    const count = 600
    let at = 0
    for (let nth = 0; nth < count; nth++) {
      at += day.dice() < 0.05 ? 20_000 * day.dice() : day.dice() * 300
      const path = PATHS[Math.floor(day.dice() * 12)]
      const model = ['auto', 'some', 'nobody-has-this', 'model-own.test', 'shared.test'][
        Math.floor(day.dice() * 5)
      ]
      const body = {
        model,
        stream: path === undefined && day.dice() < 0.5,
        tools: day.dice() < 0.2 ? [{ type: 'function', function: { name: 'f' } }] : undefined,
        max_tokens: day.dice() < 0.3 ? Math.ceil(day.dice() * 4_000) : undefined,
        n: day.dice() < 0.1 ? 3 : undefined,
        user: `user-${Math.floor(day.dice() * 5)}`,
        input: 'hello',
        prompt: 'hello',
        previous_response_id: path === 'responses' && day.dice() < 0.5 ? 'x' : undefined,
      }
      day.askIn(at, `10.0.0.${Math.floor(day.dice() * 20)}`, body, {
        ...(path && { path }),
        ...(body.stream && { accept: 'text/event-stream' }),
        ...(day.dice() < 0.1 && { leavesMs: day.dice() * 5_000 }),
        ...(day.dice() < 0.2 && { authorization: `Bearer ${TOKEN_OF_A}` }),
        'x-team': `team-${Math.floor(day.dice() * 3)}`,
      })
      const change = CHANGES[Math.floor(day.dice() * 60)]
      if (change !== undefined) day.clock.after(at, () => day.reload(change))
      if (day.dice() < 0.02)
        day.clock.after(at, () => day.setWall(Math.floor((day.dice() - 0.5) * 7_200_000)))
    }
    await day.run()
    const { choices, ended } = replayed(day.segments())
    expect(ended.length).toBe(count)
    expect(choices.length).toBeGreaterThan(count)
    const asked = choices.filter(({ frame }) => frame.isAsked)
    expect(
      asked.map(({ order, chosen }) => ({ order: order.map(({ id }) => id), granted: chosen?.id })),
    ).toEqual(day.live.filter(({ order }) => !(order[0] ?? '').startsWith('token ')))
    expect(choices.filter(({ isSame }) => !isSame)).toEqual([])
  },
  120_000,
)
