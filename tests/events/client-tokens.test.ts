import { expect, test } from 'vitest'
import { createRecordedDay, replayed } from './recorded-day.ts'

test('choices for tokens of clients, with limits and models of their own, fall again as they had', async () => {
  const names = ['alice', 'bob']
  const secretOf = (name: string): string => `sk-${name}-${'x'.repeat(40)}`
  const hosts = ['a.test', 'b.test', 'c.test', 'd.test']
  const config = {
    auth_token: 'sk-test-token',
    tokens: [
      { name: 'alice', token: secretOf('alice'), limits: { rpm: 30, concurrency: 2, tpm: 90_000 } },
      { name: 'bob', token: secretOf('bob'), models: ['a.test', 'b.test'], limits: { rpm: 40 } },
    ],
    models: hosts.map((host) => ({
      base_url: `https://${host}/v1`,
      api_key: 'k',
      model: `m-${host}`,
      name: host,
    })),
    settings: { strategy: 'random', affinity: 'ip', queue_timeout: 3 },
  }
  const day = createRecordedDay(config, 3, 50)
  for (let nth = 0; nth < 400; nth++) {
    const name = names[Math.floor(day.dice() * 3)]
    const headers = name === undefined ? {} : { authorization: `Bearer ${secretOf(name)}` }
    day.askIn(nth * 700 * day.dice(), `10.0.0.${Math.floor(day.dice() * 9)}`, {}, headers)
  }
  await day.run()
  const { choices, begun, ended } = replayed(day.segments())
  expect(new Set(begun.map(({ token }) => token))).toEqual(new Set([undefined, 'alice', 'bob']))
  expect(ended.map(({ status }) => status)).toContain(429)
  const asked = choices.filter(({ frame }) => frame.isAsked)
  const live = day.live.filter(({ order }) => !(order[0] ?? '').startsWith('token '))
  expect(live.length).toBeLessThan(day.live.length)
  expect(
    asked.map(({ order, chosen }) => ({ order: order.map(({ id }) => id), granted: chosen?.id })),
  ).toEqual(live)
  expect(choices.filter(({ isSame }) => !isSame)).toEqual([])
})
