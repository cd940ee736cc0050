import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fingerprint, hash01, secretMatcher } from '../../src/lib/hash.ts'

/** The z-score of chi-square against an even spread over `buckets`. */
function unevenness(values: readonly number[], buckets: number): number {
  const counts = Array.from({ length: buckets }, () => 0)
  for (const value of values) counts[Math.floor(value * buckets)]! += 1
  const expected = values.length / buckets
  const chi = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)
  return (chi - (buckets - 1)) / Math.sqrt(2 * (buckets - 1))
}

const bitsOf = (value: number): bigint => BigInt(value * 2 ** 53)

describe('hash01', () => {
  test.each([
    ['sequential numbers', (i: number) => `${i}`],
    ['client addresses', (i: number) => `10.0.${i >> 8}.${i & 255}`],
    ['a key and an upstream', (i: number) => `192.168.1.7\n${i}`],
    ['an upstream behind a counter', (i: number) => `${i}\ngpt-4o@api.openai.com`],
    ['long equal heads', (i: number) => `${'x'.repeat(500)}${i}`],
    ['Chinese text', (i: number) => `问题${String.fromCharCode(0x4e00 + (i % 20_000))}${i}`],
    ['repeated zeros', (i: number) => '\0'.repeat(i % 2_000) + Math.floor(i / 2_000)],
  ])('spreads %s evenly', (_, textOf) => {
    const values = Array.from({ length: 60_000 }, (_, i) => hash01(textOf(i)))
    expect(Math.abs(unevenness(values, 1_000))).toBeLessThan(4.5)
    const lowBits = values.map((value) => Number(bitsOf(value) % 1_024n) / 1_024)
    expect(Math.abs(unevenness(lowBits, 1_024))).toBeLessThan(4.5)
  })

  test('one flipped bit of the text flips each bit of the hash half of the time', () => {
    const flips = Array.from({ length: 53 }, () => 0)
    let trials = 0
    for (let i = 0; i < 400; i++) {
      const text = `key-${i}-of-a-client`
      for (let at = 0; at < text.length; at++) {
        const changed =
          text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ (1 << (i % 7))) + text.slice(at + 1)
        let difference = bitsOf(hash01(text)) ^ bitsOf(hash01(changed))
        for (let bit = 0; bit < 53; bit++, difference >>= 1n) flips[bit]! += Number(difference & 1n)
        trials++
      }
    }
    for (const flipped of flips) expect(Math.abs(flipped / trials - 0.5)).toBeLessThan(0.03)
  })

  test('200,000 different texts have 200,000 different hashes', () => {
    expect(new Set(Array.from({ length: 200_000 }, (_, i) => hash01(`conversation ${i}`))).size).toBe(200_000)
  })

  test.each([
    ['', 5928917145632443],
    ['a', 2587887862269609],
    ['192.168.1.7\ngpt-4o@api.openai.com', 8246462621145937],
    ['你好', 7659925981093315],
  ])('of %j is the same in every version, so that replicas agree while they are replaced', (text, bits) => {
    expect(hash01(text)).toBe(bits / 2 ** 53)
  })

  test('lies strictly between 0 and 1', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const value = hash01(text)
        expect(value > 0 && value < 1).toBe(true)
        expect(hash01(text)).toBe(value)
      }),
    )
  })
})

describe('a fingerprint', () => {
  test('is the first half of the SHA-256 of the UTF-8', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(fingerprint(text)).toBe(createHash('sha256').update(text, 'utf8').digest('hex').slice(0, 32))
      }),
    )
  })
})

describe('secrets', () => {
  test.each(['sk-abd', 'sk-ab', 'sk-abc ', 'sk-abcsk-abc', 'xk-abc', ''])(
    'are the same only character by character: not "%s"',
    (given) => {
      expect(secretMatcher(['sk-abc'])(given)).toBeUndefined()
    },
  )

  test('match the expected text and nothing else', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.string(), (expected, other) => {
        const matches = secretMatcher([expected])
        expect(matches(expected)).toBe(expected)
        expect(matches(other)).toBe(other === expected ? expected : undefined)
      }),
    )
  })

  test('may hold blanks and any script', () => {
    expect(secretMatcher(['My API Key 密钥'])('My API Key 密钥')).toBe('My API Key 密钥')
  })

  test('an empty expected secret matches nothing, not even itself', () => {
    expect(secretMatcher([''])('')).toBeUndefined()
  })

  test('are not read to the end of a text that is longer than all of them', () => {
    let looks = 0
    const endless = { length: 1_000_000, charCodeAt: () => ((looks += 1), 97) } as unknown as string
    const secrets = ['a'.repeat(300), 'a', 'a'.repeat(20)]
    expect(secretMatcher(secrets)(endless)).toBeUndefined()
    expect(looks).toBe(3 * 300)
    expect(secretMatcher(secrets)('a'.repeat(300))).toBe('a'.repeat(300))
    expect(secretMatcher(secrets)('a'.repeat(301))).toBeUndefined()
  })

  test('may be several, and the one that is shown is told', () => {
    const matches = secretMatcher(['sk-new', '', 'sk-old'])
    const shown = ['sk-new', 'sk-old', '', 'sk-', 'sk-newsk-old']
    expect(shown.map(matches)).toEqual(['sk-new', 'sk-old', undefined, undefined, undefined])
    expect(secretMatcher([])('')).toBeUndefined()
  })
})
