import { expect } from 'vitest'
import { completion } from '../support/believable.ts'
import { refusedUrl, startBlackhole } from '../support/dead-ends.ts'
import { stall } from '../support/scripted-scenes.ts'
import { startScriptedUpstream } from '../support/scripted-upstream.ts'
import { failureRest, plays, testFaults, type Fault } from './matrix-bed.ts'

const unreachable = (why: string) => ({
  exhausted: { status: 502, code: 'upstream_unavailable' },
  rests: { ...failureRest, why },
})
const late = { exhausted: { status: 504, code: 'upstream_timeout' }, rests: failureRest }

/** The upstream has seen its one request end. */
const isHungUp: NonNullable<Fault['after']> = async (place) => {
  if (!('request' in place)) return
  const request = await place.request(1)
  await request.closed
  expect(request.aborted).toBe(true)
}

testFaults([
  {
    fault: 'connection refused',
    because: 'nothing was sent',
    place: async () => ({ url: refusedUrl() }),
    ...unreachable('connection refused'),
  },
  {
    fault: 'DNS failure',
    because: 'nothing was sent',
    place: async () => ({ url: `http://no-such-host-${Math.random().toString(36).slice(2)}.invalid` }),
    ...unreachable('host name not found'),
  },
  {
    fault: 'a certificate that nobody trusts',
    because: 'no key is shown to a stranger',
    place: () => startScriptedUpstream(stall(), { secure: true }),
    ...unreachable('TLS certificate is self-signed'),
    after: async (place) => expect('requests' in place && place.requests).toEqual([]),
  },
  {
    fault: 'plain HTTP where TLS is expected',
    because: 'the handshake fails before a request',
    place: async () => {
      const upstream = await startScriptedUpstream(stall(), {
        whenConnected: (socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
      })
      return { url: upstream.url.replace('http:', 'https:'), close: () => upstream.close() }
    },
    ...unreachable('speaks no TLS'),
  },
  { fault: 'no connection in time', because: 'nothing was sent', place: startBlackhole, ...late },
  {
    fault: 'no headers in time',
    because: 'the silence has lasted as long as it may',
    place: plays(stall),
    ...late,
    after: isHungUp,
  },
  {
    fault: 'headers and then silence',
    because: 'an answer is one when it is complete',
    place: plays(() => async (exchange) => {
      const text = completion()
      await exchange.head(200, { 'content-type': 'application/json', 'content-length': String(text.length) })
      await exchange.raw(text.slice(0, 40))
      await exchange.closed
    }),
    ...late,
    after: isHungUp,
  },
  {
    fault: 'a stream of comments that never begins',
    because: 'comments are no first byte',
    place: plays(() => async (exchange) => {
      await exchange.head(200, { 'content-type': 'text/event-stream', 'transfer-encoding': 'chunked' })
      while (await exchange.chunk(': keep-alive\n\n'))
        await new Promise((resolve) => setTimeout(resolve, 300))
    }),
    body: { stream: true },
    ...late,
    after: isHungUp,
  },
])
