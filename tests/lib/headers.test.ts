import { expect, test } from 'vitest'
import { headerBagOf } from '../../src/lib/headers.ts'

test('names are lower case and repeated values are joined', () => {
  const bag = headerBagOf(
    new Headers([
      ['X-A', '1'],
      ['x-a', '2'],
      ['Content-Type', 'text/plain'],
    ]),
  )
  expect({ ...bag }).toEqual({ 'x-a': '1, 2', 'content-type': 'text/plain' })
})

test('repeated cookies are joined too', () => {
  expect(
    headerBagOf(
      new Headers([
        ['set-cookie', 'a=1'],
        ['set-cookie', 'b=2'],
      ]),
    )['set-cookie'],
  ).toBe('a=1, b=2')
})

test('a name that objects inherit is absent unless it was sent', () => {
  expect(headerBagOf(new Headers())['constructor']).toBeUndefined()
  expect(headerBagOf(new Headers([['__proto__', 'x']]))['__proto__']).toBe('x')
})
