import { BlockList, isIP } from 'node:net'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { ipText, parseIp } from '../../src/lib/ip.ts'

const canonical = (text: string): string | undefined => {
  const ip = parseIp(text)
  return ip === undefined ? undefined : ipText(ip)
}

test.each([
  ['1.2.3.4', '1.2.3.4'],
  ['0.0.0.0', '0.0.0.0'],
  ['255.255.255.255', '255.255.255.255'],
  ['::ffff:1.2.3.4', '1.2.3.4'],
  ['::FFFF:102:304', '1.2.3.4'],
  ['0:0:0:0:0:ffff:1.2.3.4', '1.2.3.4'],
  ['::1', '::1'],
  ['::', '::'],
  ['0:0:0:0:0:0:0:0', '::'],
  ['2001:DB8::1', '2001:db8::1'],
  ['2001:0db8:0000:0000:0000:0000:0000:0001', '2001:db8::1'],
  ['2001:db8::', '2001:db8::'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['0:0:1:0:0:0:0:0', '0:0:1::'],
  ['1:0:0:2:10:0:0:0', '1:0:0:2:10::'],
  ['10:0:0:2:0:0:3:4', '10::2:0:0:3:4'],
  ['1::3:4:5:6:7:8', '1:0:3:4:5:6:7:8'],
  ['64:ff9b::1.2.3.4', '64:ff9b::102:304'],
  ['::1.2.3.4', '::102:304'],
  ['::ffff:1:1.2.3.4', '::ffff:1:102:304'],
  ['::ffff:1', '::ffff:1'],
])('%s is %s', (text, expected) => {
  expect(canonical(text)).toBe(expected)
})

test.each([
  '',
  '1',
  '1.2.3',
  '1.2.3.4.5',
  '1.2.3.',
  '.1.2.3',
  '1..2.3',
  '256.1.1.1',
  '01.2.3.4',
  '1.2.3.00',
  '1.2.3.4 ',
  '1.2.3.4:5',
  '0x1.2.3.4',
  '１.2.3.4',
  ':',
  ':::',
  '1:::2',
  '1::2::3',
  ':1',
  '1:',
  '1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:8:9',
  '1:2:3:4:5:6:7:8::',
  '1::2:3:4:5:6:7:8',
  '12345::',
  'g::',
  '::1%eth0',
  '[::1]',
  '::1.2.3',
  '1.2.3.4::',
  '::1.2.3.4:1',
  '::01.2.3.4',
  'unknown',
])('%j is no address', (text) => {
  expect(parseIp(text)).toBeUndefined()
})

const junk = fc.array(fc.constantFrom('1', '0', '255', 'ffff', 'F', ':', '::', '.', '1.2.3.4', 'g', ' '), {
  maxLength: 12,
})

test('an address is what Node takes for one', () => {
  const texts = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    junk.map((list) => list.join('')),
  )
  fc.assert(
    fc.property(texts, (text) => {
      expect(parseIp(text) !== undefined).toBe(isIP(text) !== 0)
    }),
    { numRuns: 5_000 },
  )
})

test('the canonical text names the same address, and is its own canonical text', () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
      const once = canonical(text) ?? ''
      expect(canonical(once)).toBe(once)
      expect(parseIp(once)).toEqual(parseIp(text))
      const list = new BlockList()
      list.addAddress(once, isIP(once) === 4 ? 'ipv4' : 'ipv6')
      expect(list.check(text, isIP(text) === 4 ? 'ipv4' : 'ipv6')).toBe(true)
    }),
    { numRuns: 1_000 },
  )
})

test('the canonical text of an IPv6 address is that of the URL standard', () => {
  const words = fc.array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 })
  fc.assert(
    fc.property(words, (ip) => {
      fc.pre(ip.slice(0, 5).some((each) => each !== 0))
      expect(`[${ipText(ip)}]`).toBe(
        new URL(`http://[${ip.map((each) => each.toString(16)).join(':')}]`).hostname,
      )
    }),
    { numRuns: 3_000 },
  )
})
