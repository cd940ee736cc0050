import { expect, test } from 'vitest'
import { createApp } from '../../src/app.ts'
import { pageOf } from '../../src/http/page.ts'
import { askBare } from '../support/ask.ts'
import { answer, configOf, createTestApp } from '../support/test-app.ts'

/** What `/` answers, where a runtime has a page. */

const document = (text: string): string =>
  `<!doctype html><meta http-equiv="content-security-policy" content="default-src 'none'">${text}`
const gzip = new Uint8Array([0x1f, 0x8b])

function create(text = 'one', more: { packed?: boolean; server?: object } = {}) {
  const test = createTestApp(configOf(['a.test'], more.server ? { server: more.server } : {}), ({ host }) =>
    answer(host),
  )
  const page = { ...pageOf(document(text)), ...(more.packed === true && { gzip }) }
  return { ...test, app: createApp({ ...test.deps, page: () => page }) }
}

test('the page needs no token, and is sent with its policy', async () => {
  const response = await askBare(create(), '/')
  expect(response.status).toBe(200)
  expect(await response.text()).toBe(document('one'))
  expect(Object.fromEntries(response.headers)).toMatchObject({
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'cache-control': 'no-cache',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
  })
})

test.each([
  { given: 'gzip, br', packed: true },
  { given: 'br;q=1, GZIP;q=0.5', packed: true },
  { given: 'gzip;q=0', packed: false },
  { given: 'gzip; q=0.0, br', packed: false },
  { given: 'gzip;q=0.01', packed: true },
  { given: 'br', packed: false },
  { given: '', packed: false },
])('a client that takes "$given" gets it packed: $packed', async ({ given, packed }) => {
  const response = await askBare(create('one', { packed: true }), '/', {
    headers: { 'accept-encoding': given },
  })
  expect(response.headers.get('content-encoding')).toBe(packed ? 'gzip' : null)
  expect(response.headers.get('vary')).toContain('Accept-Encoding')
  expect((await response.arrayBuffer()).byteLength === gzip.length).toBe(packed)
})

test('a browser that has it is told so, whoever packed it in between', async () => {
  const etag = (await askBare(create(), '/')).headers.get('etag') ?? ''
  expect(etag).toMatch(/^"[0-9a-f]{32}"$/)
  for (const known of [etag, `W/${etag}`, `"other", ${etag}`]) {
    const response = await askBare(create(), '/', { headers: { 'if-none-match': known } })
    expect([response.status, await response.text()]).toEqual([304, ''])
  }
  expect((await askBare(create('two'), '/', { headers: { 'if-none-match': etag } })).status).toBe(200)
})

test('HEAD says the same without the page', async () => {
  const response = await askBare(create(), '/', { method: 'HEAD' })
  expect([response.status, await response.text()]).toEqual([200, ''])
  expect(response.headers.get('content-security-policy')).toContain("default-src 'none'")
})

test('with server.admin "off" there is no page', async () => {
  const response = await askBare(create('one', { server: { admin: 'off' } }), '/')
  expect(await response.text()).toContain('AILoad is running')
})

test('where there is no page, or none yet, it is a short text', async () => {
  const bare = createTestApp(configOf(['a.test']), ({ host }) => answer(host))
  const later = { ...bare, app: createApp({ ...bare.deps, page: () => undefined }) }
  for (const test of [bare, later])
    expect(await (await askBare(test, '/')).text()).toContain('AILoad is running')
})
