import { expect, test } from 'vitest'
import { lengthOf } from '../../src/lib/bytes.ts'
import type { AffinityRule } from '../../src/pool/upstream.ts'
import { affinityKeyOf, answerIdsOf } from '../../src/openai/affinity-key.ts'
import { createBodyParser, estimateOf } from '../../src/openai/request.ts'

const body = JSON.stringify({
  model: 'auto',
  stream: true,
  user: 'someone',
  max_tokens: 123,
  conversation: { id: 'conv_1' },
  previous_response_id: 'resp_2',
  messages: [
    { role: 'system', content: 'Be brief. é😀' },
    {
      role: 'user',
      content: [{ type: 'image_url', image_url: { url: `data:image/png;base64,${'A'.repeat(5_000)}` } }],
    },
  ],
})
const rules: readonly AffinityRule[] = [{ kind: 'conversation' }, { kind: 'user' }]

/** All that is read of the body, when it comes in pieces of this size. */
function readIn(size: number): object {
  const bytes = Buffer.from(body)
  const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, nth) =>
    bytes.subarray(nth * size, (nth + 1) * size),
  )
  const parser = createBodyParser('application/json')
  for (const piece of pieces) parser.push(piece)
  const { model, stream, scan, withModel } = parser.end(pieces)
  return {
    model,
    stream,
    sent: Buffer.concat(withModel('other')).toString(),
    keys: rules.map((rule) =>
      affinityKeyOf({ rule, poolId: 'p', address: '', token: '', headers: {}, scan }),
    ),
    ids: answerIdsOf(scan),
    estimate: estimateOf(scan!, 'chat'),
  }
}

test.each([1, 7, 64, 1_000, 5_100])('a body in pieces of %i bytes reads like the whole', (size) => {
  expect(readIn(size)).toEqual(readIn(body.length))
  expect(readIn(size)).toMatchObject({ sent: body.replace('"auto"', '"other"'), ids: ['resp_2', 'conv_1'] })
})

test('a body in as many pieces as it has bytes is sent on, however long it is', () => {
  const bytes = Buffer.from(JSON.stringify({ model: 'auto', input: 'x'.repeat(1_000_000) }))
  const pieces = Array.from({ length: bytes.length }, (_, at) => bytes.subarray(at, at + 1))
  const parser = createBodyParser('application/json')
  for (const piece of pieces) parser.push(piece)
  expect(lengthOf(parser.end(pieces).withModel('other'))).toBe(bytes.length + 1)
})
