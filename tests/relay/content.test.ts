import { expect, test } from 'vitest'
import {
  chatAnswer,
  chatStream,
  chunk,
  events,
  readAll,
  refusal,
  SSE,
  stagedBy,
  type Play,
} from '../support/played.ts'
import { configOf, createTestApp } from '../support/test-app.ts'

/** A stream begins with its first content; until then everything can still be mended. */

const settings = { strategy: 'in_order', queue_timeout: 0, timeout: 10, heartbeat: 0 }
const two = configOf(['a.test', 'b.test'], { settings })
const one = configOf(['a.test'], { settings })
const failing = events({ error: { message: 'overloaded', code: 503 } })
const choice = (fields: object, finish: string | null = null): object => ({
  id: 'c',
  choices: [{ index: 0, delta: fields, finish_reason: finish }],
})

const preambles: readonly [what: string, text: string, path?: string][] = [
  ['a comment', ': PROCESSING\n\n'],
  ['blank lines', '\n\n\n\n'],
  ['a ping with a name', 'event: ping\ndata: {"type":"ping"}\n\n'],
  ['a heartbeat', events({ type: 'heartbeat' })],
  ['an empty object', events({})],
  ['what is no JSON', events('warming up')],
  ['the role', events(choice({ role: 'assistant' }))],
  ['the role and an empty text', events(choice({ role: 'assistant', content: '' }))],
  ['the role and null', events(choice({ role: 'assistant', content: null, refusal: null, tool_calls: [] }))],
  ['empty reasoning', events(choice({ content: '', reasoning_content: '' }))],
  ['no choices', events({ choices: [], usage: { prompt_tokens: 3 } })],
  ['choices of null', events({ id: 'x', choices: null })],
  ['a filter without a text', events({ choices: [], prompt_filter_results: [{ prompt_index: 0 }] })],
  [
    'a filter with a choice',
    events({ choices: [{ index: 0, content_filter_offsets: { check_offset: 0 } }] }),
  ],
  ['an empty text', events({ choices: [{ index: 0, text: '' }] }), 'completions'],
  ['created', events({ type: 'response.created', response: { id: 'r', output: [] } }), 'responses'],
  ['queued', events({ type: 'response.queued', response: { id: 'r' } }), 'responses'],
  ['in progress', events({ type: 'response.in_progress', response: { id: 'r' } }), 'responses'],
]

test.each(preambles)(
  '%s is no content: an error behind it is answered by the next upstream',
  async (...[, text, path]) => {
    const well =
      path === 'responses'
        ? events({ type: 'response.completed', response: { output: [{ type: 'message' }] } })
        : events(choice({ content: 'from b' }, 'stop'))
    for (const ending of [{ body: [text, failing] }, { body: [text, text], end: 'reset' as const }]) {
      const app = createTestApp(
        two,
        stagedBy({ 'a.test': { headers: SSE, ...ending }, 'b.test': { headers: SSE, body: [well] } }),
      )
      const response = await app.chat({ stream: true }, path === undefined ? {} : { path })
      expect(await response.text()).toBe(well)
      expect(app.hosts()).toEqual(['a.test', 'b.test'])
    }
  },
)

const contents: readonly [what: string, event: object, path?: string][] = [
  ['a text', choice({ content: 'a' })],
  ['white space', choice({ content: '\n' })],
  ['parts', choice({ content: [{ type: 'text', text: 'a' }] })],
  ['reasoning', choice({ reasoning_content: 'hm' })],
  ['reasoning in parts', choice({ reasoning_details: [{ text: 'hm' }] })],
  ['a refusal', choice({ refusal: 'no' })],
  ['a call of a tool', choice({ tool_calls: [{ index: 0, function: { name: 'f', arguments: '' } }] })],
  ['a call of a function', choice({ function_call: { name: 'f' } })],
  ['sound', choice({ audio: { data: 'AA' } })],
  ['what comes next year', choice({ hologram: { voxels: [1] } })],
  ['a text of completions', { choices: [{ index: 0, text: 'a' }] }, 'completions'],
  ['an end by length', choice({}, 'length')],
  ['an end for a filter', choice({}, 'content_filter')],
  ['an item', { type: 'response.output_item.added', item: { type: 'message' } }, 'responses'],
  ['a delta', { type: 'response.output_text.delta', delta: 'a' }, 'responses'],
  ['a whole message', { choices: [{ message: { content: 'a' } }] }],
]

