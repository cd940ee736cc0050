import { expect, test } from 'vitest'
import {
  answerTo,
  completionOf,
  profiles,
  parseChatRequest,
  piecesOf,
} from '../../../src/cli/demo/upstream.ts'

const [nature] = profiles
const asked = (body: object) =>
  parseChatRequest(JSON.stringify({ messages: [{ role: 'user', content: 'Hello' }], ...body }))

test.each(['', 'x', '[]', 'null', '{}', '{"messages":"x"}'])('%j is no request', (text) => {
  expect(parseChatRequest(text)).toBeUndefined()
})

test('the question is the last thing that the user said, in parts too', () => {
  const messages = [
    { role: 'user', content: 'first' },
    { role: 'user', content: [{ type: 'text', text: 'second' }, { type: 'image_url' }] },
    { role: 'assistant', content: 'third' },
  ]
  expect(asked({ messages })?.question.trim()).toBe('second')
})

test('max_tokens cuts the answer, and says so', () => {
  const completion = completionOf(asked({ max_tokens: 3 })!, nature!, { id: 'c', created: 1 })
  const whole = JSON.parse(completion.whole) as {
    choices: { message: { content: string }; finish_reason: string }[]
    usage: object
  }
  expect(whole.choices[0]).toMatchObject({ finish_reason: 'length', message: { content: 'This is the' } })
  expect(whole.usage).toMatchObject({ completion_tokens: 3 })
  expect(completion.words).toHaveLength(3)
})

test('every question has an answer that says who wrote it, and its pieces are the whole text', () => {
  for (const nature of profiles) {
    for (const question of ['', 'Hi!', 'rate limits?', 'What is the meaning of life?', '你好']) {
      const text = answerTo(question, nature)
      expect(text.startsWith(`This is the ${nature.name} upstream`)).toBe(true)
      expect(text.length).toBeGreaterThan(nature.introduction.length + 20)
      expect(piecesOf(text).join('')).toBe(text)
    }
  }
})
