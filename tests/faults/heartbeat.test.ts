/** Signs of life for a client that waits for its stream, on real sockets. */
import OpenAI, { APIError } from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  chunkEvent,
  completion,
  errorBody,
  events,
  healthy,
  promptOf,
  streamEnd,
} from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { statusOf } from '../support/gateway-status.ts'
import { answersIn, postOf } from '../support/raw-answers.ts'
import { connectRaw, type RawClient } from '../support/raw-client.ts'
import { answer, createGate, type Gate } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type Scene, type ScriptedUpstream } from '../support/scripted-upstream.ts'
import { until } from '../support/until.ts'

const COMMENT = ': waiting\n\n'
/** More comments than one that may stand at the beginning. */
const BEATS = /(?:: waiting\n\n[^]*){3}/

/** One upstream that answers each prompt with its own scene when the test opens its gate. */
let upstream: ScriptedUpstream
let second: ScriptedUpstream
let gateway: GatewayProcess
const scenes = new Map<string, { readonly gate: Gate; readonly scene: Scene }>()
let names = 0

/** A prompt whose answer waits until `open` is called. */
function held(scene: Scene): { prompt: string; open: () => void } {
  const prompt = `prompt ${++names}`
  const gate = createGate()
  scenes.set(prompt, { gate, scene })
  return { prompt, open: gate.open }
}

const byPrompt: Scene = async (exchange) => {
  const { gate, scene } = scenes.get(promptOf(exchange.request.body))!
  await Promise.race([gate.opened, exchange.closed])
  await scene(exchange)
}

beforeAll(async () => {
  upstream = await startScriptedUpstream(byPrompt)
  second = await startScriptedUpstream(healthy('from the second'))
  const one = { base_url: `${upstream.url}/v1`, model: 'm' }
  gateway = await startGateway({
    models: [
      { ...one, name: 'alone', api_key: 'a' },
      { ...one, name: 'first of two', groups: ['two'], api_key: 'b' },
      { base_url: `${second.url}/v1`, model: 'm', name: 'second of two', groups: ['two'] },
      { ...one, name: 'limited', api_key: 'c' },
      { ...one, name: 'narrow', api_key: 'd', limits: { concurrency: 1 } },
    ],
    settings: {
      strategy: 'in_order',
      affinity: 'off',
      heartbeat: 0.1,
      queue_timeout: 20,
      timeout: 20,
    },
  })
})

afterAll(async () => {
  await gateway.stop()
  await upstream.close()
  await second.close()
  expect(gateway.stderr).toBe('')
  expect(gateway.stdout).not.toMatch(/internal error/)
})

const bodyFor = (prompt: string, model: string): string =>
  JSON.stringify({ model, stream: true, messages: [{ role: 'user', content: prompt }] })

async function ask(prompt: string, model = 'alone', version = '1.1'): Promise<RawClient> {
  const client = await connectRaw(gateway.port)
  const request = postOf(gateway, '/v1/chat/completions', {}, bodyFor(prompt, model))
  client.send(request.replace('HTTP/1.1', `HTTP/${version}`))
  return client
}

/** The body of the only answer so far. */
const bodyOf = ({ text }: RawClient): string => answersIn(text)[0]?.body ?? ''
const noComments = (text: string): string => text.replaceAll(COMMENT, '')

describe('a client that waits for a stream', () => {
  test('reads comments and then the bytes of the answer, and its connection serves the next request', async () => {
    const body = [': of the upstream\n\n', chunkEvent('one'), chunkEvent('two'), streamEnd]
    const { prompt, open } = held(events(body))
    const client = await ask(prompt)
    await client.received(BEATS)
    expect(client.text).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(client.text).toMatch(/content-type: text\/event-stream/i)
    open()
    await client.received(/0\r\n\r\n$/)
    expect(noComments(bodyOf(client))).toBe(body.join(''))
    const next = held(events([chunkEvent('next'), streamEnd]))
    next.open()
    client.send(postOf(gateway, '/v1/chat/completions', {}, bodyFor(next.prompt, 'alone')))
    await client.received(/next[^]*0\r\n\r\n$/)
    expect(client.statuses).toEqual([200, 200])
    client.socket.destroy()
  })

  test('of HTTP/1.0 reads the same without chunks', async () => {
    const { prompt, open } = held(events([chunkEvent('one'), streamEnd]))
    const client = await ask(prompt, 'alone', '1.0')
    await client.received(BEATS)
    open()
    expect(await client.ended()).toBe('closed')
    expect(client.text).toMatch(/^HTTP\/1\.[01] 200 OK\r\n/)
    expect(noComments(client.text)).toMatch(/\r\n\r\ndata: /)
    expect(client.text.endsWith(chunkEvent('one') + streamEnd)).toBe(true)
  })

  test('reads comments in the queue as well', async () => {
    const first = held(events([chunkEvent('first'), streamEnd]))
    const one = await ask(first.prompt, 'narrow')
    await one.received(BEATS)
    const other = held(events([chunkEvent('other'), streamEnd]))
    other.open()
    const two = await ask(other.prompt, 'narrow')
    await two.received(BEATS)
    expect((await statusOf(gateway)).queue.waiting).toBe(1)
    first.open()
    await two.received(/other[^]*0\r\n\r\n$/)
    expect(noComments(bodyOf(two))).toBe(chunkEvent('other') + streamEnd)
    for (const { socket } of [one, two]) socket.destroy()
  })

  test('that leaves takes its request along', async () => {
    const { prompt } = held(answer())
    const before = upstream.requests.length
    const client = await ask(prompt)
    await client.received(BEATS)
    client.socket.destroy()
    const { closed } = await upstream.request(before + 1)
    await closed
    expect(upstream.requests[before]?.aborted).toBe(true)
    await until(
      async () => (await statusOf(gateway)).upstreams.map(({ in_flight: flying }) => flying),
      (flying) => flying.every((count) => count === 0),
    )
  })
})

