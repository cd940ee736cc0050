import { describe, expect, test } from 'vitest'
import type { Lesson } from '../../src/pool/outcome.ts'
import { classifyStatus } from '../../src/vendors/classify.ts'

const lesson = (body: unknown, status = 400): Lesson | undefined => {
  const bytes = new TextEncoder().encode(JSON.stringify(body))
  return classifyStatus({ status, headers: {}, body: bytes, wallNow: 0 }).lesson
}
const said = (message: string, code: string | null = null) => ({ error: { message, code } })

describe('what a refusal teaches', () => {
  test.for<readonly [string, Lesson['about']]>([
    ['Tool use is not supported by this model', 'tools'],
    ['tools are disabled on this deployment', 'tools'],
    ['function calling is not enabled for this model', 'tools'],
    ['This model cannot use tools', 'tools'],
    ['Unknown parameter: tool_choice', 'tools'],
    ['该模型暂不支持工具调用', 'tools'],
    ['image inputs are not allowed', 'images'],
    ['This is a text-only model: image_url given', 'images'],
    ['gpt-x does not have vision', 'images'],
    ['Multimodal content is not supported', 'images'],
    ['input_audio is not supported', 'audio'],
    ['Audio is only available on other models', 'audio'],
    ['Structured outputs are not supported', 'json_schema'],
    ['json mode is unsupported here', 'json_schema'],
    ['Streaming is not supported for this model', 'stream'],
    ['流式输出不支持', 'stream'],
    ['stream_options is not supported', 'stream_usage'],
  ])('%j: %s', ([message, about]) => {
    expect(lesson(said(message))).toEqual({ about })
    expect(lesson(said(message), 422)).toEqual({ about })
  })

  test.for([
    'Image is too small',
    'Could not download the image from the given URL',
    'The image data is not a valid base64 string',
    "Invalid schema for function 'f': schema must be an object",
    'tool_calls must be followed by tool messages responding to each tool_call_id',
    'this model provisions nothing',
    'seed is not allowed here',
    'temperature is not supported with this model',
    'This model only supports streaming, set `stream` to true to use tools',
  ])('%j: nothing', (message) => {
    expect(lesson(said(message))).toBeUndefined()
  })

  test('the part of the request that is named counts as words', () => {
    expect(lesson({ error: { message: 'Not supported', param: 'response_format' } })).toEqual({
      about: 'json_schema',
    })
    expect(
      lesson({ detail: [{ type: 'extra_forbidden', loc: ['body', 'tools', 0], msg: 'no' }] }, 422),
    ).toEqual({ about: 'tools' })
  })

  test.for<readonly [string, number | undefined]>([
    ['prompt is too long: 208,544 tokens > 200,000 maximum', 200_000],
    ['This model supports a context length of 32_768 tokens', 32_768],
    ['Input token length must be less than or equal to 8192', 8_192],
    ['the prompt exceeds the maximum of 4096 tokens', 4_096],
    ['Too many tokens: 9000 > 8192', 8_192],
    ['context length exceeded', undefined],
    ['prompt too long; exceeded max context length by 412 tokens', undefined],
    ['输入长度超过上限 6000', 6_000],
  ])('%j names %s as the context', ([message, limit]) => {
    expect(lesson(said(message))).toEqual({ about: 'context', limit })
  })

  test.for<readonly [string, number | undefined]>([
    ['max_tokens must be less than or equal to `8192`', 8_192],
    ['max_completion_tokens cannot be greater than 4096', 4_096],
    ['max_output_tokens should not exceed 65,536', 65_536],
    ['max_tokens must be between 1 and 2048', 2_048],
    ['Range of max_tokens should be [1, 8192]', 8_192],
    ['max_tokens 超过上限 4096', 4_096],
    ['max_tokens is too large', undefined],
  ])('%j names %s as the output', ([message, limit]) => {
    expect(lesson(said(message))).toEqual({ about: 'output', limit })
  })

  test.for([
    'max_tokens must be at least 1',
    'max_tokens must be a positive integer',
    'max_tokens is not supported, use max_completion_tokens',
    'max_tokens must be greater than thinking.budget_tokens',
  ])('%j names no limit', (message) => {
    expect(
      classifyStatus({
        status: 400,
        headers: {},
        body: new TextEncoder().encode(JSON.stringify(said(message))),
        wallNow: 0,
      }).class,
    ).toBe('refused-body')
    expect(lesson(said(message))).toBeUndefined()
  })

  test('of a body in bytes is the size of the body', () => {
    expect(lesson(said('Payload too large'), 413)).toEqual({ about: 'body' })
    expect(lesson('', 413)).toEqual({ about: 'body' })
  })

  test('of credit, of a rate or of a key is nothing', () => {
    expect(
      lesson(said('Insufficient credits to use tools, which are not supported on free plans')),
    ).toBeUndefined()
    expect(lesson(said('Rate limit exceeded: images are not supported'))).toBeUndefined()
    expect(lesson(said('tools are not supported'), 401)).toBeUndefined()
    expect(lesson(said('tools are not supported'), 429)).toBeUndefined()
    expect(lesson(said('tools are not supported'), 500)).toBeUndefined()
  })
})
