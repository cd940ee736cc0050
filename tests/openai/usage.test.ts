import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { usageOf } from '../../src/openai/usage.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const chat = '"usage":{"prompt_tokens":12,"completion_tokens":34,"total_tokens":46}'
const chatUsage = { input: 12, output: 34, total: 46 }

describe('usage is found in', () => {
  test.each([
    {
      form: 'a chat answer',
      text: `{"id":"a","choices":[{"message":{"content":"hi"}}],${chat},"x":1}`,
      usage: chatUsage,
    },
    {
      form: 'the last chunks of a chat stream',
      text: `data: {"choices":[{"delta":{"content":"a"}}],"usage":null}\n\ndata: {"choices":[],${chat}}\n\ndata: [DONE]\n\n`,
      usage: chatUsage,
    },
    {
      form: 'a Responses stream cut at its beginning',
      text: 'xt":"…"}]}],"usage":{"input_tokens":5,"input_tokens_details":{"cached_tokens":1},"output_tokens":7,"total_tokens":12},"user":null}}\n\n',
      usage: { input: 5, output: 7, total: 12 },
    },
    { form: 'x_groq', text: `data: {"choices":[],"x_groq":{"id":"req_1",${chat}}}\n\n`, usage: chatUsage },
    {
      form: 'an object with details, braces and quotes in strings',
      text: '{"usage":{"note":"} \\" {","prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":0},"total_tokens":1}}',
      usage: { input: 1, total: 1 },
    },
    {
      form: 'pretty-printed JSON',
      text: '{\n  "usage" : {\n    "prompt_tokens": 3,\n    "total_tokens": 3\n  }\n}',
      usage: { input: 3, total: 3 },
    },
    { form: 'the last of several', text: `{"usage":{"total_tokens":1}}\n{${chat}}`, usage: chatUsage },
    {
      form: 'an earlier one when the last says nothing',
      text: `{${chat}}\n{"usage":{"seconds":3}}\n{"usage":null}`,
      usage: chatUsage,
    },
    {
      form: 'an earlier one when the last is cut off',
      text: `{${chat}}\n{"usage":{"total_tokens":`,
      usage: chatUsage,
    },
    {
      form: 'an object with zeros',
      text: '{"usage":{"prompt_tokens":0,"total_tokens":0}}',
      usage: { input: 0, total: 0 },
    },
  ])('$form', ({ text, usage }) => {
    expect(usageOf(bytes(text))).toEqual(usage)
  })
})

test.each([
  ['', 'nothing'],
  ['{"choices":[]}', 'no usage'],
  ['{"usage":null}', 'null'],
  ['{"usage":"12"}', 'a text'],
  ['{"usage":[{"total_tokens":3}]}', 'a list'],
  ['{"type":"usage","total_tokens":3}', 'a value that reads so'],
  ['{"usage":{"seconds":12.5,"type":"duration"}}', 'other units'],
  ['{"content":"\\"usage\\":{\\"total_tokens\\":3}"}', 'a quotation'],
  [`{"usage":{"total_tokens":3,"filler":"${'x'.repeat(5_000)}"}}`, 'an object beyond the bound'],
  ['{"usage":{"total_tokens":3,}}', 'broken JSON'],
])('%s gives nothing: %s', (text) => {
  expect(usageOf(bytes(text))).toBeUndefined()
})

test.each(['-1', '1e10', '1e400', '-1e400', '1.5', '"7"', 'null', 'true', '{}'])(
  'a count of %s is as absent',
  (count) => {
    expect(usageOf(bytes(`{"usage":{"prompt_tokens":${count},"completion_tokens":8}}`))).toEqual({
      output: 8,
    })
    expect(usageOf(bytes(`{"usage":{"prompt_tokens":${count}}}`))).toBeUndefined()
  },
)

test('a large answer is read at its end and at its beginning', () => {
  const filler = JSON.stringify('字'.repeat(300_000))
  expect(usageOf(bytes(`{"data":${filler},${chat}}`))).toEqual(chatUsage)
  expect(usageOf(bytes(`{${chat},"data":${filler}}`))).toEqual(chatUsage)
  expect(usageOf(bytes(`{"data":${filler}}`))).toBeUndefined()
  expect(usageOf(bytes(`{${chat}}`))).toEqual(chatUsage)
})

test.each([
  ['keys', '"usage":{'],
  ['unclosed strings', '"usage":{"'],
  ['escapes', '"usage":{"\\"'],
  ['blanks behind keys', `"usage"${' '.repeat(30)}`],
  ['braces', '"usage":{{{{{{'],
])('1 MB of %s costs no time to speak of', (_, piece) => {
  const text = piece.repeat(Math.ceil(1_000_000 / piece.length))
  const quickest = Math.min(
    ...Array.from({ length: 5 }, () => {
      const start = performance.now()
      usageOf(bytes(text))
      return performance.now() - start
    }),
  )
  expect(quickest, 'a search that runs back takes seconds').toBeLessThan(500)
})

test('whatever the text, nothing throws and each count is a whole number from 0 to 1e9', () => {
  const pieces = fc.constantFrom(
    '"usage"',
    ':',
    '{',
    '}',
    '"',
    '\\',
    '"total_tokens"',
    '"prompt_tokens"',
    '1',
    '-',
    'e9',
    ',',
    'null',
    '[',
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(pieces, { maxLength: 40 }).map((list) => list.join('')),
      ),
      (text) => {
        for (const count of Object.values(usageOf(bytes(text)) ?? {})) {
          expect(Number.isInteger(count) && count >= 0 && count <= 1e9).toBe(true)
        }
      },
    ),
    { numRuns: 3_000 },
  )
})