test.each(contents)(
  '%s is content: the client has it at once, and what breaks is not begun anew',
  async (...[, event, path]) => {
    const app = createTestApp(
      two,
      stagedBy({
        'a.test': { headers: SSE, body: [': x\n\n', events(event)], end: 'reset' },
        'b.test': chatStream('b'),
      }),
    )
    const { text } = await readAll(await app.chat({ stream: true }, path === undefined ? {} : { path }))
    expect(text.startsWith(`: x\n\n${events(event)}`)).toBe(true)
    expect(text).toContain('upstream_disconnected')
    expect(app.hosts()).toEqual(['a.test'])
  },
)

test('the preamble is handed on unchanged and in order, cut wherever it was', async () => {
  const whole = `: hi\n\n${events(choice({ role: 'assistant' }))}${events(choice({ content: 'a' }), choice({}, 'stop'), '[DONE]')}`
  const bytes = new TextEncoder().encode(whole)
  for (const size of [1, 7, 50]) {
    const body = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
      bytes.subarray(at * size, (at + 1) * size),
    )
    const response = await createTestApp(one, stagedBy({ 'a.test': { headers: SSE, body } })).chat({
      stream: true,
    })
    expect(await response.text()).toBe(whole)
  }
})

test.each([
  { what: 'the role', body: [events(choice({ role: 'assistant' }))] },
  { what: 'comments without an end', body: Array.from({ length: 400 }, () => [': x\n\n', 100]).flat() },
])('after $what and no content within the timeout the next upstream is asked', async ({ body }) => {
  const app = createTestApp(
    two,
    stagedBy({ 'a.test': { headers: SSE, body, end: 'stall' }, 'b.test': chatStream('b') }),
  )
  const asked = app.chat({ stream: true })
  await app.clock.advance(10_000)
  expect((await asked).headers.get('x-aiload-upstream')).toBe('b.test')
  expect(app.calls[0]!.exchange.isAborted).toBe(true)
})

test('the last one that is left has four timeouts, as long as it gives signs of life', async () => {
  const queued: Play = {
    headers: SSE,
    body: [
      ...Array.from({ length: 35 }, () => [': keep-alive\n\n', 1_000]).flat(),
      events(chunk('a', 'stop')),
    ],
  }
  const app = createTestApp(one, stagedBy({ 'a.test': queued }))
  const asked = app.chat({ stream: true })
  await app.clock.advance(36_000)
  expect((await asked).status).toBe(200)
  const endless: Play = {
    ...queued,
    body: Array.from({ length: 80 }, () => [': keep-alive\n\n', 1_000]).flat(),
  }
  const silent = createTestApp(one, stagedBy({ 'a.test': endless }))
  const answer = silent.chat({ stream: true })
  await silent.clock.advance(40_001)
  expect((await answer).status).toBe(504)
})

