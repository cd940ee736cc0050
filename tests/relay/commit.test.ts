import { expect, test } from 'vitest'
import {
  chatAnswer,
  chatStream,
  chunk,
  events,
  JSON_TYPE,
  readAll,
  refusal,
  SSE,
  stagedBy,
  type Play,
} from '../support/played.ts'
import { configOf, createTestApp } from '../support/test-app.ts'

const inOrder = configOf(['a.test', 'b.test'], {
  settings: { strategy: 'in_order', affinity: 'off', queue_timeout: 0 },
})
const asked = { stream: true }
const error = { error: { message: 'no', type: 'server_error', code: 'server_error' } }

/** `a.test` plays, `b.test` would answer well. */
const withFirst = (first: Play, second: Play = chatStream('from b')) =>
  createTestApp(inOrder, stagedBy({ 'a.test': first, 'b.test': second }))

test.each([
  { what: 'an error as first event', body: [events(error)] },
  { what: 'an error behind comments', body: [': keep-alive\n\n', '\n\n', events(error)] },
  { what: '`event: error`', body: ['event: error\ndata: overloaded\n\n'] },
  { what: 'an empty body', body: [] },
  { what: 'nothing but comments', body: [': a\n\n', ': b\n\n'] },
  { what: 'an end inside the first event', body: ['data: {"choices":[{"delta":'] },
  { what: 'an error without its blank line', body: [`data: ${JSON.stringify(error)}`] },
  { what: 'an event without data', body: ['data:\n\n'] },
  {
    what: 'an error cut in odd places',
    body: ['da', 'ta: {"err', 'or":{"mess', 'age":"no"}}\r', '\n\r', '\n'],
  },
  { what: 'an HTML page', body: ['<html>busy</html>'] },
  { what: 'a reset behind comments', body: [': a\n\n'], end: 'reset' as const },
])('a stream that begins with $what is answered by the next upstream', async ({ body, ...rest }) => {
  const app = withFirst({ headers: SSE, body, ...rest })
  const response = await app.chat(asked)
  expect(response.status).toBe(200)
  expect(await response.text()).toContain('from b')
  expect(app.hosts()).toEqual(['a.test', 'b.test'])
  expect(app.attempts().map(({ outcome }) => outcome)).toEqual(['failure', 'ok'])
})

test.each(['response.created', 'response.queued', 'response.in_progress'])(
  'a response.failed behind %s still fails over',
  async (type) => {
    const begun = `event: ${type}\ndata: {"type":"${type}","response":{"id":"resp_1"}}\n\n`
    const failed =
      'event: response.failed\ndata: {"type":"response.failed","response":{"error":{"code":"server_error"}}}\n\n'
    const well = [
      'event: response.completed\ndata: {"type":"response.completed","response":{"id":"resp_2","output":[{"type":"message"}]}}\n\n',
    ]
    const app = withFirst({ headers: SSE, body: [begun, failed] }, { headers: SSE, body: well })
    const response = await app.chat(asked, { path: 'responses' })
    expect(await response.text()).toContain('resp_2')
  },
)

test('the type of a lifecycle event is read from its data where it has no name', async () => {
  const begun = 'data: {"sequence_number":0,"type":"response.created","response":{}}\n\n'
  const well = [events({ type: 'response.completed', response: { output: [{ type: 'message' }] } })]
  const app = withFirst({ headers: SSE, body: [begun, events(error)] }, { headers: SSE, body: well })
  expect(await (await app.chat(asked, { path: 'responses' })).text()).toContain('completed')
})

test.each([
  { what: 'an empty body', body: [''] },
  { what: 'white space', body: ['  \n'] },
  { what: 'a page', body: ['<!doctype html><p>busy'] },
  { what: 'only an error', body: [JSON.stringify(error)] },
  { what: 'truncated JSON', body: ['{"choices":[{"message":{"content":"ha'] },
  { what: 'an array', body: ['[1]'] },
])('a JSON answer that is $what is answered by the next upstream', async ({ body }) => {
  for (const headers of [JSON_TYPE, {}]) {
    const app = withFirst({ headers, body }, chatAnswer('from b'))
    expect(await (await app.chat()).text()).toContain('from b')
  }
})

