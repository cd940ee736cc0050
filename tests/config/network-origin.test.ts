import { expect, test } from 'vitest'
import { parseRange } from '../../src/lib/ip.ts'
import { parseOrigin } from '../../src/config/rules.ts'

test.each([
  '10.0.0.1',
  '255.255.255.255',
  '0.0.0.0/0',
  '10.0.0.0/32',
  '::1',
  '::/0',
  'fd00::/8',
  '::ffff:10.0.0.1/128',
])('%s is an address or a range', (text) => {
  expect(parseRange(text)).toBeDefined()
})

test.each([
  '',
  '10.0.0',
  '10.0.0.1.',
  '10.0.0.256',
  '10.0.0.1/33',
  '10.0.0.1/',
  '::1/129',
  ':::',
  'fe80::1%eth0',
  'host',
  '1.2.3.4:80',
  '10.0.0.0/8/8',
])('%j is neither', (text) => {
  expect(parseRange(text)).toBeUndefined()
})

test.each([
  ['https://App.Example:443/', 'https://app.example'],
  ['http://localhost:3000', 'http://localhost:3000'],
  ['chrome-extension://abcdef', 'chrome-extension://abcdef'],
  ['TAURI://localhost/', 'tauri://localhost'],
])('%s is the origin %s', (text, origin) => {
  expect(parseOrigin(text)).toBe(origin)
})

test.each([
  '*',
  'app.example',
  'https://app.example/path',
  'https://a@app.example/x',
  'https://*.example/?',
  'null',
  '',
])('%j is not an origin', (text) => {
  expect(parseOrigin(text)).toBeUndefined()
})
