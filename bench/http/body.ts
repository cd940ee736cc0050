/** The bodies that the load generator sends. */

/**
 * `text`: two messages, the second of which fills it; `forty`: a conversation of forty messages of one size;
 * `fields`: 20,000 short fields behind the model; `fields-first`: the same before it.
 */
export type Shape = 'text' | 'forty' | 'fields' | 'fields-first'

/** What a body says. */
export interface BodyParts {
  readonly shape: Shape
  /** Size to be reached, bytes; the fields have their own. */
  readonly bytes: number
  readonly model: string
  /** Told to the upstream in the first message, which every gateway hands on. */
  readonly answer: string
}

const FIELDS = 20_000
const TURNS = 40
const SENTENCE = 'Tell me more about it. '
const filler = (length: number): string => SENTENCE.repeat(length / SENTENCE.length + 1).slice(0, length)

/** JSON in ASCII, so its length is its size. */
export function bodyText({ shape, bytes, model, answer }: BodyParts): string {
  const system = { role: 'system', content: `You are a helpful assistant. ${answer}` }
  const stream = answer.startsWith('sse')
  const body = { model, user: '', temperature: 0.7, max_tokens: 256, stream }
  const fields = Object.fromEntries(Array.from({ length: FIELDS }, (_, nth) => [`f${nth}`, 1]))
  const question = { role: 'user', content: filler(bytes) }
  if (shape === 'fields') return JSON.stringify({ ...body, ...fields, messages: [system, question] })
  if (shape === 'fields-first') return JSON.stringify({ ...fields, ...body, messages: [system, question] })
  const turns = shape === 'forty' ? TURNS - 1 : 1
  const withTurns = (length: number): string => {
    const messages = Array.from({ length: turns }, (_, nth) => ({
      role: nth % 2 === 0 ? 'user' : 'assistant',
      content: filler(length),
    }))
    return JSON.stringify({ ...body, messages: [system, ...messages] })
  }
  return withTurns(Math.max(0, Math.floor((bytes - withTurns(0).length) / turns)))
}
