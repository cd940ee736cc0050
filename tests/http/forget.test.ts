import { expect, test } from 'vitest'
import { ask, askBare, errorOf } from '../support/ask.ts'
import { answer, configOf, createTestApp, errorAnswer } from '../support/test-app.ts'

const settings = { strategy: 'in_order', queue_timeout: 0 }
/** Two upstreams of which the first refuses its key until it is mended. */
function bed() {
  let isMended = false
  const gateway = createTestApp(configOf(['groq.test', 'gemini.test'], { settings }), ({ host }) =>
    host === 'groq.test' && !isMended ? errorAnswer(401) : answer(host),
  )
  return { ...gateway, gateway, mend: () => (isMended = true) }
}
const forget = (gateway: Parameters<typeof ask>[0], body: unknown, headers = {}) =>
  ask(gateway, '/admin/forget', {
    headers,
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })

test('an upstream whose rest is ended is asked at once, and what rested is told', async () => {
  const { gateway, chat, hosts, mend, events } = bed()
  await chat()
  mend()
  await chat()
  expect(hosts()).toEqual(['groq.test', 'gemini.test', 'gemini.test'])
  const told = await forget(gateway, { upstream: 'groq.test' })
  expect([told.status, await told.json()]).toEqual([200, { upstream: 'groq.test', ended: ['key'] }])
  await chat()
  expect(hosts().at(-1)).toBe('groq.test')
  expect(events).toContainEqual(
    expect.objectContaining({
      level: 'info',
      message: 'upstream groq.test: its rest was ended by POST /admin/forget',
    }),
  )
})

test('one that does not rest is told as such, and the log has no word of it', async () => {
  const { gateway, events } = bed()
  const told = await forget(gateway, { upstream: 'gemini.test' })
  expect([told.status, await told.json()]).toEqual([200, { upstream: 'gemini.test', ended: [] }])
  expect(events.filter(({ kind }) => kind === 'notice')).toEqual([])
})

test('a request that waits for it is sent at once', async () => {
  const limited = [errorAnswer(429, 'x', { 'retry-after': '20' })]
  const gateway = createTestApp(
    configOf(['a.test'], { settings: { queue_timeout: 30 } }),
    () => limited.shift() ?? answer('a.test'),
  )
  const asked = gateway.chat()
  await gateway.clock.advance(1_000)
  expect(gateway.calls).toHaveLength(1)
  await forget(gateway, { upstream: 'a.test' })
  await gateway.clock.advance(1)
  expect((await asked).status).toBe(200)
})

test.each([
  { upstream: 'grok.test', hint: 'Did you mean groq.test?' },
  { upstream: 'TEST', hint: 'Did you mean groq.test, gemini.test?' },
  { upstream: 'nobody at all', hint: 'There are: groq.test, gemini.test.' },
  { upstream: '', hint: 'There are: groq.test, gemini.test.' },
])('$upstream is no upstream, and the near ones are named', async ({ upstream, hint }) => {
  const { gateway } = bed()
  const refused = await forget(gateway, { upstream })
  const { error } = (await refused.json()) as { error: { message: string; code: string } }
  expect([refused.status, error.code, error.message]).toEqual([
    404,
    'not_found',
    `There is no upstream ${JSON.stringify(upstream)}. ${hint}`,
  ])
})

test.each(['', 'null', '[]', '"groq"', '{"upstream": 3}', '{"upstream"'])(
  'the body %j is refused in words that say what is sent, and holds no memory',
  async (body) => {
    const { gateway } = bed()
    const refused = await forget(gateway, body)
    expect(refused.status).toBe(400)
    expect(await refused.text()).toContain('such as {\\"upstream\\": \\"groq\\"}')
    expect(gateway.memory.held).toBe(0)
  },
)

test('a body that is larger than any name is refused', async () => {
  const { gateway } = bed()
  const refused = await forget(gateway, { upstream: 'x'.repeat(70_000) })
  expect(refused.status).toBe(413)
  // Not the key of the configuration for other bodies, which would change nothing.
  expect((await errorOf(refused)).message).toBe('The body is larger than 65536 bytes.')
  expect(gateway.memory.held).toBe(0)
})

test('other methods are refused, and say which one is right', async () => {
  const { gateway } = bed()
  for (const method of ['GET', 'PUT', 'DELETE']) {
    const refused = await ask(gateway, '/admin/forget', { method })
    expect([refused.status, refused.headers.get('allow')]).toEqual([405, 'POST'])
  }
})

test('no page of another origin may ask it or read its answer, and nothing of it is cached', async () => {
  const { gateway } = bed()
  const headers = { origin: 'https://app.example', 'access-control-request-method': 'POST' }
  const answers = [
    await forget(gateway, { upstream: 'groq.test' }, headers),
    await forget(gateway, { upstream: 'nobody' }, headers),
    await askBare(gateway, '/admin/forget', { body: '{}', headers }),
    await ask(gateway, '/admin/forget', { headers }),
    await askBare(gateway, '/admin/forget', { method: 'OPTIONS', headers }),
  ]
  expect(answers.map(({ status }) => status)).toEqual([200, 404, 401, 405, 204])
  for (const { headers } of answers) {
    expect([...headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([])
    expect(headers.get('cache-control')).toBe('no-store')
  }
})
