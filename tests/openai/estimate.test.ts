import { expect, test } from 'vitest'
import { scanTopLevel } from '../../src/lib/json/scan.ts'
import { ESTIMATE_FIELDS, estimateOf } from '../../src/openai/request.ts'
import type { Endpoint } from '../../src/pool/upstream.ts'

const estimate = (body: object | string, endpoint: Endpoint = 'chat') => {
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  return estimateOf(scanTopLevel(bytes, ESTIMATE_FIELDS), endpoint)
}

test('text counts a token for four bytes', () => {
  const text = 'x'.repeat(4_000)
  expect(estimate({ input: text }).inputTokens).toBe(Math.ceil((4_000 + 12) / 4))
})

test.each([
  { body: { max_tokens: 100 }, output: 100 },
  { body: { max_completion_tokens: 70, max_tokens: 100 }, output: 70 },
  { body: { max_output_tokens: 30 }, output: 30 },
  { body: { max_tokens: 100, n: 3 }, output: 300 },
  { body: { max_tokens: 100, n: 0 }, output: 100 },
  { body: { max_tokens: 100, n: 1e9 }, output: 12_800 },
  { body: { max_tokens: -5 }, output: 0 },
  { body: { max_tokens: 1e300 }, output: 1e9 },
  { body: { max_tokens: 'many' }, output: undefined },
  { body: {}, output: undefined },
])('the most output of $body is $output', ({ body, output }) => {
  expect(estimate(body).outputTokens).toBe(output)
})

test('without a maximum the number of answers is told apart, for each of them will cost', () => {
  expect(estimate({ n: 3 })).toMatchObject({ outputTokens: undefined, choices: 3 })
  expect(estimate({})).toMatchObject({ choices: 1 })
})

test('a number that no double holds names no maximum', () => {
  expect(estimate('{"max_tokens":1e400}').outputTokens).toBeUndefined()
})

test.each(['embeddings', 'moderations', 'rerank'] as const)('%s write nothing', (endpoint) => {
  expect(estimate({ input: 'x', max_tokens: 5 }, endpoint).outputTokens).toBe(0)
})

test.each(['images', 'audio'] as const)('%s count no tokens', (endpoint) => {
  expect(estimate({ input: 'x' }, endpoint)).toMatchObject({
    inputTokens: undefined,
    outputTokens: undefined,
  })
})

const image = `data:image/png;base64,${'A'.repeat(400_000)}`
const withImages = (count: number, text = '') => ({
  messages: [
    {
      role: 'user',
      content: [
        { type: 'text', text },
        ...Array.from({ length: count }, () => ({ type: 'image_url', image_url: { url: image } })),
      ],
    },
  ],
})

test.each([1, 3, 100])('%s picture(s) count by their number and not by their bytes', (count) => {
  const tokens = estimate(withImages(count)).inputTokens ?? 0
  expect(tokens).toBeGreaterThan(count * 500)
  expect(tokens).toBeLessThan(count * 1_000 + 500)
})

test('a text full of semicolons in front of a picture does not hide it', () => {
  expect(estimate(withImages(1, 'a;b;'.repeat(5_000))).inputTokens).toBeLessThan(8_000)
})

test('24 MB of what looks like pictures take little time', () => {
  const body = Buffer.from(JSON.stringify({ input: ';base64,"'.repeat(3_000_000) }))
  const scan = scanTopLevel(body, ESTIMATE_FIELDS)
  const since = performance.now()
  estimateOf(scan, 'chat')
  expect(performance.now() - since).toBeLessThan(5_000)
})

const BASE64 = Buffer.from(Array.from({ length: 300_000 }, (_, at) => (at * 7919) % 251)).toString('base64')
const withBreaks = BASE64.replaceAll(/.{76}/g, '$&\n')
const inMessage = (part: object) => ({
  messages: [{ role: 'user', content: [{ type: 'text', text: 'x' }, part] }],
})

test.each([
  { body: inMessage({ input_audio: { data: BASE64, format: 'wav' } }), because: 'it is sound' },
  { body: inMessage({ image_url: { url: BASE64 } }), because: 'it is a picture without `data:`' },
  { body: inMessage({ file: { file_data: BASE64, filename: 'a.pdf' } }), because: 'it is a file' },
  { body: { image: { b64_json: BASE64 } }, because: 'it is in no message' },
  { body: inMessage({ source: { data: withBreaks } }), because: 'it has line breaks' },
  {
    body: JSON.stringify(inMessage({ data: BASE64 })).replaceAll('/', '\\/'),
    because: 'its slashes are escaped',
  },
  { body: inMessage({ data: BASE64.replaceAll('+', '-').replaceAll('/', '_') }), because: 'it is base64url' },
  { body: { input: BASE64 }, because: 'it is all there is' },
])('a long run of base64 counts as one file, since $because', ({ body }) => {
  const tokens = estimate(body).inputTokens ?? 0
  expect(tokens).toBeGreaterThan(500)
  expect(tokens).toBeLessThan(3_000)
})

test('base64 within a text counts as a file, and the text as a text', () => {
  const text = 'some words of a text '.repeat(4_000)
  const tokens = estimate({ input: `${text} ![](data:image/png;base64,${BASE64}) ${text}` }).inputTokens ?? 0
  expect(tokens).toBeGreaterThan((2 * text.length) / 4 - 4_000)
  expect(tokens).toBeLessThan((2 * text.length) / 4 + 8_000)
})

test.each([
  { text: 'words of a text '.repeat(50_000), because: 'blanks stand between words' },
  { text: '中文没有空格也是文字'.repeat(10_000), because: 'it is no ASCII' },
  { text: '{"a":[1,2,{"b":null}]}'.repeat(10_000), because: 'it is JSON' },
  { text: 'f(x){return x*x;}'.repeat(10_000), because: 'it is code' },
  { text: '/usr/lib/a.so\n'.repeat(20_000), because: 'it is a list' },
])('a long text counts as text, since $because', ({ text }) => {
  const bytes = Buffer.byteLength(text)
  const tokens = estimate({ input: text }).inputTokens ?? 0
  expect(tokens).toBeGreaterThan(bytes / 4)
  expect(tokens).toBeLessThan(bytes / 3)
})

const escapedUnits = (text: string): string =>
  text.replaceAll(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)

test.each([
  '中文没有空格也是文字',
  'Größenänderung',
  'مرحبا بالعالم',
  '😀🎉🚀',
  'half 中文 half plain text, and on',
])('escapes count as the characters that they are: %s', (words) => {
  for (const times of [1, 20, 300, 20_000]) {
    const text = words.repeat(times)
    const plain = estimate(JSON.stringify({ input: text })).inputTokens ?? 0
    const escaped = estimate(escapedUnits(JSON.stringify({ input: text }))).inputTokens ?? 0
    // A long text is sampled.
    expect(Math.abs(escaped - plain)).toBeLessThanOrEqual(times > 20 ? plain / 10 : 1)
  }
})

test('a backslash that is escaped begins no escape', () => {
  const text = '\\u4e2d'.repeat(100)
  const plain = estimate({ input: text }).inputTokens
  expect(plain).toBe(Math.ceil(JSON.stringify({ input: text }).length / 4))
})
