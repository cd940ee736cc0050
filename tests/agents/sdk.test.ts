import OpenAI from 'openai'
import type { FunctionTool, ResponseInput } from 'openai/resources/responses/responses'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { LAST_WORD } from './model.ts'
import { ALL, sicknesses, startSickPool, TURNS_FOR_ALL, type SickPool } from './sick-pool.ts'

/** One turn of an agent that is written with OpenAI's SDK: the model calls a tool and has its last word. */
type Agent = (client: OpenAI, model: string) => Promise<Done>

interface Done {
  readonly said: string | null
  /** What the tool was called with. */
  readonly cities: readonly unknown[]
}

const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }
const QUESTION = 'What is the weather in Bern?'

const agents: Readonly<Record<string, Agent>> = {
  'a whole chat': (client, model) => runChat(client, model, false),
  'a streamed chat': (client, model) => runChat(client, model, true),
  'whole responses': (client, model) => runResponses(client, model, false),
  'streamed responses': (client, model) => runResponses(client, model, true),
}

async function runChat(client: OpenAI, model: string, stream: boolean): Promise<Done> {
  const cities: unknown[] = []
  const weather = {
    type: 'function' as const,
    function: {
      name: 'get_weather',
      description: 'The weather of a city.',
      parameters,
      parse: JSON.parse as (text: string) => { city: string },
      function: ({ city }: { city: string }) => {
        cities.push(city)
        return '21 degrees'
      },
    },
  }
  const body = { model, messages: [{ role: 'user' as const, content: QUESTION }], tools: [weather] }
  const runner = stream
    ? client.chat.completions.runTools({ ...body, stream })
    : client.chat.completions.runTools(body)
  return { said: await runner.finalContent(), cities }
}

async function runResponses(client: OpenAI, model: string, stream: boolean): Promise<Done> {
  const weather: FunctionTool = { type: 'function', name: 'get_weather', parameters, strict: false }
  const input: ResponseInput = [{ role: 'user', content: QUESTION }]
  const cities: unknown[] = []
  for (;;) {
    const body = { model, input, tools: [weather] }
    const response = stream
      ? await client.responses.stream(body).finalResponse()
      : await client.responses.create(body)
    const before = cities.length
    for (const item of response.output) {
      if (item.type !== 'function_call') continue
      const { call_id: callId, name, arguments: text } = item
      cities.push((JSON.parse(text) as { city: unknown }).city)
      input.push({ type: 'function_call', call_id: callId, name, arguments: text })
      input.push({ type: 'function_call_output', call_id: callId, output: '21 degrees' })
    }
    if (cities.length === before) return { said: response.output_text, cities }
  }
}

const TURN: Done = { said: LAST_WORD, cities: ['Bern'] }
const clientOf = ({ gateway }: SickPool): OpenAI =>
  new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: gateway.token, maxRetries: 0 })

describe.each(Object.entries(agents))("an agent with OpenAI's SDK, %s", (_name, run) => {
  let pool: SickPool
  beforeAll(async () => {
    pool = await startSickPool('in_order')
  })
  afterAll(() => pool.close())

  test.each(Object.keys(sicknesses))('ends its turn well beside an upstream with %s', async (sickness) => {
    expect(await run(clientOf(pool), pool.pairOf(sickness))).toEqual(TURN)
    expect(pool.askedOf(sickness), 'the sick one is asked first').toBeGreaterThan(0)
  })
})

test.each(Object.entries(agents))(
  "an agent with OpenAI's SDK ends every turn well over a pool of which half are sick, %s",
  async (_name, run) => {
    const pool = await startSickPool('round_robin')
    try {
      const turns: unknown[] = []
      for (let nth = 0; nth < TURNS_FOR_ALL; nth++)
        turns.push(await run(clientOf(pool), ALL).catch((error: unknown) => String(error)))
      expect(turns).toEqual(turns.map(() => TURN))
    } finally {
      await pool.close()
    }
  },
)
