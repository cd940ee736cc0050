import { BlockList } from 'node:net'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { isInRange, isV4, parseIp, parseRange } from '../../src/lib/ip.ts'

function isIn(address: string, range: string): boolean {
  const ip = parseIp(address)
  const parsed = parseRange(range)
  if (ip === undefined || parsed === undefined) throw new Error(`${address} or ${range} was not read`)
  return isInRange(ip, parsed)
}

test.each([
  ['10.255.255.255', '10.0.0.0/8', true],
  ['11.0.0.0', '10.0.0.0/8', false],
  ['172.31.0.1', '172.16.0.0/12', true],
  ['172.32.0.1', '172.16.0.0/12', false],
  ['1.2.3.4', '1.2.3.4', true],
  ['1.2.3.5', '1.2.3.4', false],
  ['1.2.3.5', '1.2.3.4/31', true],
  ['9.9.9.9', '0.0.0.0/0', true],
  ['::1', '0.0.0.0/0', false],
  ['10.9.9.9', '10.1.2.3/8', true],
  ['::ffff:10.9.9.9', '10.0.0.0/8', true],
  ['10.9.9.9', '::ffff:10.0.0.0/104', true],
  ['fdff::1', 'fc00::/7', true],
  ['fe00::1', 'fc00::/7', false],
  ['::1', '::1', true],
  ['2001:db8::1', '::/0', true],
  ['1.2.3.4', '::/0', false],
])('%s in %s: %s', (address, range, expected) => {
  expect(isIn(address, range)).toBe(expected)
})

test.each([
  '',
  '/8',
  '10.0.0.0/',
  '10.0.0.0/33',
  '10.0.0.0/-1',
  '10.0.0.0/8/8',
  '10.0.0.0/8 ',
  '10.0.0/8',
  '::/129',
  '::/1e1',
  '::ffff:1.2.3.4/95',
  'host',
  '10.0.0.0/255.0.0.0',
])('%j is no range', (text) => {
  expect(parseRange(text)).toBeUndefined()
})

test('a range holds what it holds for Node', () => {
  const v4 = fc.record({
    a: fc.ipV4(),
    b: fc.ipV4(),
    bits: fc.integer({ min: 0, max: 32 }),
    family: fc.constant('ipv4' as const),
  })
  const v6 = fc.record({
    a: fc.ipV6(),
    b: fc.ipV6(),
    bits: fc.integer({ min: 0, max: 128 }),
    family: fc.constant('ipv6' as const),
  })
  fc.assert(
    fc.property(fc.oneof(v4, v6), fc.boolean(), ({ a, b, bits, family }, isBase) => {
      fc.pre(family === 'ipv4' || !isV4(parseIp(a) ?? []))
      const list = new BlockList()
      list.addSubnet(a, bits, family)
      const asked = isBase ? a : b
      expect(isIn(asked, `${a}/${bits}`)).toBe(list.check(asked, family))
    }),
    { numRuns: 3_000 },
  )
})

test('the last bit of a prefix counts and the first behind it does not', () => {
  const prefix = fc.record({
    words: fc.array(fc.nat(0xffff), { minLength: 8, maxLength: 8 }),
    bits: fc.integer({ min: 1, max: 127 }),
  })
  const flipped = (words: readonly number[], bit: number): number[] =>
    words.map((word, at) => (at === bit >> 4 ? word ^ (0x8000 >> (bit & 15)) : word))
  fc.assert(
    fc.property(prefix, ({ words, bits }) => {
      fc.pre(words[0]! > 1)
      expect(isInRange(flipped(words, bits), { base: words, bits })).toBe(true)
      expect(isInRange(flipped(words, bits - 1), { base: words, bits })).toBe(false)
    }),
  )
})
