import { expect, test } from 'vitest'
import { chatStream, chunk, events, readAll, SSE, stagedBy, type Play } from '../support/played.ts'
import { settle } from '../support/fake-clock.ts'
import { configOf, createTestApp } from '../support/test-app.ts'

const settings = { strategy: 'in_order', queue_timeout: 0, timeout: 10 }
const two = configOf(['a.test', 'b.test'], { settings })
const hello = events(chunk('hello'))

async function streamOf(script: Play, path = 'chat/completions') {
  const app = createTestApp(two, stagedBy({ 'a.test': script, 'b.test': chatStream('from b') }))
  const all = app.chat({ stream: true }, { path }).then(readAll)
  await app.clock.advance(60_000)
  return { app, ...(await all) }
}

test.each([
  { what: 'a reset', body: [hello], end: 'reset' as const, code: 'upstream_disconnected' },
  { what: 'a silence', body: [hello], end: 'stall' as const, code: 'upstream_timeout' },
  {
    what: 'a clean end without a last word',
    body: [hello],
    end: 'close' as const,
    code: 'upstream_disconnected',
  },
  {
    what: 'a reset behind a comment',
    body: [hello, ': alive\n'],
    end: 'reset' as const,
    code: 'upstream_disconnected',
  },
])('$what between two events adds one error event and ends well', async ({ code, ...script }) => {
  const { app, text, broke } = await streamOf({ headers: SSE, ...script })
  expect(broke).toBe(false)
  expect(text.startsWith(script.body.join(''))).toBe(true)
  const added = text.slice(script.body.join('').length)
  const data = JSON.parse(/^data: (.*)\n\n$/.exec(added)![1]!) as { error: object }
  expect(data).toEqual({ error: { message: expect.any(String), type: 'upstream_error', param: null, code } })
  expect(text).not.toContain('[DONE]')
  expect(app.calls).toHaveLength(1)
  expect(app.requests()).toMatchObject([{ status: 200, code, attempts: [{ outcome: 'broken' }] }])
})

test.each([
  { what: 'a reset', end: 'reset' as const },
  { what: 'a silence', end: 'stall' as const },
  { what: 'a clean end', end: 'close' as const },
])('$what inside an event adds nothing and breaks off', async ({ end }) => {
  const half = 'data: {"choices":[{"delta":{"content":"hal'
  for (const body of [[hello, half], [hello + half], [hello, 'data: {"choices":[]}\n']]) {
    const { app, text, broke } = await streamOf({ headers: SSE, body, end })
    expect(broke).toBe(true)
    expect(text).toBe(body.join(''))
    expect(app.calls).toHaveLength(1)
  }
})

test.each([
  { what: '[DONE]', body: [hello, events('[DONE]')] },
  { what: '[DONE] without its blank line', body: [hello, 'data: [DONE]'] },
  { what: '[DONE] with half of it', body: [hello, 'data: [DONE]\n'] },
  { what: 'a finish reason', body: [hello, events(chunk('', 'length'))] },
  { what: "the upstream's own error", body: [hello, events({ error: { message: 'x' } })] },
])('a stream that ends with $what is whole', async ({ body }) => {
  const { app, text, broke } = await streamOf({ headers: SSE, body })
  expect({ text, broke }).toEqual({ text: body.join(''), broke: false })
  expect(app.attempts()).toMatchObject([{ outcome: 'ok' }])
})

test('a stream that breaks off behind its last word is whole, though nothing has ended its only event', async () => {
  const body = ['data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\ndata: [DONE]']
  const { app, text, broke } = await streamOf({ headers: SSE, body, end: 'reset' })
  expect({ text, broke, calls: app.calls.length }).toEqual({ text: body[0], broke: false, calls: 1 })
})

test('what a model writes is no last word', async () => {
  const body = [hello, events(chunk('[DONE]')), events(chunk('"finish_reason":"stop"'))]
  const { text } = await streamOf({ headers: SSE, body })
  expect(text).toContain('upstream_disconnected')
})

