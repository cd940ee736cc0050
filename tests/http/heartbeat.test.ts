import { describe, expect, test } from 'vitest'
import { createApp } from '../../src/app.ts'
import type { ByteReader, Flow } from '../../src/lib/bytes.ts'
import { settle } from '../support/fake-clock.ts'
import {
  chatAnswer,
  chatStream,
  chunk,
  events,
  JSON_TYPE,
  play,
  readAll,
  refusal,
  silence,
  SSE,
  stagedBy,
  type Play,
} from '../support/played.ts'
import { configOf, createTestApp, TOKEN, type TestApp } from '../support/test-app.ts'

const COMMENT = ': waiting\n\n'
const base = { strategy: 'in_order', timeout: 100, queue_timeout: 0, heartbeat: 5 }
const configFor = (hosts: readonly string[], settings: object = {}, models: object = {}) =>
  configOf(hosts, { settings: { ...base, ...settings }, models })
const one = (settings?: object, models?: object) => configFor(['a.test'], settings, models)
const late = (afterMs: number, script: Play): Play => ({ ...script, afterMs })
const words = (...said: string[]): string => (chatStream(...said).body ?? []).join('')

const stream = (app: TestApp, init = {}, body = {}) => app.chat({ stream: true, ...body }, init)

const wholeOf = async (asked: Promise<Response>) => {
  const response = await asked
  return { response, ...(await readAll(response)) }
}

/** What a client that reads at once has read after so long. */
async function textAfter(app: TestApp, ms: number, asked = stream(app)) {
  const read = wholeOf(asked)
  await app.clock.advance(ms)
  return read
}

/** The error of the event that ends a text, and how many comments stand in front of it. */
function errorIn(text: string) {
  const [, comments = '', data = ''] =
    /^((?:: waiting\n\n)+)(?:event: error\n)?data: (.*)\n\n$/s.exec(text) ?? []
  const { error, ...beside } = JSON.parse(data) as { error: Record<string, unknown> }
  return { error, beside, beats: comments.length / COMMENT.length }
}

/** What a client reads within so long. */
async function piecesOf(reader: ReadableStreamDefaultReader<Uint8Array>, app: TestApp, ms: number) {
  const pieces: string[] = []
  const readOn = async (): Promise<void> => {
    const { value } = await reader.read()
    if (value === undefined) return
    pieces.push(new TextDecoder().decode(value))
    await readOn()
  }
  void readOn().catch(() => {})
  await app.clock.advance(ms)
  return [...pieces]
}

describe('behind a comment', () => {
  test.each([
    [
      'chat/completions',
      events({ error: { message: 'Unsupported value foo', type: 'invalid_request_error' } }),
    ],
    ['chat/completions', events({ error: { message: 'too long', code: 'context_length_exceeded' } })],
    [
      'responses',
      events({
        type: 'response.failed',
        response: { status: 'failed', error: { code: 'invalid_prompt', message: 'no key-a' } },
      }),
    ],
  ])('a refusal as first event on %s has its status, the attempts and no key', async (path, refused) => {
    const headers = { ...SSE, 'retry-after': '7' }
    const app = createTestApp(
      configFor(['a.test'], {}, { api_key: 'key-a-secret' }),
      play(late(6_000, { headers, body: [refused.replace('key-a', 'key-a-secret')] })),
    )
    const { text } = await textAfter(app, 7_000, stream(app, { path }))
    const { error } = errorIn(text)
    expect(error).toMatchObject({ status: 400, attempts: 1, retry_after_ms: 7_000 })
    expect(text).not.toContain('key-a')
    expect(app.requests()[0]).toMatchObject({ status: 400 })
  })

  test('an answer that begins with a byte order mark is read from its first event on', async () => {
    const mark = [0xef, 0xbb, 0xbf].map((byte) => Uint8Array.of(byte))
    const said = chatStream('one')
    const app = createTestApp(one(), play(late(6_000, { ...said, body: [...mark, ...(said.body ?? [])] })))
    const { text } = await textAfter(app, 7_000)
    expect(text).toBe(COMMENT + words('one'))
  })
})

