import { expect, test } from 'vitest'
import { explanationOf } from '../../src/events/explain.ts'
import { strategyNames } from '../../src/pool/strategy.ts'
import { TOKEN } from '../support/test-app.ts'
import { createRecordedDay, replayed, SECRET, seenIn } from './recorded-day.ts'

/** Entries of several kinds: limits of their own, a shared quota, a preset, tiers, several keys. */
function poolOf(strategy: string, affinity: string): object {
  const entry = (host: string, more: object = {}) => ({
    base_url: `https://${host}/v1`,
    api_key: `key-${host}`,
    model: `model-${host}`,
    name: host,
    ...more,
  })
  return {
    auth_token: 'sk-test-token',
    quotas: { account: { rpm: 40, tpm: 20_000 } },
    models: [
      entry('told-1.test'),
      entry('told-2.test', { weight: 3 }),
      entry('own.test', { limits: { rpm: 20, rpd: 400 } }),
      entry('shared.test', { api_key: ['a', 'b'], quotas: ['account'] }),
      entry('few.test', { limits: { concurrency: 2 } }),
      entry('plain.test', { can: { tools: false } }),
      entry('last.test', { priority: 2 }),
    ],
    settings: { strategy, affinity, queue_timeout: 3 },
  }
}

const COUNT = 840

test.each(
  strategyNames.flatMap((strategy) => [
    { strategy, affinity: 'off' },
    { strategy, affinity: 'ip' },
  ]),
)(
  'every choice of $strategy with affinity $affinity falls again as it had, in the same order of upstreams, across a restart',
  async ({ strategy, affinity }) => {
    const day = createRecordedDay(poolOf(strategy, affinity), 7, 100)
    for (const half of [0, 1]) {
      if (half === 1) await day.restart()
      for (let nth = 0, at = 0; nth < COUNT / 2; nth++) {
        const tools = day.dice() < 0.2 ? [{ type: 'function', function: { name: 'f' } }] : undefined
        const max_tokens = day.dice() < 0.3 ? Math.ceil(day.dice() * 4_000) : undefined
        at += day.dice() < 0.05 ? 20_000 * day.dice() : day.dice() * 300
        day.askIn(at, `10.0.0.${Math.floor(day.dice() * 20)}`, { tools, max_tokens })
      }
      await day.run()
    }
    const { choices, ended } = replayed(day.segments())
    expect(ended).toHaveLength(COUNT)
    expect(choices.filter(({ isSame }) => !isSame)).toEqual([])
    const asked = choices.filter(({ frame }) => frame.isAsked)
    expect(asked.length).toBeGreaterThan(COUNT)
    expect(
      asked.map(({ order, chosen }) => ({ order: order.map(({ id }) => id), granted: chosen?.id })),
    ).toEqual(day.live)
  },
  120_000,
)

test('choices beside pauses and trials fall again as they had, and an explanation names the pause', async () => {
  const day = createRecordedDay(poolOf('headroom', 'off'), 11, 60)
  const operate = (what: string, upstream: string): Promise<Response> | Response =>
    day.gateway.app.fetch(
      new Request(`http://gateway.test/admin/${what}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${TOKEN}` },
        body: JSON.stringify({ upstream }),
      }),
      { peer: '10.0.0.1' },
    )
  const names = ['told-1.test', 'own.test', 'few.test', 'told-2.test']
  for (let nth = 0; nth < 400; nth++) {
    day.askIn(nth * 120, '10.0.0.1')
    const what = ['pause', 'resume', 'test', 'forget'][Math.floor(day.dice() * 12)]
    const name = names[Math.floor(day.dice() * names.length)] ?? ''
    if (what !== undefined) day.clock.after(nth * 120, () => void operate(what, name))
  }
  await day.run()
  const segments = day.segments()
  const { choices } = replayed(segments)
  expect(choices.length).toBeGreaterThan(400)
  expect(choices.filter(({ isSame }) => !isSame)).toEqual([])
  const kept = choices
    .flatMap(({ evaluation }) => evaluation.unavailable)
    .filter(({ reason }) => reason.cause === 'paused')
  expect(kept.length).toBeGreaterThan(50)
  const explained = await Promise.all(
    segments.flatMap((segment) =>
      seenIn(segment).map((one) => explanationOf({ ...one, segments: [segment], isAlive: false }, SECRET)),
    ),
  )
  const lines = explained.flatMap(({ decisions }) => decisions.flatMap(({ unavailable }) => unavailable))
  expect(lines).toContainEqual({
    upstream: expect.stringMatching(/test$/),
    why: 'paused',
    until: null,
    source: 'paused',
    scope: 'upstream',
  })
})
