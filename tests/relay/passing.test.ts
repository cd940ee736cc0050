import { expect, test } from 'vitest'
import { chunk, events, SSE, stagedBy } from '../support/played.ts'
import { configOf, createTestApp } from '../support/test-app.ts'
import { settle } from '../support/fake-clock.ts'

const one = configOf(['a.test'])

test('every byte arrives as it was sent, whatever the cuts, comments and line ends', async () => {
  const text = `: hello\r\n\r\n\r\n${events(chunk('grüße 🎉')).replaceAll('\n', '\r\n')}id: 1\n: x\n\n${events(chunk('ende', 'stop'), '[DONE]')}`
  const bytes = Buffer.from(text)
  for (const size of [1, 2, 3, 7, 1000]) {
    const cut = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
      bytes.subarray(at * size, (at + 1) * size),
    )
    const app = createTestApp(one, stagedBy({ 'a.test': { headers: SSE, body: cut } }))
    const response = await app.chat({ stream: true })
    expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).toBe(true)
    expect(app.requests()).toMatchObject([{ status: 200 }])
  }
})

test('the first event is held until its blank line, and every later byte passes at once', async () => {
  const [half, rest] = ['data: {"choices":[{"delta":{"content":"a"}}]}\n', '\n']
  const body = [half, 1000, rest, 1000, 'data: {"cho', 1000, 'ices":[]}\n\n', events(chunk('', 'stop'))]
  const app = createTestApp(one, stagedBy({ 'a.test': { headers: SSE, body } }))
  let response: Response | undefined
  void app.chat({ stream: true }).then((got) => (response = got))
  await app.clock.advance(999)
  expect(response).toBeUndefined()
  await app.clock.advance(1)
  const reader = response!.body!.getReader()
  const seen: string[] = []
  const read = async (): Promise<void> => {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      seen.push(Buffer.from(value).toString())
    }
  }
  const reading = read()
  await settle()
  expect(seen.join('')).toBe(half + rest)
  await app.clock.advance(1000)
  expect(seen.at(-1)).toBe('data: {"cho')
  await app.clock.advance(1000)
  await reading
})

test('a client that does not read stops the upstream', async () => {
  let pulls = 0
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        pulls += 1
        controller.enqueue(Buffer.from(events(chunk('x'))))
      },
    },
    { highWaterMark: 0 },
  )
  const app = createTestApp(one, () => ({ status: 200, headers: SSE, body }))
  const response = await app.chat({ stream: true })
  await settle()
  expect(pulls).toBeLessThanOrEqual(2)
  await response.body!.cancel()
  expect(app.inFlight()).toBe(0)
})