describe('a client that waits for a stream', () => {
  test('reads a comment each time that it has seen nothing for `heartbeat` seconds, then the bytes of the answer', async () => {
    const app = createTestApp(one(), play(late(13_000, chatStream('one', 'two'))))
    const asked = stream(app)
    let isAnswered = false
    void asked.then(() => (isAnswered = true))
    const read = wholeOf(asked)
    await app.clock.advance(4_999)
    expect(isAnswered).toBe(false)
    await app.clock.advance(1)
    expect(isAnswered).toBe(true)
    await app.clock.advance(8_000)
    const { response, text, broke } = await read
    expect([response.status, text, broke]).toEqual([200, COMMENT + COMMENT + words('one', 'two'), false])
    expect(app.clock.timers).toBe(0)
  })

  test('gets the headers that are known by then', async () => {
    const app = createTestApp(one(), play(late(6_000, chatStream('one'))))
    const init = { headers: { 'x-request-id': 'mine', origin: 'https://page.test' } }
    const { response } = await textAfter(app, 6_000, stream(app, init))
    expect(Object.fromEntries(response.headers)).toEqual({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
      'x-request-id': 'mine',
      'x-aiload-request-id': 'id-1',
      'access-control-allow-origin': '*',
      'access-control-expose-headers': expect.stringContaining('x-request-id'),
    })
  })

  test('gets no comment when the answer begins in time, and no timer is left', async () => {
    const app = createTestApp(one(), play(late(4_999, chatStream('one'))))
    const { response, text } = await textAfter(app, 4_999)
    expect(response.headers.get('x-aiload-upstream')).toBe('a.test')
    expect(text).toBe(words('one'))
    expect(app.clock.timers).toBe(0)
  })

  test('gets no comment once the answer has begun, however long it is silent', async () => {
    const silent = { headers: SSE, body: [events(chunk('one')), 60_000, words('two')] }
    const app = createTestApp(one(), play(late(6_000, silent)))
    const { text } = await textAfter(app, 70_000)
    expect(text).toBe(COMMENT + events(chunk('one')) + words('two'))
  })

  test.each([
    { heartbeat: 0, beats: 0 },
    { heartbeat: 0.5, beats: 17 },
    { heartbeat: 3, beats: 2 },
  ])('of 8.9 s gets $beats comments with `heartbeat` $heartbeat', async ({ heartbeat, beats }) => {
    const app = createTestApp(one({ heartbeat }), play(late(8_900, chatStream('one'))))
    const { text } = await textAfter(app, 8_900)
    expect(text).toBe(COMMENT.repeat(beats) + words('one'))
  })

  test('waits 15 s for the first comment unless told otherwise', async () => {
    const { heartbeat: _, ...settings } = base
    const app = createTestApp(configOf(['a.test'], { settings }), play(late(31_000, chatStream('one'))))
    expect((await textAfter(app, 31_000)).text).toBe(COMMENT + COMMENT + words('one'))
  })

  test('gets comments while it waits in the queue too', async () => {
    const first = late(12_000, chatStream('first'))
    const upstream = stagedBy({ 'a.test': [first, chatStream('second')] })
    const app = createTestApp(one({ queue_timeout: 30 }, { limits: { concurrency: 1 } }), upstream)
    void stream(app).then(readAll)
    const { text } = await textAfter(app, 12_000)
    expect(text).toBe(COMMENT + COMMENT + words('second'))
    expect(app.calls).toHaveLength(2)
  })

  test.each(['completions', 'responses'])('gets comments on %s too', async (path) => {
    const body = events({ type: 'response.output_text.delta', delta: 'x', choices: [{ text: 'x' }] })
    const script = { headers: SSE, body: [body, events({ type: 'response.completed' }, '[DONE]')] }
    const app = createTestApp(one(), play(late(6_000, script)))
    const { text } = await textAfter(app, 6_000, stream(app, { path }, { prompt: 'hi', input: 'hi' }))
    expect(text).toBe(COMMENT + body + events({ type: 'response.completed' }, '[DONE]'))
  })

  test.each([
    { because: 'it asks for no stream', body: { stream: false } },
    { because: 'a stream further in is none of the request', body: { metadata: { stream: true } } },
    { because: 'embeddings have no streams', body: { stream: true, input: 'x' }, path: 'embeddings' },
  ])('gets none where $because', async ({ body, path = 'chat/completions' }) => {
    const app = createTestApp(one(), play(late(20_000, refusal(404))))
    const asked = app.chat(body, { path })
    await app.clock.advance(20_000)
    expect((await asked).status).toBeGreaterThan(400)
  })
})

