import type { Scene } from './scripted-upstream.ts'
import { answer, type Answer } from './scripted-scenes.ts'

/** A chat completion as a vendor sends it. */
export function completion(content = 'Hello'): string {
  return JSON.stringify({
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 1_700_000_000,
    model: 'm',
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 },
  })
}

/** One event of a streamed completion. */
export function chunkEvent(content: string): string {
  const chunk = {
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    choices: [{ index: 0, delta: { content }, finish_reason: null }],
  }
  return `data: ${JSON.stringify(chunk)}\n\n`
}

/** The last events of a streamed completion. */
export const streamEnd =
  'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'

/** An OpenAI error envelope. */
export function errorBody(code: string, message = `said ${code}`): string {
  return JSON.stringify({ error: { message, type: 'some_type', param: null, code } })
}

/** An event stream; the rest as in any answer. */
export function events(body: NonNullable<Answer['body']>, more: Answer = {}): Scene {
  return answer({
    framing: 'chunked',
    ...more,
    headers: { 'content-type': 'text/event-stream', ...more.headers },
    body,
  })
}

/** An upstream in good health: answers at once, streamed where that was asked for. */
export function healthy(content = 'Hello'): Scene {
  const whole = answer({ body: completion(content) })
  const streamed = events([chunkEvent(content), streamEnd])
  return (exchange) => (isStreamAsked(exchange.request.body) ? streamed : whole)(exchange)
}

/** Whether a request asks for a stream. */
export function isStreamAsked(body: Uint8Array): boolean {
  return /"stream":\s*true/.test(Buffer.from(body).toString())
}

/** The parts of a request that ask this. */
export function question(prompt: string): { readonly messages: readonly object[] } {
  return { messages: [{ role: 'user', content: prompt }] }
}

/** What a request of `question` asks. */
export function promptOf(body: Uint8Array): string {
  const { messages } = JSON.parse(Buffer.from(body).toString()) as { messages: { content: string }[] }
  return messages.at(-1)?.content ?? ''
}

/** Answers each request with the prompt that it asks, streamed where that was asked for. */
export function echoing(): Scene {
  return (exchange) => healthy(promptOf(exchange.request.body))(exchange)
}
