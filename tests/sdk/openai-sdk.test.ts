import OpenAI, {
  APIUserAbortError,
  AuthenticationError,
  BadRequestError,
  NotFoundError,
  RateLimitError,
} from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startAimock, type AimockProcess } from '../support/aimock-process.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'

/**
 * OpenAI's own client against a started gateway, with an upstream behind it that others wrote.
 */
let aimock: AimockProcess
let gateway: GatewayProcess
let client: OpenAI

const fixtures = [
  {
    match: { userMessage: 'tell me a story' },
    response: {
      content: 'Once upon a time there was a gateway that nobody noticed, and that was its whole art. ☕',
    },
  },
  {
    match: { toolName: 'get_weather' },
    response: { toolCalls: [{ name: 'get_weather', arguments: { location: 'San Francisco' } }] },
  },
  {
    match: { userMessage: 'refuse me' },
    response: {
      error: { message: 'No such parameter', type: 'invalid_request_error', code: 'bad_thing' },
      status: 400,
    },
  },
  {
    match: { userMessage: 'limit me' },
    response: {
      error: { message: 'Slow down', type: 'rate_limit_error', code: 'rate_limit_exceeded' },
      status: 429,
    },
  },
  { match: { userMessage: 'hello' }, response: { content: 'Hello! How can I help you today?' } },
]
const user = (content: string) => [{ role: 'user' as const, content }]

beforeAll(async () => {
  aimock = await startAimock(fixtures, ['-l', '20', '-c', '8'])
  gateway = await startGateway({
    models: [{ base_url: aimock.root, api_key: 'upstream-key', model: 'gpt-4o' }],
    settings: { queue_timeout: 0 },
  })
  client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: gateway.token, maxRetries: 0 })
})

afterAll(async () => {
  await gateway.stop()
  aimock.stop()
})

describe('the OpenAI SDK through the gateway', () => {
  test('a chat is answered, by the model that the upstream has', async () => {
    const { data, response, request_id } = await client.chat.completions
      .create({ model: 'auto', messages: user('hello') })
      .withResponse()
    expect(data.choices[0]?.message.content).toBe('Hello! How can I help you today?')
    expect(data.usage?.total_tokens).toBeGreaterThan(0)
    expect(response.headers.get('x-model')).toBe('gpt-4o')
    expect(request_id).toBe(response.headers.get('x-request-id'))
    const seen = (await aimock.journal()).findLast(({ path }) => path.includes('chat/completions'))
    expect(seen?.body?.['model']).toBe('gpt-4o')
  })

  test('a stream arrives in pieces, whole and in order', async () => {
    const stream = await client.chat.completions.create({
      model: 'auto',
      messages: user('tell me a story'),
      stream: true,
    })
    const pieces: string[] = []
    let finish: string | null = null
    for await (const chunk of stream) {
      const choice = chunk.choices[0]
      if (choice?.delta.content) pieces.push(choice.delta.content)
      finish = choice?.finish_reason ?? finish
    }
    expect(pieces.length).toBeGreaterThan(5)
    expect(pieces.join('')).toBe(
      'Once upon a time there was a gateway that nobody noticed, and that was its whole art. ☕',
    )
    expect(finish).toBe('stop')
  })

  test('a tool call comes back as the upstream made it, streamed or not', async () => {
    const ask = {
      model: 'auto',
      messages: user('what is the weather in San Francisco?'),
      tools: [
        {
          type: 'function' as const,
          function: {
            name: 'get_weather',
            parameters: { type: 'object', properties: { location: { type: 'string' } } },
          },
        },
      ],
    }
    const whole = await client.chat.completions.create(ask)
    const call = whole.choices[0]?.message.tool_calls?.[0]
    expect(call?.type === 'function' && JSON.parse(call.function.arguments)).toEqual({
      location: 'San Francisco',
    })
    const streamed = await client.chat.completions.stream(ask).finalChatCompletion()
    const streamedCall = streamed.choices[0]?.message.tool_calls?.[0]
    expect(streamedCall?.type === 'function' && streamedCall.function.name).toBe('get_weather')
  })

  test('embeddings are numbers', async () => {
    const { data } = await client.embeddings.create({ model: 'auto', input: 'some text' })
    expect(data[0]?.embedding.length).toBeGreaterThan(10)
    expect(typeof data[0]?.embedding[0]).toBe('number')
  })

  test('models are listed and found, also by a name with a slash', async () => {
    const names: string[] = []
    for await (const model of client.models.list()) names.push(model.id)
    expect(names).toEqual(['auto', 'gpt-4o'])
    expect((await client.models.retrieve('gpt-4o')).object).toBe('model')
    await expect(client.models.retrieve('org/unknown')).rejects.toBeInstanceOf(NotFoundError)
  })

  test('a wrong token raises AuthenticationError', async () => {
    const stranger = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: 'sk-wrong', maxRetries: 0 })
    const failed = await stranger.chat.completions
      .create({ model: 'auto', messages: user('hello') })
      .catch((error: unknown) => error)
    expect(failed).toBeInstanceOf(AuthenticationError)
    expect(failed).toMatchObject({ status: 401, code: 'invalid_api_key' })
  })

  test("the client's own fault raises BadRequestError with the upstream's words", async () => {
    const failed = await client.chat.completions
      .create({ model: 'auto', messages: user('refuse me') })
      .catch((error: unknown) => error)
    expect(failed).toBeInstanceOf(BadRequestError)
    expect(failed).toMatchObject({ status: 400, code: 'bad_thing' })
    expect((failed as Error).message).toContain('No such parameter')
  })

  test('an unknown model raises NotFoundError that lists the names', async () => {
    const failed = await client.chat.completions
      .create({ model: 'gpt-99', messages: user('hello') })
      .catch((error: unknown) => error)
    expect(failed).toBeInstanceOf(NotFoundError)
    expect((failed as Error).message).toContain('gpt-4o')
  })

  test('an abort in the middle of a stream ends it, and the gateway goes on', async () => {
    const stream = await client.chat.completions.create({
      model: 'auto',
      messages: user('tell me a story'),
      stream: true,
    })
    let pieces = 0
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta.content && ++pieces === 2) stream.controller.abort()
    }
    // What has already been read with the second piece is still handed out.
    expect(pieces).toBeGreaterThanOrEqual(2)
    await gateway.printed(/"status":499/)
    expect(
      (await client.chat.completions.create({ model: 'auto', messages: user('hello') })).choices,
    ).toHaveLength(1)
  })

  test('an abort before the first byte raises APIUserAbortError', async () => {
    const controller = new AbortController()
    const asked = client.chat.completions.create(
      { model: 'auto', messages: user('hello') },
      { signal: controller.signal },
    )
    controller.abort()
    await expect(asked).rejects.toBeInstanceOf(APIUserAbortError)
  })

  test('a limit that nobody can answer for raises RateLimitError with the time to wait', async () => {
    const failed = await client.chat.completions
      .create({ model: 'auto', messages: user('limit me') })
      .catch((error: unknown) => error)
    expect(failed).toBeInstanceOf(RateLimitError)
    const { headers } = failed as RateLimitError
    expect(Number(headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
    expect(Number(headers.get('retry-after-ms'))).toBeGreaterThan(0)
  })
})