describe('after a comment', () => {
  test('another upstream answers in place of one that fails', async () => {
    const upstream = stagedBy({ 'a.test': late(7_000, refusal(500)), 'b.test': chatStream('from b') })
    const app = createTestApp(configFor(['a.test', 'b.test']), upstream)
    expect((await textAfter(app, 7_000)).text).toBe(COMMENT + words('from b'))
    expect(app.requests()).toMatchObject([{ status: 200, upstream: 'b.test' }])
  })

  test('a failure is one event with its true status, the wait and the attempts; the log has the failure', async () => {
    const limited = late(6_000, refusal(429, 'x', { 'retry-after': '20' }))
    const upstream = stagedBy({ 'a.test': limited, 'b.test': refusal(429, 'x', { 'retry-after': '30' }) })
    const app = createTestApp(configFor(['a.test', 'b.test']), upstream)
    const { response, text, broke } = await textAfter(app, 6_000)
    expect([response.status, broke]).toEqual([200, false])
    expect(errorIn(text)).toEqual({
      error: {
        message: expect.stringMatching(/limit/),
        type: 'rate_limit_error',
        param: null,
        code: 'rate_limit_exceeded',
        status: 429,
        retry_after_ms: 20_000,
        attempts: 2,
      },
      beside: {},
      beats: 1,
    })
    expect(app.requests()).toMatchObject([{ status: 429, code: 'rate_limit_exceeded', stream: true }])
    expect(app.clock.timers).toBe(0)
  })

  test('a failure of the Responses API is a failed response, with the error for those who look for that', async () => {
    const app = createTestApp(one(), play(late(6_000, refusal(500))))
    const { text } = await textAfter(app, 6_000, stream(app, { path: 'responses' }, { input: 'hi' }))
    expect(text).toContain('\n\nevent: error\ndata: ')
    const { error, beside } = errorIn(text)
    const { message } = error
    expect(error).toMatchObject({ code: 'upstream_error', status: 502, retry_after_ms: null, attempts: 1 })
    expect(beside).toEqual({
      type: 'response.failed',
      sequence_number: 0,
      response: {
        object: 'response',
        status: 'failed',
        error: { code: 'upstream_error', message },
        output: [],
      },
    })
  })

  test('a failure that comes before it keeps its status', async () => {
    const app = createTestApp(one(), play(late(4_000, refusal(500))))
    const asked = stream(app)
    await app.clock.advance(4_000)
    const response = await asked
    expect(response.status).toBe(502)
    expect(response.headers.get('content-type')).toBe('application/json')
    expect(app.clock.timers).toBe(0)
  })

  test.each<{ form: string; body: string; error: object }>([
    {
      form: 'in the envelope',
      body: '{"error":{"message":"no such thing","type":"t","param":"p","code":"c","extra":1}}',
      error: { message: 'no such thing', type: 't', param: 'p', code: 'c', extra: 1 },
    },
    {
      form: 'as a detail',
      body: '{"detail":"no such thing"}',
      error: { message: 'no such thing', type: 'upstream_error', code: 'upstream_error' },
    },
    { form: 'as plain text', body: 'no such thing', error: { message: 'no such thing' } },
    { form: 'that are missing', body: '{}', error: { message: 'An upstream answered with status 422.' } },
  ])("an upstream's own refusal is an event with its words ($form)", async ({ body, error }) => {
    const app = createTestApp(one(), play({ status: 422, headers: JSON_TYPE, body: [body], afterMs: 6_000 }))
    const { text } = await textAfter(app, 6_000)
    expect(errorIn(text).error).toMatchObject({ ...error, status: 422, attempts: 1 })
    expect(app.requests()).toMatchObject([{ status: 422 }])
  })

  test('a mistake of our own is told to the operator, and to the client only that it happened', async () => {
    const app = createTestApp(one(), play(late(6_000, refusal(500))), {
      around: (store) => ({
        ...store,
        settle() {
          throw new TypeError('sk-secret')
        },
      }),
    })
    const { text } = await textAfter(app, 6_000)
    expect(errorIn(text).error).toMatchObject({ code: 'internal_error', status: 500 })
    expect(text).not.toContain('sk-secret')
    expect(app.events).toContainEqual(expect.objectContaining({ kind: 'notice', level: 'error' }))
  })

  test('JSON where a stream was asked for is one event and [DONE]', async () => {
    const answer = JSON.stringify(JSON.parse(String(chatAnswer('a\nb').body)), null, 2)
    const crlf = answer.replaceAll('\n', '\r\n')
    const app = createTestApp(one(), play({ headers: JSON_TYPE, body: [crlf], afterMs: 6_000 }))
    const { text } = await textAfter(app, 6_000)
    const [comment, event = '', done, end] = text.split('\n\n')
    expect([comment, done, end]).toEqual([': waiting', 'data: [DONE]', ''])
    expect(event).not.toMatch(/[\r\n]/)
    expect(JSON.parse(event.replace('data: ', ''))).toEqual(JSON.parse(answer))
  })

  test('a break between two events is told by an event, and one within an event breaks the answer', async () => {
    const whole = events(chunk('one'))
    for (const [body, broken] of [
      [whole, false],
      [`${whole}data: {"cho`, true],
    ] as const) {
      const app = createTestApp(one(), play({ headers: SSE, body: [body], end: 'reset', afterMs: 6_000 }))
      const { text, broke } = await textAfter(app, 6_000)
      expect(broke).toBe(broken)
      expect(text.startsWith(COMMENT + whole)).toBe(true)
      expect(text.includes('upstream_disconnected')).toBe(!broken)
      expect(text).not.toContain('[DONE]')
    }
  })

  test("the request's body counts as held until the answer is there", async () => {
    const app = createTestApp(one(), play(late(6_000, chatStream('one'))))
    const asked = stream(app)
    await app.clock.advance(5_500)
    expect(app.memory.held).toBeGreaterThan(0)
    await app.clock.advance(500)
    expect(app.memory.held).toBe(0)
    await readAll(await asked)
  })
})

