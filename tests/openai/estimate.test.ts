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
