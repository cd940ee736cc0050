import { expect, test } from 'vitest'
import { afterString } from '../../../src/lib/json/walk.ts'

const bytesOf = (text: string) => new TextEncoder().encode(text)

test.each([0, 1, 2, 3, 4, 5, 6, 7])(
  '%i backslashes before a quote: an odd one escapes it, wherever it stands',
  (count) => {
    for (const before of Array.from({ length: 600 }, (_, length) => 'x'.repeat(length))) {
      const text = `"${before}${'\\'.repeat(count)}"`
      const rest = 'y"'
      const expected = count % 2 === 0 ? text.length : text.length + rest.length
      expect(afterString(bytesOf(text + rest), 0)).toBe(expected)
    }
  },
)

test('the first of several quotes ends the string, wherever it stands', () => {
  for (const before of Array.from({ length: 600 }, (_, length) => 'x'.repeat(length))) {
    expect(afterString(bytesOf(`,"${before}"""""""""`), 1)).toBe(before.length + 3)
  }
})

test('bytes that differ from a quote in one bit are no quotes', () => {
  const near = [0x23, 0x20, 0x26, 0x2a, 0x32, 0x02, 0x62, 0xa2, 0x21, 0xa3]
  const bytes = Uint8Array.from([0x22, ...near, ...near, ...near, 0x22])
  expect(afterString(bytes, 0)).toBe(bytes.length)
})
