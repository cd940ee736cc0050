import { afterAll, beforeAll, expect, test } from 'vitest'
import { chunkEvent, completion, isStreamAsked, streamEnd } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { connectRaw, headOf } from '../support/raw-client.ts'
import { answer } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'

const emoji = Buffer.from('🚀')
const event = Buffer.from(chunkEvent('naïve 🚀 日本'))
const rocket = event.indexOf(emoji)

/** After its first piece, which commits the stream, each piece is a chunk of its own. */
const streams: readonly { what: string; pieces: readonly (string | Buffer)[] }[] = [
  { what: 'one event a chunk', pieces: [chunkEvent('a'), chunkEvent('b'), streamEnd] },
  {
    what: 'half an event a chunk',
    pieces: [chunkEvent('a'), chunkEvent('b').slice(0, 9), chunkEvent('b').slice(9), streamEnd],
  },
  {
    what: 'several events a chunk',
    pieces: [
      chunkEvent('a') + chunkEvent('b'),
      chunkEvent('c') + chunkEvent('d').slice(0, 5),
      chunkEvent('d').slice(5) + streamEnd,
    ],
  },
  {
    what: 'a character of four bytes cut everywhere',
    pieces: [
      chunkEvent('a'),
      event.subarray(0, rocket + 1),
      event.subarray(rocket + 1, rocket + 2),
      event.subarray(rocket + 2, rocket + 3),
      event.subarray(rocket + 3),
      streamEnd,
    ],
  },
  {
    what: 'CRLF, cut between the two',
    pieces: [
      chunkEvent('a').replaceAll('\n', '\r\n'),
      chunkEvent('b').replace('\n\n', '\r'),
      '\n\r',
      '\n',
      streamEnd.replaceAll('\n', '\r\n'),
    ],
  },
  {
    what: 'lone CR as line ends',
    pieces: [
      chunkEvent('a').replaceAll('\n', '\r'),
      chunkEvent('b').replaceAll('\n', '\r'),
      `\r${streamEnd}`,
    ],
  },
  {
    what: 'comments and blank lines',
    pieces: [chunkEvent('a'), ': keep-alive\n\n', '\n', ':\n\n\n\n', chunkEvent('b'), streamEnd],
  },
  {
    what: 'other fields',
    pieces: [`event: message\nid: 7\nretry: 10\n${chunkEvent('a')}`, 'unknown: field\n\n', streamEnd],
  },
  { what: 'a byte-order mark', pieces: [`\uFEFF${chunkEvent('a')}`, chunkEvent('b'), streamEnd] },
  { what: 'one byte a chunk', pieces: [chunkEvent('a'), ...chunkEvent('bc').split(''), streamEnd] },
  { what: 'comments before the first event', pieces: [`: one\n\n: two\n\n${chunkEvent('a')}`, streamEnd] },
]

/** The stream that is being watched, and how far the client has read. */
let current: { pieces: readonly (string | Buffer)[]; seen: (nth: number) => Promise<void> }
let upstream: ScriptedUpstream
let gateway: GatewayProcess

beforeAll(async () => {
  const whole = answer({ body: completion() })
  upstream = await startScriptedUpstream(async (exchange) => {
    if (!isStreamAsked(exchange.request.body)) return whole(exchange)
    await exchange.head(200, { 'content-type': 'text/event-stream', 'transfer-encoding': 'chunked' })
    for (const [nth, piece] of current.pieces.entries()) {
      await exchange.chunk(piece)
      await current.seen(nth)
    }
    await exchange.lastChunk()
  })
  gateway = await startGateway({ models: [{ base_url: `${upstream.url}/v1`, model: 'the-model' }] })
})

afterAll(async () => {
  await gateway.stop()
  await upstream.close()
})

/** The bytes of a chunked body, as far as they have come. */
function dechunked(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1')
  const parts: Buffer[] = []
  for (let at = bytes.indexOf('\r\n\r\n') + 4; at >= 4;) {
    const lineEnd = bytes.indexOf('\r\n', at)
    const size = lineEnd < 0 ? 0 : Number.parseInt(bytes.toString('latin1', at, lineEnd), 16)
    if (!(size > 0)) break
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size))
    at = lineEnd + 2 + size + 2
  }
  return Buffer.concat(parts)
}

