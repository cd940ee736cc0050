import { readFileSync } from 'node:fs'
import { afterAll, expect, test } from 'vitest'
import { startGateway, testToken } from '../../support/gateway-process.ts'
import { answer, createGate } from '../../support/scripted-scenes.ts'
import { startScriptedUpstream, type Scene, type ScriptedUpstream } from '../../support/scripted-upstream.ts'
import { closeBrowser, openPage, overflowOf, violationsOf } from '../browser.ts'

/** The page with a real gateway behind it, as a process of its own, and upstreams that are scripted. */

afterAll(closeBrowser)

const completion = (content: string): string =>
  JSON.stringify({
    id: 'c1',
    object: 'chat.completion',
    model: 'm',
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 },
  })

const event = (content: string): string =>
  `data: ${JSON.stringify({ id: 'c1', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content } }] })}\n\n`

const good: Scene = answer({ body: completion('Hello from the scripted upstream.') })
const refused: Scene = answer({
  status: 429,
  headers: { 'retry-after': '600' },
  body: '{"error":{"message":"slow down","code":"rate_limit_exceeded"}}',
})

const entryOf = (upstream: ScriptedUpstream, name: string, more: object = {}): object => ({
  base_url: `${upstream.url}/v1`,
  api_key: `sk-of-the-upstream-${name}`,
  model: `model-${name}`,
  name,
  ...more,
})
const inOrder = { strategy: 'in_order', affinity: 'off' }

async function bed(scenes: Readonly<Record<string, Scene>>, more: { server?: object; models?: object } = {}) {
  const upstreams = await Promise.all(
    Object.entries(scenes).map(async ([name, scene]) => [name, await startScriptedUpstream(scene)] as const),
  )
  const models = upstreams.map(([name, upstream]) => entryOf(upstream, name, more.models))
  const gateway = await startGateway({ models, settings: inOrder, server: more.server ?? {} })
  return { gateway, upstreams: new Map(upstreams) }
}

test('the page comes packed, with its policy, and once for each version', async () => {
  const { gateway } = await bed({ alpha: good })
  const first = await fetch(gateway.url, { headers: { 'accept-encoding': 'gzip' } })
  expect(first.headers.get('content-encoding')).toBe('gzip')
  expect(first.headers.get('content-security-policy')).toMatch(
    /^default-src 'none'; script-src 'sha256-.*frame-ancestors 'none'$/,
  )
  const etag = first.headers.get('etag') ?? ''
  const again = await fetch(gateway.url, { headers: { 'if-none-match': etag } })
  expect([again.status, await again.text()]).toEqual([304, ''])
})

test('a wrong token is told, the right one shows the upstreams', async () => {
  const { gateway } = await bed({ alpha: good })
  const { page, signIn } = await openPage(gateway.url, { statuses: [401] })
  await page.locator('#token').fill('sk-wrong')
  await page.keyboard.press('Enter')
  await page.getByRole('alert').getByText('This token is wrong.').waitFor()
  await signIn(gateway.token)
  const row = page.getByRole('listitem', { name: 'alpha' })
  expect(await row.innerText()).toContain('model-alpha')
  expect(await page.locator('body').innerText()).not.toContain('sk-of-the-upstream')
})

test('numbers move while requests are sent', async () => {
  const { gateway } = await bed({ alpha: good }, { models: { limits: { rpm: 100 } } })
  const { page, signIn } = await openPage(gateway.url)
  await signIn(gateway.token)
  const row = page.getByRole('listitem', { name: 'alpha' })
  await row.getByText('not asked yet').first().waitFor()
  for (let sent = 0; sent < 7; sent += 1) expect((await gateway.chat()).status).toBe(200)
  await row.getByText('works').first().waitFor()
  await row.getByText('7 used, 93 of 100 left').waitFor()
  await page.locator('.figures dd').first().getByText('7', { exact: true }).waitFor()
  expect(await row.locator('.ticks').getAttribute('aria-label')).toContain('7 answered, 0 failed')
  await gateway.chat()
  await row.getByText('8 used, 92 of 100 left').waitFor()
})