const DONE = events('[DONE]')
test.each<{ what: string; body: Play['body']; end?: Play['end'] }>([
  { what: '[DONE] and a reset', body: [events(chunk('a')), DONE], end: 'reset' },
  { what: '[DONE] and silence', body: [events(chunk('a')), DONE], end: 'stall' },
  {
    what: 'single line ends',
    body: [
      `data: ${JSON.stringify(chunk('a'))}\n`,
      `data: ${JSON.stringify(chunk('b', 'stop'))}\n`,
      'data: [DONE]\n',
    ],
  },
  {
    what: 'no blank line at the end',
    body: [events(chunk('a')), `data: ${JSON.stringify(chunk('', 'stop'))}\n`],
  },
  {
    what: 'no line end at the end',
    body: [events(chunk('a')), `data: ${JSON.stringify(chunk('', 'stop'))}`],
  },
])('a stream with $what is whole', async ({ body, end }) => {
  const app = createTestApp(one, stagedBy({ 'a.test': { headers: SSE, body: body!, ...(end && { end }) } }))
  const all = readAll(await app.chat({ stream: true }))
  expect(await all).toEqual({ text: body!.join(''), broke: false })
  await app.clock.advance(200)
  expect(app.attempts()).toMatchObject([{ outcome: 'ok' }])
  expect(app.calls[0]!.exchange.isOver).toBe(true)
})

test('response.completed ends a request, whatever its connection does', async () => {
  const last = `event: response.completed\n${events({ type: 'response.completed', response: { output: [{ type: 'message' }] } })}`
  const body = [events({ type: 'response.output_text.delta', delta: 'a' }), last]
  for (const end of ['reset', 'stall'] as const) {
    const app = createTestApp(one, stagedBy({ 'a.test': { headers: SSE, body, end } }))
    const all = readAll(await app.chat({ stream: true }, { path: 'responses' }))
    await app.clock.advance(200)
    expect(await all).toEqual({ text: body.join(''), broke: false })
  }
})

test('JSON where a stream was asked: another is asked once, and it is handed on as JSON when none streams', async () => {
  const app = createTestApp(two, stagedBy({ 'a.test': chatAnswer('whole'), 'b.test': chatStream('b') }))
  expect((await app.chat({ stream: true })).headers.get('x-aiload-upstream')).toBe('b.test')
  // It is remembered: the next request that wants a stream asks the other one first.
  await app.chat({ stream: true })
  expect(app.hosts()).toEqual(['a.test', 'b.test', 'b.test'])
  const nobody = createTestApp(two, stagedBy({ 'a.test': chatAnswer('whole'), 'b.test': refusal(503) }))
  const response = await nobody.chat({ stream: true })
  expect(response.headers.get('content-type')).toBe('application/json')
  expect(await response.text()).toContain('whole')
})

test('events where none were asked: another is asked once, and they are handed on when none answers whole', async () => {
  const app = createTestApp(two, stagedBy({ 'a.test': chatStream('a'), 'b.test': chatAnswer('b') }))
  expect((await app.chat()).headers.get('x-aiload-upstream')).toBe('b.test')
  const nobody = createTestApp(two, stagedBy({ 'a.test': chatStream('a'), 'b.test': refusal(503) }))
  const response = await nobody.chat()
  expect(response.headers.get('content-type')).toContain('event-stream')
  expect(await response.text()).toContain('"a"')
})

test.each(['text/html', 'text/plain', 'application/octet-stream', 'text/event-stream', ''])(
  'under the label %j bytes are what they are',
  async (type) => {
    const headers = type === '' ? {} : { 'content-type': type }
    const json = createTestApp(one, stagedBy({ 'a.test': { ...chatAnswer('hi'), headers } }))
    const whole = await json.chat()
    expect([whole.headers.get('content-type'), (await whole.text()).includes('hi')]).toEqual([
      'application/json',
      true,
    ])
    const stream = createTestApp(one, stagedBy({ 'a.test': { ...chatStream('hi'), headers } }))
    const streamed = await stream.chat({ stream: true })
    expect(streamed.headers.get('content-type')).toContain('text/event-stream')
    expect(await streamed.text()).toContain('hi')
    const sick = createTestApp(
      two,
      stagedBy({ 'a.test': { headers, body: [failing] }, 'b.test': chatStream('b') }),
    )
    expect((await sick.chat({ stream: true })).headers.get('x-aiload-upstream')).toBe('b.test')
  },
)