describe('a client that does not read', () => {
  test('finds one comment when it reads again, and the next one its time later', async () => {
    const app = createTestApp(one(), play(silence))
    const asked = stream(app)
    await app.clock.advance(60_000)
    const reader = (await asked).body!.getReader()
    expect(await piecesOf(reader, app, 4_999)).toEqual([COMMENT])
  })

  test('finds the answer when that is there', async () => {
    const app = createTestApp(one(), play(late(30_000, chatStream('one'))))
    const asked = stream(app)
    await app.clock.advance(60_000)
    expect((await readAll(await asked)).text).toBe(words('one'))
  })
})

describe('a connection that takes the body as it flows', () => {
  /** Answers straight to a connection, which takes so many chunks at a time. */
  async function flowing(script: Play, takes: number) {
    const app = createTestApp(one(), play(script))
    const chunks: string[] = []
    let room = takes
    let hasEnded = false
    let flow: Flow | undefined
    let reader: ByteReader | undefined
    const direct = createApp({
      ...app.deps,
      toResponse({ body }) {
        reader = body as ByteReader
        flow = reader.flow?.({
          chunk(value) {
            chunks.push(new TextDecoder().decode(value))
            room -= 1
            return room > 0
          },
          end: () => void (hasEnded = true),
          fail: () => {},
        })
        return new Response()
      },
    })
    const body = JSON.stringify({ stream: true, messages: [] })
    const headers = { authorization: `Bearer ${TOKEN}` }
    const request = new Request('http://gateway.test/v1/chat/completions', { method: 'POST', headers, body })
    const asked = direct.fetch(request, {})
    await app.clock.advance(5_000)
    await asked
    return {
      app,
      chunks,
      leave: () => reader?.cancel(),
      hasEnded: () => hasEnded,
      async resume() {
        room = takes
        flow?.resume()
        await settle()
      },
    }
  }

  test('gets no comment while it is full, and the next one its time after it has room', async () => {
    const { app, chunks, resume } = await flowing(silence, 1)
    await app.clock.advance(50_000)
    expect(chunks).toEqual([COMMENT])
    await resume()
    await app.clock.advance(4_999)
    expect(chunks).toEqual([COMMENT])
    await app.clock.advance(1)
    expect(chunks).toEqual([COMMENT, COMMENT])
  })

  test('gets the answer as it has room for it, and its end', async () => {
    const { app, chunks, resume, hasEnded } = await flowing(late(8_000, chatStream('one', 'two')), 1)
    await app.clock.advance(20_000)
    expect(chunks).toEqual([COMMENT])
    for (let piece = 1; piece <= 4; piece++) {
      expect([chunks.length, hasEnded()]).toEqual([piece, false])
      await resume()
    }
    await resume()
    expect([chunks.join(''), hasEnded()]).toEqual([COMMENT + words('one', 'two'), true])
  })

  test('that has left gets nothing any more', async () => {
    const { app, chunks, leave, hasEnded } = await flowing(late(8_000, chatStream('one')), 9)
    await leave()
    await app.clock.advance(60_000)
    expect([chunks, hasEnded(), app.clock.timers]).toEqual([[COMMENT], false, 0])
    expect(app.calls[0]?.exchange.isAborted).toBe(true)
  })
})