test('an upstream that rests says why and until when, and its rest is ended by a button', async () => {
  let isRefusing = true
  const { gateway } = await bed({ alpha: (exchange) => (isRefusing ? refused : good)(exchange), beta: good })
  expect((await gateway.chat()).status).toBe(200)
  const { page, signIn } = await openPage(gateway.url)
  await signIn(gateway.token)
  const row = page.getByRole('listitem', { name: 'alpha' })
  await row
    .getByText(/^rate-limited.*until \d\d:\d\d/)
    .first()
    .waitFor()
  isRefusing = false
  await row.getByRole('button', { name: 'Forget cooldown' }).click()
  await row.getByRole('button', { name: 'Forget cooldown' }).waitFor({ state: 'detached' })
  expect((await gateway.chat()).headers.get('x-aiload-upstream')).toBe('alpha')
})

test('a paused upstream gets no request until it is resumed', async () => {
  const { gateway } = await bed({ alpha: good, beta: good })
  const { page, signIn } = await openPage(gateway.url)
  await signIn(gateway.token)
  const row = page.getByRole('listitem', { name: 'alpha' })
  await row.getByRole('button', { name: 'Pause' }).click()
  await row.getByRole('button', { name: 'Resume' }).waitFor()
  expect(await row.locator('.sentence').innerText()).toMatch(/^paused/)
  expect((await gateway.chat()).headers.get('x-aiload-upstream')).toBe('beta')
  await row.getByRole('button', { name: 'Resume' }).click()
  await row.getByRole('button', { name: 'Pause' }).waitFor()
  expect((await gateway.chat()).headers.get('x-aiload-upstream')).toBe('alpha')
})

test('a test asks that upstream alone', async () => {
  const { gateway, upstreams } = await bed({
    alpha: good,
    beta: answer({ status: 500, body: '{"error":{"message":"broken"}}' }),
  })
  const { page, signIn } = await openPage(gateway.url)
  await signIn(gateway.token)
  await page.getByRole('listitem', { name: 'beta' }).getByRole('button', { name: 'Test' }).click()
  await page
    .getByRole('listitem', { name: 'beta' })
    .getByText(/^Test failed: status 500/)
    .waitFor()
  await page.getByRole('listitem', { name: 'alpha' }).getByRole('button', { name: 'Test' }).click()
  await page
    .getByRole('listitem', { name: 'alpha' })
    .getByText(/^Test answered 200 after/)
    .waitFor()
  expect([...upstreams.values()].map(({ requests }) => requests.length)).toEqual([1, 1])
})

test('the playground streams, says who answered, and is stopped', async () => {
  const gate = createGate()
  const headers = { 'content-type': 'text/event-stream' }
  const streaming = answer({
    headers,
    body: [event('Hel'), event('lo '), gate.opened, event('again'), 'data: [DONE]\n\n'],
  })
  const endless = answer({ headers, body: [event('First words'), new Promise(() => {})] })
  let asked = 0
  const { gateway, upstreams } = await bed({
    alpha: refused,
    beta: (exchange) => (asked++ === 0 ? streaming : endless)(exchange),
  })
  const { page, signIn, show } = await openPage(gateway.url)
  await signIn(gateway.token)
  await show('playground')
  expect(await page.getByLabel('Model').inputValue()).toBe('auto')
  await page.getByLabel('Prompt').fill('Say hello')
  await page.getByRole('button', { name: 'Send' }).click()
  await page.locator('.answer').getByText('Hello', { exact: false }).waitFor()
  expect(await page.locator('.answer').innerText()).not.toContain('again')
  gate.open()
  await page.locator('.answer').getByText('Hello again').waitFor()
  const facts = page.locator('.facts')
  await facts.getByText('Total').waitFor()
  expect(await facts.innerText()).toMatch(/Answered by\s+beta\s+Attempts\s+2\s+Status\s+200/)

  await page.getByRole('button', { name: 'Send' }).click()
  await page.locator('.answer').getByText('First words').waitFor()
  await page.getByRole('button', { name: 'Stop' }).click()
  await page.locator('.answer').getByText('Stopped.').waitFor()
  const second = await upstreams.get('beta')?.request(2)
  await expect.poll(() => second?.aborted, { timeout: 10_000 }).toBe(true)
})

test('the playground tells an error of the gateway in its words', async () => {
  const { gateway } = await bed({ alpha: refused })
  const { page, signIn, show } = await openPage(gateway.url, { statuses: [429] })
  await signIn(gateway.token)
  await show('playground')
  await page.getByLabel('Stream').uncheck()
  await page.getByRole('button', { name: 'Send' }).click()
  await page.locator('.answer .bad').waitFor()
  expect(await page.locator('.facts').innerText()).toMatch(/Status\s+429/)
})