describe('after comments', () => {
  test('another upstream takes over from one that fails', async () => {
    const { prompt, open } = held(answer({ status: 500, body: errorBody('server_error') }))
    const client = await ask(prompt, 'two')
    await client.received(BEATS)
    open()
    await client.received(/0\r\n\r\n$/)
    expect(noComments(bodyOf(client))).toBe(chunkEvent('from the second') + streamEnd)
    client.socket.destroy()
  })

  test('a limit is an event with 429, the wait and the attempts, and the end is in order', async () => {
    const limit = { status: 429, headers: { 'retry-after': '40' }, body: errorBody('rate_limit_exceeded') }
    const { prompt, open } = held(answer(limit))
    const client = await ask(prompt, 'limited')
    await client.received(BEATS)
    open()
    await client.received(/0\r\n\r\n$/)
    const said = noComments(bodyOf(client))
    const { error } = JSON.parse(said.replace('data: ', '')) as { error: Record<string, unknown> }
    expect(error).toMatchObject({ code: 'rate_limit_exceeded', status: 429, attempts: 1 })
    expect(error['retry_after_ms']).toBeGreaterThan(30_000)
    expect(error['retry_after_ms']).toBeLessThanOrEqual(40_000)
    await gateway.printed(/"status":429[^\n]*"code":"rate_limit_exceeded"/)
    client.socket.destroy()
  })

  test('an answer that is cut within an event resets the connection', async () => {
    const { prompt, open } = held(events([chunkEvent('one'), 'data: {"cho'], { ending: 'reset' }))
    const client = await ask(prompt)
    await client.received(BEATS)
    open()
    await client.ended()
    expect(client.text).toContain('one')
    expect(client.text).not.toMatch(/0\r\n\r\n$/)
  })

  test('an answer flows at the pace of its reader', async () => {
    const size = 64 * 1024
    const most = 24 * 1024 * 1024
    const line = Buffer.alloc(size, chunkEvent('x'))
    let taken = 0
    const { prompt, open } = held(async (exchange) => {
      await exchange.head(200, { 'content-type': 'text/event-stream', 'transfer-encoding': 'chunked' })
      await exchange.chunk(chunkEvent('x'))
      while (taken < most && (await exchange.chunk(line))) taken += size
      await exchange.closed
    })
    const client = await ask(prompt)
    await client.received(BEATS)
    client.socket.pause()
    open()
    // What the systems on the way keep, and no more: it stands still while nobody reads.
    let before = -1
    await until(
      async () => {
        const since = before
        before = taken
        await new Promise((resolve) => setTimeout(resolve, 300))
        return since
      },
      (since) => since > 0 && since === taken,
    )
    expect(taken).toBeLessThan(most)
    client.socket.resume()
    await until(
      () => taken,
      (bytes) => bytes >= most,
    )
    client.socket.destroy()
  })
})

describe("OpenAI's SDK", () => {
  let client: OpenAI
  beforeAll(() => {
    client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: gateway.token, maxRetries: 0 })
  })

  test('reads a chat with comments in front of it', async () => {
    const { prompt, open } = held(events([chunkEvent('one '), chunkEvent('two'), streamEnd]))
    const messages = [{ role: 'user' as const, content: prompt }]
    // Nothing but a comment can begin it.
    const stream = await client.chat.completions.create({ model: 'alone', stream: true, messages })
    open()
    let text = ''
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
    expect(text).toBe('one two')
  })

  test.each(['chat', 'responses'])(
    'raises a failure behind comments as an APIError (%s)',
    async (endpoint) => {
      const refusal = { status: 400, body: errorBody('bad_thing', 'no such thing') }
      const { prompt, open } = held(answer(refusal))
      const messages = [{ role: 'user' as const, content: prompt }]
      const body = { model: 'alone', stream: true as const, messages }
      const stream: AsyncIterable<unknown> =
        endpoint === 'chat'
          ? await client.chat.completions.create(body)
          : await client.post<AsyncIterable<unknown>>('/responses', { body, stream: true })
      open()
      const failed = await (async () => {
        for await (const _ of stream);
      })().catch((error: unknown) => error)
      expect(failed).toBeInstanceOf(APIError)
      expect(failed).toMatchObject({ code: 'bad_thing', error: { status: 400, attempts: 1 } })
      expect((failed as Error).message).toContain('no such thing')
    },
  )

  test('reads JSON that came in place of a stream', async () => {
    const { prompt, open } = held(answer({ body: completion('whole') }))
    const messages = [{ role: 'user' as const, content: prompt }]
    const stream = await client.chat.completions.create({ model: 'alone', stream: true, messages })
    open()
    const read: unknown[] = []
    for await (const chunk of stream) read.push(chunk)
    expect(read).toEqual([JSON.parse(completion('whole'))])
  })
})
