/**
 * A client that is refused while it sends its body gets the answer (RFC 9112 §9.6), and one that asks first is told
 * whether to send it (RFC 9110 §10.1.1). A connection that is closed with unread bytes is reset by the system, and the
 * reset overtakes the answer: many clients read nothing before they have sent everything.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { completion, healthy } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { answersIn, postOf } from '../support/raw-answers.ts'
import { connectRaw, type RawClient } from '../support/raw-client.ts'
import { startScriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'

const LIMIT = 1_048_576
const PIECE = 65_536
/** An upload of 3 MiB that lasts for some seconds behind the answer. */
const PIECES = 48
const EVERY_MS = 50
const PATIENCE_MS = 60_000

let upstream: ScriptedUpstream
let gateway: GatewayProcess

beforeAll(async () => {
  upstream = await startScriptedUpstream(healthy())
  gateway = await startGateway({
    models: [{ base_url: `${upstream.url}/v1`, model: 'm' }],
    server: { max_body: LIMIT },
  })
})

afterAll(async () => {
  await gateway.stop()
  await upstream.close()
  expect(gateway.stderr).toBe('')
})

const CHAT = '/v1/chat/completions'
const body = JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'Hello' }] })
const noToken = { authorization: 'Bearer sk-wrong' }
const chunks = { 'transfer-encoding': 'chunked' }
const tooLong = { 'content-length': PIECES * PIECE }
const chunk = Buffer.concat([
  Buffer.from(`${PIECE.toString(16)}\r\n`),
  Buffer.alloc(PIECE, 0x20),
  Buffer.from('\r\n'),
])

type Fields = Readonly<Record<string, string | number>>

/** Sends all of a long body, as slowly as that, whatever becomes of it. */
async function upload({ socket }: RawClient, headers: Fields): Promise<void> {
  const piece = 'transfer-encoding' in headers ? chunk : chunk.subarray(-PIECE - 2, -2)
  for (let nth = 0; nth < PIECES; nth++) {
    if (socket.writable) socket.write(piece)
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS))
  }
}

const refusals = [
  { what: 'a declared body over the limit', path: CHAT, headers: tooLong, status: 413 },
  { what: 'a chunked body over the limit', path: CHAT, headers: chunks, status: 413 },
  {
    what: 'an upload over the limit that would be passed on',
    path: '/v1/files',
    headers: chunks,
    status: 413,
  },
  { what: 'a declared body without the token', path: CHAT, headers: { ...tooLong, ...noToken }, status: 401 },
  { what: 'a chunked body without the token', path: CHAT, headers: { ...chunks, ...noToken }, status: 401 },
  { what: 'a body for a path that is none', path: '/v2/files', headers: chunks, status: 404 },
  { what: 'what stops to be chunks', path: CHAT, headers: { ...chunks }, status: 400 },
]

describe('a client that sends on for seconds gets its answer', () => {
  test.concurrent.each(
    refusals.flatMap((refusal) =>
      (['meanwhile', 'only behind it'] as const).map((when) => ({ ...refusal, when })),
    ),
  )(
    'and reads it $when: $what gets $status, and no further request is invited',
    async ({ path, headers, status, when }) => {
      const client = await connectRaw(gateway.port)
      // The end of the answers is not the end of the upload.
      client.socket.allowHalfOpen = true
      if (when === 'only behind it') client.socket.pause()
      client.send(postOf(gateway, path, headers))
      if (status === 400) client.send('no size\r\n')
      const sending = upload(client, headers)
      if (when === 'meanwhile') await client.received(/"error"/)
      await sending
      client.socket.resume().end()
      await client.ended()
      expect(answersIn(client.text)).toMatchObject([
        { status, head: expect.stringMatching(/^connection: close/im) },
      ])
    },
    PATIENCE_MS,
  )
})

describe('expect: 100-continue', () => {
  const expecting = (path: string, headers: Fields = {}): string =>
    postOf(gateway, path, { expect: '100-continue', 'content-length': body.length, ...headers })

  test.each([CHAT, '/v1/files'])('a body for %s is asked for, and the request goes on', async (path) => {
    const client = await connectRaw(gateway.port)
    client.send(expecting(path))
    await client.received(/^HTTP\/1\.1 100 [^\r]*\r\n\r\n$/)
    client.send(body)
    await client.received(/"choices"/)
    expect(client.statuses).toEqual([100, 200])
    expect(upstream.requests.at(-1)!.headers).not.toHaveProperty('expect')
    client.send(postOf(gateway, path, { connection: 'close' }, body))
    await client.ended()
    expect(client.statuses, 'the connection is as good as before').toEqual([100, 200, 200])
  })

  test('a body in chunks is asked for too, and one that is already on its way is taken', async () => {
    const client = await connectRaw(gateway.port)
    const text = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
    client.send(postOf(gateway, CHAT, { expect: '100-Continue', connection: 'close', ...chunks }) + text)
    await client.ended()
    expect(answersIn(client.text)).toMatchObject([{ status: 200, body: completion() }])
  })

  test.each([
    { what: 'over the limit', path: CHAT, headers: tooLong, status: 413 },
    { what: 'over the limit, to be passed on', path: '/v1/files', headers: tooLong, status: 413 },
    { what: 'without the token', path: CHAT, headers: noToken, status: 401 },
    { what: 'for a path that is none', path: '/v2/files', headers: {}, status: 404 },
  ])('a body $what is not asked for: $status and nothing else', async ({ path, headers, status }) => {
    const before = upstream.requests.length
    const client = await connectRaw(gateway.port)
    client.send(expecting(path, headers))
    await client.received(/"error"/)
    // A client that sends its body all the same must not have it taken for a request.
    client.send('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n'.padEnd(body.length))
    client.socket.end()
    await client.ended()
    expect(client.statuses).toEqual([status])
    expect(upstream.requests.length).toBe(before)
  })

  test('HTTP/1.0 knows no interim answer', async () => {
    const client = await connectRaw(gateway.port)
    client.send(expecting(CHAT).replace('HTTP/1.1', 'HTTP/1.0') + body)
    await client.ended()
    expect(client.statuses).toEqual([200])
  })
})
