import { expect, test } from 'vitest'
import { events, JSON_TYPE, play, refusal, SSE, type Play } from '../support/played.ts'
import { configOf, createTestApp, type TestApp } from '../support/test-app.ts'

/** What one account made and encrypted, it alone can read again. */

const settings = { strategy: 'round_robin', queue_timeout: 0 }
const config = configOf(['a.test', 'b.test', 'c.test'], { settings })
const secretOf = (host: string): string => `${host.padEnd(100, 'x')}${'y'.repeat(200)}`
const item = (host: string): object => ({
  type: 'reasoning',
  id: 'rs_1',
  encrypted_content: secretOf(host),
  summary: [],
})

function upstreams(down: { host?: string; play?: Play } = {}): TestApp {
  return createTestApp(config, (request, signal, clock) => {
    const { host, text } = request
    if (host === down.host && down.play !== undefined) return play(down.play)(request, signal, clock)
    const foreign = ['a.test', 'b.test', 'c.test'].some(
      (other) => other !== host && text.includes(secretOf(other)),
    )
    if (foreign) return play(refusal(400, 'invalid_encrypted_content'))(request, signal, clock)
    const output = [item(host), { type: 'message' }]
    const whole = JSON.stringify({ id: `resp_${host}`, object: 'response', status: 'completed', output })
    const done = `event: response.completed\n${events({ type: 'response.completed', response: { output } })}`
    const answer: Play = text.includes('"stream":true')
      ? { headers: SSE, body: [done] }
      : { headers: JSON_TYPE, body: [whole] }
    return play(answer)(request, signal, clock)
  })
}

const ask = (app: TestApp, body: object): Promise<Response> => app.chat(body, { path: 'responses' })

test.each([false, true])('goes back to who made it from the first turn on (stream: %s)', async (stream) => {
  const app = upstreams()
  const made = await ask(app, { input: 'hi', stream })
  const owner = made.headers.get('x-aiload-upstream')!
  await made.text()
  for (let turn = 0; turn < 4; turn++) {
    const next = await ask(app, { input: [{ role: 'user', content: 'hi' }, item(owner)], stream })
    expect([next.status, next.headers.get('x-aiload-attempts')]).toEqual([200, '1'])
    expect(next.headers.get('x-aiload-upstream')).toBe(owner)
    await next.text()
  }
})

test('that nobody remembers is asked of all until its owner answers, and then it is remembered', async () => {
  const app = upstreams()
  const input = [item('c.test')]
  expect((await ask(app, { input })).headers.get('x-aiload-upstream')).toBe('c.test')
  const calls = app.calls.length
  await ask(app, { input })
  expect(app.calls).toHaveLength(calls + 1)
})

test('whose owner rests ends with its 429 and not with the words of others', async () => {
  const down: { host?: string; play?: Play } = {}
  const app = upstreams(down)
  const owner = (await ask(app, { input: 'hi' })).headers.get('x-aiload-upstream')!
  down.host = owner
  down.play = refusal(429, 'x', { 'retry-after': '30' })
  for (let turn = 0; turn < 2; turn++) {
    const response = await ask(app, { input: [item(owner)] })
    expect(response.status).toBe(429)
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(25)
  }
})