describe('a client that leaves between comments', () => {
  test('ends the request, whether its signal or the end of its reading tells so', async () => {
    for (const leaves of ['signal', 'cancel'] as const) {
      const app = createTestApp(one(), play(silence))
      const controller = new AbortController()
      const asked = stream(app, { clientSignal: controller.signal })
      await app.clock.advance(11_000)
      const response = await asked
      if (leaves === 'signal') controller.abort()
      else await response.body!.cancel()
      await settle()
      expect(app.calls[0]?.exchange.isAborted).toBe(true)
      expect(app.requests()).toMatchObject([{ status: 499, code: 'client_closed_request' }])
      expect([app.inFlight(), app.openLeases, app.memory.held]).toEqual([0, 0, 0])
      if (leaves === 'cancel') expect(app.clock.timers).toBe(0)
    }
  })

  test('leaves the queue', async () => {
    const app = createTestApp(one({ queue_timeout: 60 }, { limits: { concurrency: 1 } }), play(silence))
    void stream(app)
    const asked = stream(app)
    await app.clock.advance(6_000)
    const waits = () => app.events.findLast(({ kind }) => kind === 'queue')
    expect(waits()).toMatchObject({ waiting: 1 })
    await (await asked).body!.cancel()
    await settle()
    expect(waits()).toMatchObject({ waiting: 0 })
  })

  test('in the middle of the answer ends the upstream', async () => {
    const endless = { headers: SSE, body: [events(chunk('one'))], end: 'stall' as const, afterMs: 6_000 }
    const app = createTestApp(one(), play(endless))
    const asked = stream(app)
    await app.clock.advance(6_000)
    const reader = (await asked).body!.getReader()
    await piecesOf(reader, app, 1)
    await reader.cancel()
    await settle()
    expect(app.calls[0]?.exchange.isAborted).toBe(true)
    expect(app.requests()).toMatchObject([{ status: 499 }])
    expect(app.inFlight()).toBe(0)
  })

  test('before the first of them gets none: its request is over', async () => {
    const app = createTestApp(one(), play(silence))
    const controller = new AbortController()
    const asked = stream(app, { clientSignal: controller.signal })
    await app.clock.advance(4_000)
    controller.abort()
    expect((await asked).status).toBe(499)
    expect(app.clock.timers).toBe(0)
  })
})