test('an upstream is added by its preset, and one is changed with a mistake that is told at its field', async () => {
  const { gateway } = await bed({ alpha: good }, { server: { admin: 'write' } })
  const { page, signIn, show } = await openPage(gateway.url, { statuses: [422] })
  await signIn(gateway.token)
  await show('configuration')
  await page.getByRole('button', { name: 'Add a vendor' }).click()
  const form = page.getByRole('form', { name: 'New upstream' })
  await form.getByLabel('Vendor').selectOption('Groq')
  await form.getByLabel('Keys').fill('gsk_0123456789abcdefghij')
  await form.getByLabel('Name').fill('my groq')
  await form.getByRole('button', { name: 'Save' }).click()
  await page.locator('.entries').getByText('my groq').waitFor()
  const { upstreams } = (await (await gateway.fetch('/admin/status')).json()) as {
    upstreams: { host: string }[]
  }
  expect(upstreams.map(({ host }) => host)).toContain('api.groq.com')
  expect(await page.locator('body').innerText()).not.toContain('0123456789')

  await page.getByRole('group', { name: 'alpha' }).getByRole('button', { name: 'Change' }).click()
  await page.getByLabel('Weight').fill('-1')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.locator('#entry-weight-hint.bad').waitFor()
  await page.getByLabel('Weight').fill('3')
  await page.getByRole('button', { name: 'Save' }).click()
  await page
    .locator('.entries')
    .getByText(/weight 3/)
    .waitFor()
  expect((await gateway.chat()).headers.get('x-aiload-upstream')).toBe('alpha')
})

/** A file as people write it, for two upstreams. */
const commented = (models: readonly object[]): string => `{
  // of the tests
  "auth_token": "${testToken}",
  "server": { "host": "127.0.0.1", "port": 0, "admin": "write" },
  "models": ${JSON.stringify(models)}, // both of them
  "settings": {
    "strategy": "in_order", // the first one, while it may
    "affinity": "off"
  }
}
`

test('the strategy is changed by the keyboard: the file keeps its comments, the next requests follow it, a mistake is told at its field', async () => {
  const upstreams = [await startScriptedUpstream(good), await startScriptedUpstream(good)]
  const models = upstreams.map((upstream, nth) => entryOf(upstream, `up-${nth}`))
  const gateway = await startGateway(commented(models))
  const askedFour = async (): Promise<Set<string | null>> => {
    const answers = await Promise.all([1, 2, 3, 4].map(() => gateway.chat()))
    return new Set(answers.map(({ headers }) => headers.get('x-aiload-upstream')))
  }
  expect(await askedFour()).toEqual(new Set(['up-0']))
  const { page, signIn, show } = await openPage(gateway.url, {
    statuses: [422],
    viewport: { width: 360, height: 740 },
  })
  await signIn(gateway.token)
  await show('configuration')
  const open = page.getByRole('button', { name: 'Change the strategy' })
  await open.press('Enter')
  const focused = (): Promise<string> => page.evaluate('document.activeElement.id')
  expect(await focused()).toBe('settings-strategy')
  expect([await overflowOf(page), await violationsOf(page)]).toEqual([0, []])
  await page.keyboard.type('round')
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: 'Save' }).press('Enter')
  await page.locator('p.good').getByText('Saved').waitFor()
  expect(await focused()).toBe('entries')
  const strategyIn = (text: string): string => text.replace('"in_order"', '"round_robin"')
  expect(readFileSync(gateway.configFile, 'utf8')).toBe(strategyIn(commented(models)))
  await page.locator('.facts').getByText('round_robin').waitFor()
  expect(await askedFour()).toEqual(new Set(['up-0', 'up-1']))

  await open.press('Enter')
  await page.getByLabel('Affinity').selectOption('a header')
  await page.getByLabel('Name of the header').fill('x team')
  await page.keyboard.press('Enter')
  await page.locator('#settings-header-hint.bad').waitFor()
  await page.waitForFunction("document.activeElement.id === 'settings-header'")
  expect([await overflowOf(page), await violationsOf(page)]).toEqual([0, []])
  await page.getByLabel('Name of the header').fill('x-team')
  await page.keyboard.press('Enter')
  await page.locator('.facts').getByText('header:x-team').waitFor()
  const written = readFileSync(gateway.configFile, 'utf8')
  expect(written).toBe(strategyIn(commented(models)).replace('"off"', '"header:x-team"'))
  await open.press('Enter')
  expect(await page.getByLabel('Name of the header').inputValue()).toBe('x-team')
  await page.getByRole('button', { name: 'Cancel' }).press('Enter')
  await page.locator('form').waitFor({ state: 'detached' })
  expect(readFileSync(gateway.configFile, 'utf8')).toBe(written)
})