test('what is neither JSON nor events is no answer of a JSON endpoint, but a picture or a sound passes', async () => {
  const app = createTestApp(
    two,
    stagedBy({
      'a.test': { headers: { 'content-type': 'text/plain' }, body: ['busy'] },
      'b.test': chatAnswer('b'),
    }),
  )
  expect((await app.chat()).headers.get('x-aiload-upstream')).toBe('b.test')
  const picture: Play = { headers: { 'content-type': 'image/png' }, body: ['PNG'] }
  const response = await createTestApp(one, stagedBy({ 'a.test': picture })).chat(
    { prompt: 'x' },
    { path: 'images/generations' },
  )
  expect(await response.text()).toBe('PNG')
})

test('of speech, and of transcripts asked for as text, only an error in JSON is none', async () => {
  const said = async (play: Play, path: string, format = 'text'): Promise<string | null> => {
    const app = createTestApp(two, stagedBy({ 'a.test': play, 'b.test': { body: ['{"text":"b"}'] } }))
    return (await app.chat({ response_format: format }, { path })).headers.get('x-aiload-upstream')
  }
  for (const text of ['1\n00:00 --> 00:01\nhi', '<b>no page</b>', 'data: of the day', '{"text":""}'])
    expect(
      await said({ headers: { 'content-type': 'text/plain' }, body: [text] }, 'audio/transcriptions'),
    ).toBe('a.test')
  for (const text of ['{"error":{"message":"busy"}}', '{"code":429,"msg":"busy"}'])
    expect(
      await said({ headers: { 'content-type': 'text/plain' }, body: [text] }, 'audio/transcriptions'),
    ).toBe('b.test')
  const sound = { headers: { 'content-type': 'audio/mpeg' } }
  expect(await said({ ...sound, body: ['ID3\x04'] }, 'audio/speech')).toBe('a.test')
  for (const cut of [['{"error":{"message":"busy"}}'], ['  {"err', 'or":{"message":"busy"}}']])
    expect(await said({ ...sound, body: cut }, 'audio/speech')).toBe('b.test')
  for (const format of ['', 'json', 'verbose_json'])
    expect(await said({ body: ['<b>busy</b>'] }, 'audio/transcriptions', format)).toBe('b.test')
  const delta = events({ type: 'transcript.text.delta', delta: 'hi' })
  expect(await said({ headers: SSE, body: [delta] }, 'audio/transcriptions', 'json')).toBe('a.test')
  expect(await said({ headers: SSE, body: [failing] }, 'audio/transcriptions', 'json')).toBe('b.test')
})

const mark = '\xef\xbb\xbf'
test.each([
  { what: 'much white space', body: [' '.repeat(300), '\n'.repeat(300), '{"choices":[{"text":"hi"}]}'] },
  { what: 'a byte order mark', body: [mark, '{"choices":[{"text":"hi"}]}'] },
  { what: 'a byte order mark in pieces', body: [...mark, '{"choices":[{"text":"hi"}]}'] },
])('behind $what an answer is one', async ({ body }) => {
  const bytes = body.map((piece) => Uint8Array.from(piece, (letter) => letter.charCodeAt(0)))
  const app = createTestApp(two, stagedBy({ 'a.test': { body: bytes }, 'b.test': chatAnswer('b') }))
  expect((await app.chat()).headers.get('x-aiload-upstream')).toBe('a.test')
})

test('a stream that nobody asked for ends with its last word, and errors behind a reason to stop are none', async () => {
  const said = events(choice({ content: 'hi' }, 'stop'))
  for (const body of [
    [said, events('[DONE]')],
    [said, failing],
  ]) {
    const staged = { 'a.test': { headers: SSE, body, end: 'stall' as const }, 'b.test': { status: 429 } }
    const app = createTestApp(
      two,
      stagedBy(body[1] === failing ? { ...staged, 'a.test': { headers: SSE, body } } : staged),
    )
    const response = await app.chat()
    expect([response.status, await response.text()]).toEqual([200, body.join('')])
    expect(app.hosts()).toEqual(['a.test', 'b.test'])
  }
  const broken = { headers: SSE, body: [events(choice({ content: 'hi' })), failing] }
  const app = createTestApp(two, stagedBy({ 'a.test': broken, 'b.test': chatAnswer('b') }))
  expect((await app.chat()).headers.get('x-aiload-upstream')).toBe('b.test')
})