test('a page under its own type is answered by the next upstream, also where it never ends', async () => {
  const page: Play = { headers: { 'content-type': 'text/html' }, body: ['<p>'], end: 'stall' }
  const app = withFirst(page, chatAnswer('from b'))
  expect(await (await app.chat()).text()).toContain('from b')
  expect(app.calls[0]!.exchange.isAborted).toBe(true)
})

test('an `error` beside content is a remark, and null is none', async () => {
  for (const body of [
    '{"error":{"message":"x"},"choices":[{"text":"a"}]}',
    '{"error":null,"choices":[{"text":"a"}]}',
  ]) {
    const app = withFirst({ body: [body] })
    expect(await (await app.chat()).text()).toBe(body)
  }
})

test.each([204, 205])('a %s is no answer to a relayed request', async (status) => {
  const app = withFirst({ status, headers: {}, body: [] }, chatAnswer('from b'))
  expect(await (await app.chat()).text()).toContain('from b')
})

test('JSON under the label of a stream is handed on as JSON', async () => {
  const body = JSON.stringify({ choices: [{ text: 'a' }] })
  const alone = createTestApp(configOf(['a.test']), stagedBy({ 'a.test': { headers: SSE, body: [body] } }))
  const response = await alone.chat(asked)
  expect(response.headers.get('content-type')).toBe('application/json')
  expect(await response.text()).toBe(body)
})

test('a stream under the label of JSON is judged by its events and labelled as a stream', async () => {
  const well = events(chunk('hi', 'stop'), '[DONE]')
  const response = await withFirst({ body: [well] }).chat(asked)
  expect(response.headers.get('content-type')).toContain('text/event-stream')
  expect(response.headers.get('x-accel-buffering')).toBe('no')
  expect(await response.text()).toBe(well)
  const failing = withFirst({ body: [events(error)] })
  expect(await (await failing.chat(asked)).text()).toContain('from b')
})

test('a missing type is what the client asked for', async () => {
  const stream = await withFirst({ ...chatStream('hi'), headers: {} }).chat(asked)
  expect(stream.headers.get('content-type')).toContain('text/event-stream')
  const json = await withFirst({ ...chatAnswer(), headers: {} }).chat()
  expect(json.headers.get('content-type')).toBe('application/json')
  const answersJson = await withFirst({ ...chatAnswer('plain'), headers: {} }, refusal(500)).chat(asked)
  expect(await answersJson.text()).toContain('plain')
})

test('a body that is no JSON is committed with its first byte', async () => {
  const audio: Play = { headers: { 'content-type': 'audio/mpeg' }, body: ['', 'ID3', 500, 'more'] }
  const app = withFirst(audio)
  const response = await app.chat({ input: 'x' }, { path: 'audio/speech' })
  expect(response.headers.get('content-type')).toBe('audio/mpeg')
  expect(app.clock.timers).toBe(0)
  const all = readAll(response)
  await app.clock.advance(500)
  expect(await all).toEqual({ text: 'ID3more', broke: false })
})

test('an empty body of another type is answered by the next upstream', async () => {
  const app = withFirst({ headers: { 'content-type': 'audio/mpeg' }, body: [] }, chatAnswer('from b'))
  expect((await app.chat({ input: 'x' }, { path: 'audio/speech' })).headers.get('x-aiload-upstream')).toBe(
    'b.test',
  )
})

test('JSON larger than 8 MiB is streamed', async () => {
  const long = 'x'.repeat(9 * 2 ** 20)
  const app = withFirst({ body: ['{"choices":[],"pad":"', long, '"}', 1000] })
  const response = await app.chat()
  expect(response.status).toBe(200)
  expect(app.inFlight()).toBe(1)
  const all = readAll(response)
  await app.clock.advance(1000)
  expect((await all).text.length).toBe(long.length + 23)
  expect(app.inFlight()).toBe(0)
})

test.each([{ what: '256 KiB', body: [`: ${'x'.repeat(262_144)}\n\n`, 60_000, events(error)] }])(
  'what a stream shows in $what is all that is waited for',
  async ({ body }) => {
    const app = withFirst({ headers: SSE, body, end: 'stall' })
    const response = await app.chat(asked)
    expect(response.headers.get('x-aiload-upstream')).toBe('a.test')
    await response.body!.cancel()
  },
)