test.each(streams)(
  '$what: every chunk reaches the client before the next one is sent, byte by byte',
  async ({ pieces }) => {
    const client = await connectRaw(gateway.port)
    const soFar = (nth: number): Buffer =>
      Buffer.concat(pieces.slice(0, nth + 1).map((piece) => Buffer.from(piece)))
    current = {
      pieces,
      async seen(nth) {
        const expected = soFar(nth)
        const isThere = (): boolean => dechunked(client.text).length >= expected.length
        const since = performance.now()
        while (!isThere() && performance.now() - since < 10_000)
          await new Promise((resolve) => setTimeout(resolve, 2))
      },
    }
    const body = JSON.stringify({ model: 'auto', stream: true, messages: [] })
    const since = performance.now()
    client.send(
      headOf('POST /v1/chat/completions HTTP/1.1', {
        authorization: `Bearer ${gateway.token}`,
        'content-length': body.length,
      }) + body,
    )
    await client.received(/\r\n0\r\n\r\n$/)
    expect(dechunked(client.text)).toEqual(soFar(pieces.length - 1))
    expect(performance.now() - since, 'no chunk was waited for in vain').toBeLessThan(10_000)
    expect(client.text).toMatch(/\r\nx-accel-buffering: no\r\n/i)
    client.socket.destroy()
  },
)

test.each([
  { what: '20-digit integers', body: '{"model":"auto","seed":12345678901234567890,"messages":[]}' },
  {
    what: '1.0 and 1e400',
    body: '{"model":"auto","temperature":1.0,"x":1e400,"y":-0.0,"z":1E+2,"messages":[]}',
  },
  { what: 'escapes', body: String.raw`{"model":"auto","a":"\u00e9\/\ud83d\ude80\u0000\b","messages":[]}` },
  { what: 'lone surrogates', body: String.raw`{"model":"auto","a":"\ud83d","messages":[]}` },
  { what: 'the order of keys, and keys twice', body: '{"z":1,"model":"auto","a":2,"z":3,"messages":[]}' },
  { what: 'white space', body: ' {\n\t"model" :  "auto" ,\r\n "messages" : [ ] } \n' },
  {
    what: 'another model further in',
    body: '{"messages":[{"model":"auto"}],"model":"auto","metadata":{"model":"auto"}}',
    once: true,
  },
  {
    what: 'text of any script',
    body: '{"model":"auto","messages":[{"role":"user","content":"naïve 🚀 日本 \u2028"}]}',
  },
])('$what reach the upstream unchanged', async ({ body }) => {
  const before = upstream.requests.length
  const answer = await gateway.fetch('/v1/chat/completions', {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json' },
  })
  expect(answer.status).toBe(200)
  expect(await answer.text()).toBe(completion())
  const sent = Buffer.from(upstream.requests[before]!.body).toString()
  expect(sent).toBe(
    body
      .replace(/^([^[]*"model"\s*:\s*)"auto"|(\],)"model":"auto"/, '$1$2"the-model"')
      .replace('],"the-model"', '],"model":"the-model"'),
  )
})

test('what params change is all that changes, in a body of many pieces too', async () => {
  const params = {
    set: { temperature: 0 },
    default: { top_k: 40 },
    drop: ['seed', 'last'],
    rename: { max_completion_tokens: 'max_tokens' },
  }
  const models = [{ base_url: `${upstream.url}/v1`, model: 'the-model', params }]
  const edited = await startGateway({ models })
  const text = 'naïve 🚀 日本 \\u0000 '.repeat(150_000)
  const before = upstream.requests.length
  const body = ` {"seed":[1],\n "messages" : [{"content":"${text}"}],"temperature":1.0,"model":"auto","max_completion\\u005ftokens" : 9, "seed":2 , "last":"${text}" } `
  const answer = await edited.fetch('/v1/chat/completions', {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json' },
  })
  expect(answer.status).toBe(200)
  await answer.text()
  const sent = Buffer.from(upstream.requests[before]!.body).toString()
  expect(sent).toBe(
    ` {"top_k":40,\n "messages" : [{"content":"${text}"}],"temperature":0,"model":"the-model","max_tokens" : 9   } `,
  )
})