test('a completed response without output ends the attempt, though the upstream stays silent behind it', async () => {
  const completed = events({ type: 'response.completed', response: { id: 'r', output: [] } })
  const well = events({ type: 'response.completed', response: { output: [{ type: 'message' }] } })
  const app = createTestApp(
    two,
    stagedBy({
      'a.test': { headers: SSE, body: [completed], end: 'stall' },
      'b.test': { headers: SSE, body: [well] },
    }),
  )
  expect(await (await app.chat({ stream: true }, { path: 'responses' })).text()).toBe(well)
})

test('the words of an error inside a success reach the client also where they name no class', async () => {
  const words = '{"error":{"message":"Something bad happened in here"}}'
  const whole = await createTestApp(one, stagedBy({ 'a.test': { body: [words] } })).chat()
  expect(whole.status).toBe(502)
  expect(await whole.text()).toContain('Something bad happened in here')
  const first = stagedBy({ 'a.test': { headers: SSE, body: [`data: ${words}\n\n`] } })
  const streamed = await createTestApp(one, first).chat({ stream: true })
  expect(streamed.status).toBe(502)
  expect(await streamed.text()).toContain('Something bad happened in here')
})

test('where no memory is left to hold an answer back, it is committed as it is', async () => {
  const small = configOf(['a.test', 'b.test'], { settings, server: { max_buffered: 4_000 } })
  const half = JSON.stringify({ choices: [{ text: 'x'.repeat(3_000) }] })
  const json = createTestApp(
    small,
    stagedBy({
      'a.test': { body: [half.slice(0, 2_000), 500, half.slice(2_000), ' '.repeat(3_000), 500, 'cut'] },
      'b.test': chatAnswer(),
    }),
  )
  const whole = json.chat()
  await json.clock.advance(600)
  expect((await whole).headers.get('x-aiload-upstream')).toBe('a.test')
  const stream = createTestApp(
    small,
    stagedBy({
      'a.test': { headers: SSE, body: [`: ${'x'.repeat(5_000)}\n\n`], end: 'stall' },
      'b.test': chatStream('b'),
    }),
  )
  const response = await stream.chat({ stream: true })
  expect(response.headers.get('x-aiload-upstream')).toBe('a.test')
  await response.body!.cancel()
  expect(stream.memory.held).toBe(0)
})

test('behind content any event is life, and comments alone are for four timeouts', async () => {
  const hello = events(chunk('a'))
  const comments = (count: number): (string | number)[] =>
    Array.from({ length: count }, () => [': alive\n\n', 5_000]).flat()
  const patient = createTestApp(
    one,
    stagedBy({
      'a.test': {
        headers: SSE,
        body: [hello, ...comments(7), events(chunk('b', 'stop')), ...comments(7), DONE],
      },
    }),
  )
  const whole = readAll(await patient.chat({ stream: true }))
  await patient.clock.advance(90_000)
  expect((await whole).text.endsWith(DONE)).toBe(true)
  const stalled = createTestApp(
    one,
    stagedBy({ 'a.test': { headers: SSE, body: [hello, ...comments(20)], end: 'stall' } }),
  )
  const cut = readAll(await stalled.chat({ stream: true }))
  await stalled.clock.advance(60_000)
  const { text, broke } = await cut
  expect([text.includes('upstream_timeout'), broke]).toEqual([true, false])
  expect(stalled.calls[0]!.exchange.isAborted).toBe(true)
})
