import { expect, test } from 'vitest'
import { createFetchTransport } from '../../src/transport/fetch.ts'
import { TransportError } from '../../src/transport/transport.ts'
import { createAbort } from '../../src/lib/abort.ts'
import { errorOf } from '../support/ask.ts'
import { answer, configOf, createTestApp } from '../support/test-app.ts'

const short = (): never => {
  throw new TransportError('shortage', 'no connection: EMFILE')
}

test.each(['chat/completions', 'embeddings', 'files'])(
  'a shortage of our own is 503 at once: nobody else is asked and nobody cools (%s)',
  async (path) => {
    let isShort = true
    const hosts = path === 'files' ? ['a.test'] : ['a.test', 'b.test', 'c.test']
    const gateway = createTestApp(
      configOf(hosts, { settings: { strategy: 'in_order' }, models: { limits: { rpm: 1 } } }),
      ({ host }) => (isShort ? short() : answer(host)),
    )
    const response = await gateway.chat({}, { path })
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1'])
    expect((await errorOf(response)).code).toBe('overloaded')
    expect(gateway.hosts()).toEqual(['a.test'])
    expect(gateway.requests()).toMatchObject([{ status: 503, code: 'overloaded' }])
    expect(gateway.openLeases).toBe(0)
    expect(gateway.inFlight()).toBe(0)
    isShort = false
    // What was not sent does not count: the one request of this minute is still there.
    expect((await gateway.chat({}, { path })).status).toBe(200)
    expect(gateway.hosts()).toEqual(['a.test', 'a.test'])
  },
)

test.each([
  { error: Object.assign(new Error('x'), { code: 'EMFILE' }), is: 'shortage' },
  { error: new TypeError('fetch failed', { cause: { code: 'ENOBUFS' } }), is: 'shortage' },
  { error: new TypeError('fetch failed', { cause: { cause: { code: 'EADDRNOTAVAIL' } } }), is: 'shortage' },
  { error: new TypeError('client error (Connect): Too many open files (os error 24)'), is: 'shortage' },
  { error: new TypeError('fetch failed', { cause: { code: 'ENFILE' } }), is: 'shortage' },
  { error: new TypeError('fetch failed', { cause: { code: 'ECONNREFUSED' } }), is: 'not-sent' },
  { error: new TypeError('fetch failed', { cause: { code: 'ECONNRESET' } }), is: 'broken' },
])('what a runtime throws with $error.cause.code $error.message is $is', async ({ error, is }) => {
  const send = createFetchTransport(
    () => () => {},
    () => Promise.reject(error),
  )
  const request = {
    method: 'POST',
    url: 'https://a.test/v1',
    headers: {},
    connectTimeoutMs: 1000,
    timeoutMs: 1000,
    gatherBytes: () => 0,
  }
  await expect(send(request, createAbort().signal)).rejects.toMatchObject({ failure: is })
})
