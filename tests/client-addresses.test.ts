import { expect, test } from 'vitest'
import { answer, configOf, createTestApp, errorAnswer, type TestApp } from './support/test-app.ts'

/** A thousand clients behind a trusted proxy, told apart by their addresses. */

const hosts = ['a.test', 'b.test', 'c.test', 'd.test']
const addresses = Array.from({ length: 1_000 }, (_, at) => `203.0.${at >> 8}.${at & 255}`)

/** Who serves each address, in one round of requests. */
async function round({ chat }: TestApp): Promise<Map<string, string | null>> {
  const served = new Map<string, string | null>()
  for (const address of addresses) {
    const response = await chat({}, { peer: '10.0.0.1', headers: { 'x-forwarded-for': address } })
    served.set(address, response.headers.get('x-aiload-upstream'))
  }
  return served
}

const moved = (before: Map<string, string | null>, after: Map<string, string | null>): string[] =>
  addresses.filter((address) => before.get(address) !== after.get(address))

test.each(['random', 'round_robin', 'least_busy'])(
  '%s: each of 1,000 addresses sticks for its time to live, and of an upstream that goes only its clients move',
  async (strategy) => {
    let sick: string | undefined
    const test = createTestApp(
      configOf(hosts, { settings: { strategy, affinity: 'ip', affinity_ttl: 300 } }),
      ({ host }) => (host === sick ? errorAnswer(503) : answer(host)),
    )
    const first = await round(test)
    for (const host of hosts) {
      const clients = addresses.filter((address) => first.get(address) === host).length
      expect(clients).toBeGreaterThan(150)
      expect(clients).toBeLessThan(350)
    }
    await test.clock.advance(299_000)
    expect(moved(first, await round(test))).toEqual([])
    await test.clock.advance(299_000)
    expect(moved(first, await round(test)), 'the time counts from the last request').toEqual([])

    sick = 'b.test'
    const without = await round(test)
    expect(moved(first, without)).toEqual(addresses.filter((address) => first.get(address) === sick))
    expect(new Set(without.values())).toEqual(new Set(['a.test', 'c.test', 'd.test']))

    sick = undefined
    await test.clock.advance(120_000)
    expect(moved(without, await round(test)), 'whoever moved stays where it was answered').toEqual([])
  },
)
