import { describe, expect, test } from 'vitest'
import { bodyText, type Shape } from '../../bench/http/body.ts'
import { modelSpan } from '../../bench/http/model-span.ts'

/** The text with the value of its model replaced, as the bare proxy does it; undefined where it finds none. */
function written(text: string): string | undefined {
  const bytes = Buffer.from(text)
  const span = modelSpan(bytes)
  if (span === undefined) return undefined
  return `${bytes.subarray(0, span[0]).toString()}"m"${bytes.subarray(span[1]).toString()}`
}

describe('the model that the bare proxy writes', () => {
  test.each([
    ['is the object’s own', '{"a":{"model":"x"},"b":["model",{"model":"y"}],"model":"auto"}'],
    ['is found behind blanks', '{ "model" \n:\t "auto" , "n": 1 }'],
    ['is not the text that looks like it', '{"user":"\\"model\\":\\"x\\"","c":"\\\\","model":"auto"}'],
    ['is not a value of that name', '{"kind":"model","model":"auto"}'],
    [
      'is found behind a long text',
      JSON.stringify({ a: '\\"'.repeat(500), b: 'é'.repeat(99), model: 'auto' }),
    ],
    ['may hold a quote', '{"model":"an \\"auto\\" one","n":1}'],
  ])('%s', (_title, text) => {
    const expected = { ...(JSON.parse(text) as object), model: 'm' }
    expect(JSON.parse(written(text) ?? '')).toEqual(expected)
  })

  test.each(['{"n":1}', '{"model":7}', '["model","auto"]', '{"model":"au', '{"mod', ''])(
    'is none in %j',
    (text) => {
      expect(written(text)).toBeUndefined()
    },
  )
})

describe('a body of the load generator', () => {
  const textOf = (shape: Shape): string =>
    bodyText({ shape, bytes: 200_000, model: 'auto', answer: 'sse-paced' })

  test.each(['text', 'forty'] as const)('has its size within a message’s rounding (%s)', (shape) => {
    expect(Math.abs(textOf(shape).length - 200_000)).toBeLessThan(40)
  })

  test('is a conversation of forty messages of one size', () => {
    const { messages } = JSON.parse(textOf('forty')) as { messages: { role: string; content: string }[] }
    const [system, ...turns] = messages
    expect(turns.map(({ role }) => role).slice(0, 3)).toEqual(['user', 'assistant', 'user'])
    expect(new Set(turns.map(({ content }) => content.length)).size).toBe(1)
    expect([system?.role, messages.length]).toEqual(['system', 40])
  })

  test.each(['fields', 'fields-first'] as const)('has 20,000 fields of its own (%s)', (shape) => {
    const text = textOf(shape)
    expect(Object.keys(JSON.parse(text) as object).length).toBeGreaterThan(20_000)
    expect(text.indexOf('"model"') > text.indexOf('"f19999"')).toBe(shape === 'fields-first')
  })

  test.each(['text', 'forty', 'fields', 'fields-first'] as const)(
    'tells the upstream in its first message what to answer (%s)',
    (shape) => {
      const { messages } = JSON.parse(textOf(shape)) as { messages: { content: string }[] }
      expect(messages[0]?.content).toContain('sse-paced')
    },
  )
})
