import { expect, test } from 'vitest'
import { chatAnswer, play, refusal, stagedBy, type Play } from '../support/played.ts'
import { configOf, createTestApp } from '../support/test-app.ts'

const settings = { strategy: 'in_order', queue_timeout: 0, timeout: 10 }
const two = configOf(['a.test', 'b.test'], { settings })

test('when all cool for failures, the one whose cooldown ends soonest is tried', async () => {
  const long = refusal(503, 'x', { 'retry-after': '50' })
  const short = refusal(503, 'x', { 'retry-after': '20' })
  const app = createTestApp(
    two,
    stagedBy({ 'a.test': [long, chatAnswer()], 'b.test': [short, chatAnswer()] }),
  )
  expect((await app.chat()).status).toBe(503)
  await app.clock.advance(1_000)
  expect((await app.chat()).headers.get('x-aiload-upstream')).toBe('b.test')
})

test('a passive failure never refuses service: every request is tried somewhere', async () => {
  const app = createTestApp(two, play(refusal(500)))
  for (let sent = 0; sent < 5; sent++) expect((await app.chat()).status).toBe(502)
  expect(app.calls.length).toBeGreaterThanOrEqual(10)
})

test('some at their limit, some failing: the failing one is tried', async () => {
  const limited = refusal(429, 'x', { 'retry-after': '30' })
  const app = createTestApp(two, stagedBy({ 'a.test': limited, 'b.test': [refusal(500), chatAnswer()] }))
  expect((await app.chat()).status).toBe(429)
  expect((await app.chat()).headers.get('x-aiload-upstream')).toBe('b.test')
  expect(app.hosts()).toEqual(['a.test', 'b.test', 'b.test'])
})

test.each([401, 402, 403, 404])('what rests for %s is tried at most once in 10 s', async (status) => {
  const app = createTestApp(two, play(refusal(status)))
  await app.chat()
  expect(app.calls).toHaveLength(2)
  await app.clock.advance(11_000)
  const first = await app.chat()
  expect(first.headers.has('x-aiload-upstream')).toBe(false)
  const after = app.calls.length
  expect(after).toBe(4)
  for (let sent = 0; sent < 20; sent++) {
    const response = await app.chat()
    expect(response.status).toBe({ 402: 429, 404: 404 }[status] ?? 502)
  }
  expect(app.calls.length).toBe(after)
  await app.clock.advance(10_000)
  await app.chat()
  expect(app.calls.length).toBe(after + 2)
})

test('a key that works again is found by such a try', async () => {
  const mended: Play[] = [refusal(401), chatAnswer()]
  const app = createTestApp(configOf(['a.test'], { settings }), stagedBy({ 'a.test': mended }))
  await app.chat()
  await app.clock.advance(11_000)
  expect((await app.chat()).status).toBe(200)
  expect((await app.chat()).status).toBe(200)
})

test('all at their limit: no upstream is called', async () => {
  const app = createTestApp(two, play(refusal(429, 'x', { 'retry-after': '30' })))
  await app.chat()
  for (let sent = 0; sent < 5; sent++) expect((await app.chat()).status).toBe(429)
  expect(app.calls).toHaveLength(2)
})

test('an upstream that is down costs about one probe a cooldown, and no client an error', async () => {
  const three = configOf(['a.test', 'b.test', 'c.test'], { settings })
  const app = createTestApp(three, (request, signal, clock) =>
    play(request.host === 'a.test' ? refusal(500) : chatAnswer())(request, signal, clock),
  )
  for (let second = 0; second < 120; second++) {
    for (let sent = 0; sent < 5; sent++) expect((await app.chat()).status).toBe(200)
    await app.clock.advance(1_000)
  }
  const probes = app.hosts().filter((host) => host === 'a.test').length
  // 1 + 2 + 4 + … + 60 s: seven or eight cooldowns in two minutes.
  expect(probes).toBeGreaterThanOrEqual(5)
  expect(probes).toBeLessThanOrEqual(9)
})

test('while one probes, the others take other candidates', async () => {
  const slow: Play = { afterMs: 5_000, ...chatAnswer() }
  const app = createTestApp(
    two,
    stagedBy({ 'a.test': [refusal(500), slow, chatAnswer()], 'b.test': chatAnswer() }),
  )
  await app.chat()
  await app.clock.advance(2_000)
  const probe = app.chat()
  const others = await Promise.all([app.chat(), app.chat(), app.chat()])
  expect(others.map(({ headers }) => headers.get('x-aiload-upstream'))).toEqual([
    'b.test',
    'b.test',
    'b.test',
  ])
  await app.clock.advance(5_000)
  expect((await probe).headers.get('x-aiload-upstream')).toBe('a.test')
  expect((await app.chat()).headers.get('x-aiload-upstream')).toBe('a.test')
})

test('a request that has nobody but a probed one is sent all the same after a failure', async () => {
  const slow: Play = { afterMs: 5_000, ...chatAnswer() }
  const app = createTestApp(
    configOf(['a.test'], { settings }),
    stagedBy({ 'a.test': [refusal(500), slow, chatAnswer()] }),
  )
  await app.chat()
  await app.clock.advance(2_000)
  const probe = app.chat()
  expect((await app.chat()).status).toBe(200)
  await app.clock.advance(5_000)
  expect((await probe).status).toBe(200)
})
