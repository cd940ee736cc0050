import { answerTo, piecesOf } from './demo-answers.ts'
import type { Nature } from './demo-natures.ts'

/** A chat request as far as a pretend upstream cares. */
export interface Asked {
  readonly question: string
  readonly stream: boolean
  readonly includeUsage: boolean
  readonly inputTokens: number
  /** Words that may be answered. */
  readonly most: number
}

/** Reads a request; undefined when it is no JSON object with messages. */
export function parseAsked(text: string): Asked | undefined {
  const body = objectOf(text)
  if (body === undefined || !Array.isArray(body.messages)) return undefined
  const last = body.messages.findLast((message: unknown) => isRecord(message) && message.role === 'user')
  const most = body.max_completion_tokens ?? body.max_tokens
  return {
    question: textOf(isRecord(last) ? last.content : ''),
    stream: body.stream === true,
    includeUsage: isRecord(body.stream_options) && body.stream_options.include_usage === true,
    inputTokens: Math.ceil(text.length / 4),
    most: typeof most === 'number' && most > 0 ? most : Infinity,
  }
}

/** An answer, ready to be sent whole or in pieces. */
export interface Completion {
  /** The answer to a request without `stream`. */
  readonly whole: string
  /** The events of a stream before the first word, for each word, and after the last. */
  readonly opening: string
  readonly words: readonly string[]
  readonly closing: string
}

/** Writes an answer in OpenAI's format; `created` is in epoch seconds. */
export function completionOf(
  asked: Asked,
  nature: Nature,
  { id, created }: { id: string; created: number },
): Completion {
  const all = piecesOf(answerTo(asked.question, nature))
  const pieces = all.slice(0, asked.most)
  const finish_reason = pieces.length < all.length ? 'length' : 'stop'
  const usage = {
    prompt_tokens: asked.inputTokens,
    completion_tokens: pieces.length,
    total_tokens: asked.inputTokens + pieces.length,
  }
  const message = { role: 'assistant', content: pieces.join('') }
  const head = { id, created, model: nature.model }
  const event = (choices: readonly object[], more: object = {}): string =>
    `data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', choices, ...more })}\n\n`
  const chunk = (delta: object, finish: string | null = null): string =>
    event([{ index: 0, delta, finish_reason: finish }])
  return {
    whole: JSON.stringify({
      ...head,
      object: 'chat.completion',
      choices: [{ index: 0, message, finish_reason }],
      usage,
    }),
    opening: chunk({ role: 'assistant', content: '' }),
    words: pieces.map((content) => chunk({ content })),
    closing: `${chunk({}, finish_reason)}${asked.includeUsage ? event([], { usage }) : ''}data: [DONE]\n\n`,
  }
}

function objectOf(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isRecord(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** Content is a text or a list of parts. */
function textOf(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content
    .map((part: unknown) => (isRecord(part) && typeof part.text === 'string' ? part.text : ''))
    .join(' ')
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