test.each(['response.completed', 'response.incomplete', 'response.failed'])(
  'a Responses stream is whole with %s',
  async (type) => {
    const delta =
      'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"response.completed"}\n\n'
    const end = `event: ${type}\ndata: {"type":"${type}","response":{}}\n\n`
    const whole = await streamOf({ headers: SSE, body: [delta, end] }, 'responses')
    expect(whole.text).toBe(delta + end)
    const cut = await streamOf({ headers: SSE, body: [delta] }, 'responses')
    expect(cut.text.slice(delta.length)).toMatch(/^event: error\ndata: \{"error".*\n\n$/)
  },
)

test('an upstream that broke off cools, and the next request goes elsewhere', async () => {
  const { app } = await streamOf({ headers: SSE, body: [hello], end: 'stall' })
  const cut = createTestApp(
    two,
    stagedBy({ 'a.test': { headers: SSE, body: [hello], end: 'reset' }, 'b.test': chatStream('b') }),
  )
  await (await cut.chat({ stream: true })).text()
  expect((await cut.chat({ stream: true })).headers.get('x-aiload-upstream')).toBe('b.test')
  expect([app.inFlight(), app.openLeases, app.clock.timers]).toEqual([0, 0, 0])
})

test('a body that is no event stream breaks off where it broke', async () => {
  const { app, text, broke } = await streamOf(
    { headers: { 'content-type': 'audio/mpeg' }, body: ['ID3', 'x'], end: 'reset' },
    'audio/speech',
  )
  expect({ text, broke }).toEqual({ text: 'ID3x', broke: true })
  expect(app.attempts()).toMatchObject([{ outcome: 'broken' }])
})

test('a slow reader is no silence of the upstream', async () => {
  const body = [hello, events(chunk('', 'stop')), events('[DONE]')]
  const app = createTestApp(two, stagedBy({ 'a.test': { headers: SSE, body } }))
  const response = await app.chat({ stream: true })
  const reader = response.body!.getReader()
  let text = ''
  for (;;) {
    await app.clock.advance(60_000)
    const { done, value } = await reader.read()
    if (done) break
    text += Buffer.from(value).toString()
  }
  await settle()
  expect(text).toBe(body.join(''))
})

test('a last event that holds the whole answer may be of any length', async () => {
  const output = [{ type: 'message', content: [{ type: 'output_text', text: 'x'.repeat(100_000) }] }]
  const usage = { input_tokens: 5, output_tokens: 25_000, total_tokens: 25_005 }
  const last = JSON.stringify({ type: 'response.completed', response: { id: 'resp_1', output, usage } })
  const body = [`event: response.completed\ndata: ${last.slice(0, 70_000)}`, `${last.slice(70_000)}\n\n`]
  const { app, text, broke } = await streamOf({ headers: SSE, body, end: 'close' }, 'responses')
  expect([broke, text === body.join('')]).toEqual([false, true])
  expect(app.requests()).toMatchObject([{ status: 200, attempts: [{ outcome: 'ok' }], outputTokens: 25_000 }])
})

const completed = events({ type: 'response.completed', response: { id: 'r', output: [{ type: 'message' }] } })
const sorted = events({
  response: { output: [{ type: 'message' }], x: 'y'.repeat(300) },
  type: 'response.completed',
})

test.each([
  { what: '[DONE] and more', said: [hello + events('[DONE]') + ': bye\n\n'] },
  { what: '[DONE] and an event', said: [`${hello}data: [DONE]\n\ndata: {"x":1}\n\n`] },
  { what: '[DONE] behind CR', said: [`${hello}data: [DONE]\r\r`] },
  { what: '[DONE] without a line end', said: [hello, 'data: [DONE]'] },
  { what: '[DONE] with one line end', said: [hello, 'data: [DONE]\n'] },
  { what: '[DONE] with CRLF', said: [hello, 'data: [DONE]\r\n'] },
  { what: '[DONE] in pieces', said: [hello, 'data: [DO', 'NE]', '\n', '\n'] },
  { what: 'the whole response', path: 'responses', said: [completed] },
  { what: 'the whole response and more', path: 'responses', said: [completed + events({ type: 'ping' })] },
  { what: 'the whole response, its type last', path: 'responses', said: [sorted] },
  { what: 'the whole response with one line end', path: 'responses', said: [completed.slice(0, -1)] },
  { what: 'the whole response in pieces', path: 'responses', said: [...completed] },
])('a request ends with $what, whatever the upstream does behind it', async ({ said, path }) => {
  const first = path === undefined ? [] : [events({ type: 'response.output_text.delta', delta: 'x' })]
  for (const end of ['stall', 'reset', 'close'] as const) {
    const script: Play = { headers: SSE, body: [...first, ...said], end }
    const app = createTestApp(two, stagedBy({ 'a.test': script, 'b.test': chatStream('from b') }))
    let isOver = false
    const all = app.chat({ stream: true }, path === undefined ? {} : { path }).then(readAll)
    void all.then(() => (isOver = true))
    await app.clock.advance(200)
    expect({ end, isOver }).toEqual({ end, isOver: true })
    expect(await all).toMatchObject({ text: [...first, ...said].join(''), broke: false })
    expect(app.attempts()).toMatchObject([{ outcome: 'ok' }])
    await app.clock.advance(20_000)
    expect([app.inFlight(), app.openLeases, app.clock.timers]).toEqual([0, 0, 0])
  }
})

test('what a client stored in a response is no last word', async () => {
  const created = { type: 'response.in_progress', response: { metadata: { type: 'response.completed' } } }
  const delta = events({ type: 'response.output_text.delta', delta: '"type":"response.completed"}' })
  const body = [events(created) + delta, 1_000, delta, completed]
  const { text } = await streamOf({ headers: SSE, body }, 'responses')
  expect(text).toBe(body.filter((piece) => typeof piece === 'string').join(''))
})

test('an empty reason to stop is none', async () => {
  const body = [hello, events({ choices: [{ index: 0, delta: { content: 'x' }, finish_reason: '' }] })]
  expect((await streamOf({ headers: SSE, body })).text).toContain('upstream_disconnected')
})

test('a reason to stop counts also in front of an event that is larger than what is kept', async () => {
  const usage = events({ choices: [], usage: { total_tokens: 3 }, padding: 'x'.repeat(40_000) })
  const body = [hello, events(chunk('', 'stop')), usage]
  expect((await streamOf({ headers: SSE, body })).text).toBe(body.join(''))
})

test('a response that has told how it failed is not told of the break behind it', async () => {
  const delta = events({ type: 'response.output_text.delta', delta: 'x' })
  for (const type of ['response.incomplete', 'response.failed']) {
    const body = [delta, events({ type, response: {} })]
    expect((await streamOf({ headers: SSE, body, end: 'reset' }, 'responses')).text).toBe(body.join(''))
  }
})

test.each([
  { what: 'blank lines', line: '\n\n' },
  { what: 'ids', line: 'id: 7\n\n' },
  { what: 'times to come back', line: 'retry: 100\n\n' },
  { what: 'empty data', line: 'data:\n\n' },
  { what: 'comments in pieces', line: [': ali', 've\n\n'] },
])('$what are no life behind the first content', async ({ line }) => {
  const beats = Array.from({ length: 60 }, () => [line, 1_000].flat()).flat()
  const script: Play = { headers: SSE, body: [hello, ...beats], end: 'stall' }
  expect((await streamOf(script)).text).toContain('upstream_timeout')
})
