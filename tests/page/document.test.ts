import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { beforeAll, expect, test } from 'vitest'
import { buildPage } from '../../config/page.ts'
import { pageOf } from '../../src/http/page.ts'

/** The document that is built of the page's sources. */

let html = ''
beforeAll(async () => {
  ;({ html } = await buildPage())
})

const MOST_BYTES = 60_000

test(`it is smaller than ${MOST_BYTES} bytes when it is packed`, () => {
  const packed = gzipSync(html, { level: 9 }).length
  expect(packed).toBeLessThan(MOST_BYTES)
  expect(packed).toBeGreaterThan(20_000)
})

test('its policy allows its own program and style, and nothing else', () => {
  const { policy } = pageOf(html)
  const hashOf = (text = ''): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`
  const [, script] = /<script type="module">([^]*)<\/script>/.exec(html) ?? []
  const [, style] = /<style>([^]*)<\/style>/.exec(html) ?? []
  expect(policy.split('; ')).toEqual([
    "default-src 'none'",
    `script-src ${hashOf(script)}`,
    `style-src ${hashOf(style)}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
    "frame-ancestors 'none'",
  ])
})

test('it names no other place: nothing is loaded, and it works without a network', () => {
  const places = [...html.matchAll(/https?:\/\/[\w./:-]+/g)].map(([place]) => place)
  const shown = 'https://api.example.com/v1'
  expect(
    [...new Set(places)].filter((place) => !place.startsWith('http://www.w3.org/') && place !== shown),
  ).toEqual([])
  expect(html).not.toMatch(/<script[^>]+src=|<link[^>]+href="(?!data:)/)
})

test('another document is no page', () => {
  expect(() => pageOf('<!doctype html><title>other</title>')).toThrow('content security policy')
})