test('the tokens of clients are shown with what they use: numbers move, a limit is used up, one that is taken out is gone', async () => {
  const tokens = ['alice', 'bob'].map((name) => ({ name, token: `sk-${name}-${'x'.repeat(40)}` }))
  const [alice = { name: '', token: '' }, bob = { name: '', token: '' }] = tokens
  const limited = { ...alice, limits: { rpm: 3 } }
  const upstream = await startScriptedUpstream(good)
  const config = { models: [entryOf(upstream, 'alpha')], settings: inOrder, tokens: [limited, bob] }
  const gateway = await startGateway(config)
  const asked = async ({ token }: { token: string }): Promise<number> =>
    (await gateway.chat({}, { headers: { authorization: `Bearer ${token}` } })).status
  const { page, signIn, show } = await openPage(gateway.url)
  await signIn(gateway.token)
  await show('tokens')
  const row = (name: string) => page.getByRole('row', { name })
  await row('alice').getByText('requests / minute · 0 used, 3 of 3 left').waitFor()
  expect(await row('bob').innerText()).toMatch(/all models\s+–\s+0 requests, 0 tokens/)
  expect([await asked(alice), await asked(bob), await asked(bob)]).toEqual([200, 200, 200])
  await row('alice').getByText('1 used, 2 of 3 left').waitFor()
  await row('bob').getByText('2 requests, 20 tokens').first().waitFor()
  expect([await asked(alice), await asked(alice), await asked(alice)]).toEqual([200, 200, 429])
  await row('alice').locator('.bad').getByText('3 used, 0 of 3 left').waitFor()
  await row('alice').getByText('3 requests, 30 tokens').first().waitFor()
  expect(await page.locator('body').innerText()).not.toMatch(/sk-|xxx/)

  gateway.writeConfig({ ...config, tokens: [limited] })
  await row('bob').waitFor({ state: 'detached' })
  await row('alice').waitFor()
  expect(await asked(bob)).toBe(401)
})

test('a request is explained: who was taken, who was not and why', async () => {
  const { gateway } = await bed({ alpha: refused, beta: good })
  const { page, signIn, show } = await openPage(gateway.url)
  await signIn(gateway.token)
  expect((await gateway.chat()).status).toBe(200)
  await show('requests')
  await page.locator('.row', { hasText: 'auto' }).first().click()
  const article = page.getByRole('article')
  await article.waitFor()
  const text = await article.innerText()
  expect(text).toMatch(/alpha was chosen/)
  expect(text).toMatch(/Attempt at alpha.*rate-limited 429/)
  expect(text).toMatch(/Attempt at beta.*ok 200/)
  expect(text).toContain('The client got 200')
})

test('on a Chinese page warnings and mistakes are told in Chinese', async () => {
  const upstream = await startScriptedUpstream(good)
  const models = [entryOf(upstream, 'alpha', { wieght: 2 })]
  const gateway = await startGateway({ models, settings: inOrder, server: { admin: 'write' } })
  const { page, signIn, show } = await openPage(gateway.url, { locale: 'zh-CN', statuses: [422] })
  await signIn(gateway.token)
  await page.locator('.needs').getByText('没有这个键，已忽略').waitFor()
  await show('configuration')
  await page.locator('.lines').getByText('models[0].wieght: 没有这个键，已忽略').waitFor()
  await page.getByRole('group', { name: 'alpha' }).getByRole('button', { name: '修改' }).click()
  await page.getByLabel('权重').fill('-1')
  await page.keyboard.press('Enter')
  await page.locator('#entry-weight-hint.bad').getByText('应该是大于 0 的数字').waitFor()
  await page.getByRole('button', { name: '取消' }).click()
  await page.getByRole('button', { name: 'English' }).click()
  await page.locator('.lines').getByText('unknown key, it is ignored').waitFor()
})
