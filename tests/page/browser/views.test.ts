import { once } from 'node:events'
import { createServer, request } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { closeBrowser, openPage, overflowOf, violationsOf } from '../browser.ts'
import { PRETENDED_TOKEN, startPretendedGateway, type PretendedGateway } from '../pretended-gateway.ts'
import { sceneAt } from '../scene.ts'

/** What the page makes of what a gateway tells. */

let gateway: PretendedGateway
beforeAll(async () => {
  gateway = await startPretendedGateway()
})
beforeEach(() => {
  gateway.asked.length = 0
  gateway.instead = () => undefined
})
afterAll(async () => {
  await closeBrowser()
  await gateway.close()
})

const VIEWS = ['overview', 'requests', 'playground', 'configuration', 'tokens'] as const

async function opened(options: Parameters<typeof openPage>[1] = {}, path = '') {
  const bed = await openPage(gateway.url + path, options)
  await bed.signIn(PRETENDED_TOKEN)
  return bed
}

describe('signing in', () => {
  test('without a token nothing is asked and nothing is shown', async () => {
    const { page } = await openPage(gateway.url)
    expect(await page.locator('#token').isVisible()).toBe(true)
    expect(await page.locator('body').innerText()).not.toMatch(/groq|gemini|key/)
    expect(gateway.asked).toEqual([])
  })

  test('a wrong token is told, and not kept', async () => {
    const { page } = await openPage(gateway.url, { statuses: [401] })
    await page.locator('#token').fill('wrong')
    await page.keyboard.press('Enter')
    await page.getByRole('alert').getByText('This token is wrong.').waitFor()
    expect(await page.evaluate('sessionStorage.length + localStorage.length')).toBe(0)
    expect(await page.locator('nav').count()).toBe(0)
  })

  test('a token that may only send requests is told so', async () => {
    gateway.instead = () => ({ status: 403, body: { error: { message: 'no', code: 'admin_only' } } })
    const { page } = await openPage(gateway.url, { statuses: [403] })
    await page.locator('#token').fill(PRETENDED_TOKEN)
    await page.keyboard.press('Enter')
    await page.getByRole('alert').getByText('"admin": true').waitFor()
  })

  test('the token stays in the tab: a reload keeps it, signing out drops it, and no other storage has it', async () => {
    const { page } = await opened()
    expect(await page.evaluate('JSON.stringify([{ ...localStorage }, document.cookie])')).toBe('[{},""]')
    await page.reload()
    await page.locator('nav').waitFor()
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.locator('#token').waitFor()
    expect(await page.evaluate('sessionStorage.length')).toBe(0)
    expect(await page.locator('body').innerText()).not.toContain('groq')
  })

  test('a token that dies meanwhile leads back to signing in', async () => {
    const { page } = await opened({ statuses: [401] })
    gateway.instead = () => ({ status: 401, body: { error: { message: 'The token is wrong.' } } })
    gateway.hangUp()
    await page.getByRole('alert').getByText('This token is wrong.').waitFor()
    expect(await page.locator('body').innerText()).not.toContain('groq')
  })
})

describe('the overview', () => {
  test('its first line says whether requests can be answered, and how they were in the last hour', async () => {
    const { page } = await opened()
    const headline = await page.locator('.headline').innerText()
    for (const words of [
      'Requests can be answered now',
      '3 of 6 upstreams',
      '1,284',
      '99.7 %',
      '236 ms',
      '841 ms',
    ])
      expect(headline).toContain(words)
  })

  test('an upstream has its model, its key, its state as a sentence, its limits and its last outcomes', async () => {
    const { page } = await opened()
    const row = page.getByRole('listitem', { name: 'groq#2', exact: true })
    const text = await row.innerText()
    expect(text).toContain('openai/gpt-oss-120b · key 2 …7hVw')
    expect(text).toMatch(/rate-limited \(all with its key\), until \d\d:\d\d:\d\d \(\d+ s\)/)
    expect(text).toMatch(/30 used, 0 of 30 left\s+told by headers · one more at \d\d:\d\d:\d\d/)
    expect(await row.getByRole('img').getAttribute('aria-label')).toBe(
      'Last 40 attempts, the newest at the end: 37 answered, 3 failed',
    )
    expect(await page.getByRole('listitem', { name: 'gemini' }).innerText()).toMatch(
      /preset · runs out at \d\d:\d\d/,
    )
  })

  test('what does not heal by itself stands in a box of its own', async () => {
    const { page } = await opened()
    const box = await page.locator('.needs').innerText()
    expect(box).toMatch(/The key of mistral was refused; .*\s+since \d\d:\d\d/)
    expect(box).toMatch(/The changed configuration is refused: .*\s+since .*\s+See the configuration/)
  })

  test('numbers move with the events of the gateway, and a change of state is announced', async () => {
    const { page } = await opened()
    gateway.send('status', { last_hour: { requests: 1_301, answered_share: 1, first_byte_ms: null } })
    await page.locator('.figures').getByText('1,301').waitFor()
    expect(await page.locator('.figures').innerText()).toContain('100 %')
    const aloud = page.getByRole('listitem', { name: 'groq', exact: true }).locator('[aria-live=polite]')
    expect(await aloud.textContent()).toBe('groq: works')
    const [groq] = sceneAt(Date.now()).status.upstreams
    gateway.send('status', { upstreams: [{ ...groq, available: false, why: 'quota spent' }] })
    await expect.poll(() => aloud.textContent()).toBe('groq: quota spent')
  })

  test('an upstream is tested, and the result stands beside it', async () => {
    const { page } = await opened()
    const row = page.getByRole('listitem', { name: 'groq', exact: true })
    await row.getByRole('button', { name: 'Test' }).click()
    await row.getByText('Test answered 200 after 230 ms').waitFor()
    expect(gateway.asked).toContainEqual({ method: 'POST', path: '/admin/test', body: { upstream: 'groq' } })
  })

  test('the charts have a text each, and another range is one key away', async () => {
    const { page } = await opened()
    const labels = (): Promise<(string | null)[]> =>
      page.locator('.plot').evaluateAll((plots) => plots.map((plot) => plot.getAttribute('aria-label')))
    const hour = await labels()
    expect(hour[0]).toMatch(/^Requests by outcome: answered \d+, refused \(429\) \d+/)
    expect(await page.locator('.plot canvas').count()).toBe(3)
    await page.getByRole('button', { name: 'Day', exact: true }).press('Enter')
    await page.waitForFunction(
      `document.querySelector('.plot').getAttribute('aria-label') !== ${JSON.stringify(hour[0])}`,
    )
  })
})

describe('requests', () => {
  test('are filtered by what they went through, and by any text', async () => {
    const { page, show } = await opened()
    await show('requests')
    await page.getByLabel('Status').selectOption('refused (429)')
    expect(await page.locator('.row').count()).toBe(1)
    await page.getByLabel('Status').selectOption('all')
    await page.getByLabel('Upstream').selectOption('gemini')
    const upstreams = await page.locator('.row .c-upstream').allInnerTexts()
    expect(new Set(upstreams)).toEqual(new Set(['gemini']))
    await page.getByLabel('Upstream').selectOption('all')
    await page.getByLabel('Text').fill('upstream_error')
    expect(await page.locator('.row').count()).toBe(1)
    await page.getByLabel('Text').fill('nothing like it')
    await page.getByText('No request that fits.').waitFor()
  })

  test('opens into its explanation: the choices with their candidates, the attempts, the end', async () => {
    const { page, show } = await opened()
    await show('requests')
    await page.locator('.row').first().click()
    const article = page.getByRole('article')
    await article.waitFor()
    const text = await article.innerText()
    for (const words of [
      'groq#2 was chosen',
      'Attempt at groq#2',
      'rate-limited 429, ended after 90 ms',
      'The next in order: groq was chosen',
      'The client got 200',
      'Recomputed: it is decided the same way again.',
    ])
      expect(text).toContain(words)
    expect(text).toMatch(/mistral needs attention: key refused until/)
    expect(page.url()).toMatch(/#requests\/req-/)
    await page.locator('.open .row a').press('Enter')
    await article.waitFor({ state: 'detached' })
  })

  test('a new one appears on top without a reload', async () => {
    const { page, show } = await opened()
    await show('requests')
    gateway.send('requests', [
      {
        id: 'req-new',
        at: new Date(Date.now() + 1_000).toISOString(),
        endpoint: 'chat',
        model: 'brand-new',
        token: null,
        status: 200,
        code: null,
        upstream: 'groq',
        stream: false,
        attempts: 1,
        queued_ms: 0,
        first_byte_ms: 5,
        duration_ms: 9,
        input_tokens: 1,
        output_tokens: 1,
      },
    ])
    await page.locator('.row').first().getByText('brand-new').waitFor()
  })
})

describe('the configuration', () => {
  test('shows the refused reload and the warnings', async () => {
    const { page, show } = await opened()
    await show('configuration')
    const text = await page.locator('main').innerText()
    expect(text).toContain('models[3].weight: must be a number above 0')
    expect(text).toContain('models[1].limit: unknown key, it is ignored')
  })

  test('a vendor is added by its preset', async () => {
    const { page, show } = await opened()
    await show('configuration')
    await page.getByRole('button', { name: 'Add a vendor' }).click()
    const form = page.getByRole('form', { name: 'New upstream' })
    await form.getByLabel('Vendor').selectOption('Cerebras')
    await form.getByText('${CEREBRAS_API_KEY}').waitFor()
    await form.getByLabel('Keys').fill('csk-one\ncsk-two')
    await form.getByLabel('Weight').fill('2')
    await form.getByRole('button', { name: 'Save' }).click()
    await page.locator('p.good').getByText('Saved: it is in use from the next request on.').waitFor()
    expect(gateway.asked).toContainEqual({
      method: 'POST',
      path: '/admin/config/upstreams',
      body: { etag: '"1"', entry: { vendor: 'cerebras', api_key: ['csk-one', 'csk-two'], weight: 2 } },
    })
    expect(await form.count()).toBe(0)
  })

  test('a mistake is told at its field, and what was typed stays', async () => {
    gateway.instead = ({ method }) =>
      method === 'PUT'
        ? {
            status: 422,
            body: {
              error: { message: 'The configuration would be invalid.', code: 'config_invalid' },
              problems: [
                {
                  path: 'models[3].weight',
                  entry_path: 'weight',
                  message: 'must be positive',
                  hint: 'write a number such as 2',
                },
              ],
            },
          }
        : undefined
    const { page, show } = await opened({ statuses: [422] })
    await show('configuration')
    await page
      .getByRole('group', { name: 'vllm in the cellar' })
      .getByRole('button', { name: 'Change' })
      .click()
    const weight = page.getByLabel('Weight')
    await weight.fill('-3')
    await page.keyboard.press('Enter')
    await page.locator('#entry-weight-hint').getByText('must be positive; write a number such as 2').waitFor()
    expect(await weight.getAttribute('aria-invalid')).toBe('true')
    expect(await weight.inputValue()).toBe('-3')
    await page.waitForFunction("document.activeElement.id === 'entry-weight'")
    const put = gateway.asked.find(({ method }) => method === 'PUT')
    expect(put?.body).toEqual({
      etag: '"1"',
      index: 3,
      entry: {
        name: 'vllm in the cellar',
        base_url: 'http://192.168.1.5:8000/v1',
        model: 'qwen3-32b',
        priority: 1,
        weight: -3,
        limits: { max_concurrency: 4 },
      },
    })
  })

  test('a file that was changed underneath is offered to be loaded again', async () => {
    gateway.instead = ({ method }) =>
      method === 'DELETE'
        ? { status: 409, body: { error: { message: 'changed', code: 'config_changed' } } }
        : undefined
    const { page, show } = await opened({ statuses: [409] })
    await show('configuration')
    const actions = page.getByRole('group', { name: 'gemini' })
    await actions.getByRole('button', { name: 'Remove' }).click()
    await actions.getByRole('button', { name: 'Remove gemini?' }).click()
    await page.getByText('The file was changed meanwhile.').waitFor()
    const before = gateway.asked.filter(({ path }) => path === '/admin/config').length
    await page.getByRole('button', { name: 'Load it again' }).click()
    await page.getByText('The file was changed meanwhile.').waitFor({ state: 'detached' })
    expect(gateway.asked.filter(({ path }) => path === '/admin/config')).toHaveLength(before + 1)
  })

  test('upstreams change places', async () => {
    const { page, show } = await opened()
    await show('configuration')
    await page.getByRole('group', { name: 'gemini' }).getByRole('button', { name: 'Move up' }).click()
    await page.locator('p.good').waitFor()
    expect(gateway.asked).toContainEqual({
      method: 'POST',
      path: '/admin/config/order',
      body: { etag: '"1"', order: [1, 0, 2, 3] },
    })
  })

  test('nothing can be changed where the configuration allows reading alone', async () => {
    const why = 'server.admin is "read": write "server": { "admin": "write" } to allow it.'
    const { config } = sceneAt(Date.now())
    gateway.instead = ({ path }) =>
      path === '/admin/config' ? { status: 200, body: { ...config, writable: false, why } } : undefined
    const { page, show } = await opened()
    await show('configuration')
    await page.getByText(why).waitFor()
    expect(await page.getByRole('button', { name: /^Change/ }).count()).toBe(0)
  })

  test('a Chinese page says why nothing can be changed: the rights, no file, or what else the gateway says', async () => {
    const { config, status } = sceneAt(Date.now())
    for (const { file, admin, says } of [
      { file: 'config.json', admin: 'read', says: '请在配置里设置 "server": { "admin": "write" }' },
      { file: null, admin: 'read', says: '没有可以修改的配置文件' },
      { file: 'config.json', admin: 'write', says: 'EROFS' },
    ]) {
      const shown = { ...config, file, writable: false, why: "can't be written (EROFS)" }
      gateway.instead = ({ path }) =>
        path === '/admin/config'
          ? { status: 200, body: shown }
          : path === '/admin/status'
            ? { status: 200, body: { ...status, admin } }
            : path === '/admin/events'
              ? { status: 404, body: {} }
              : undefined
      const { page, show } = await opened({ locale: 'zh-CN', statuses: [404] })
      await show('configuration')
      await page.locator('section p.muted').getByText(says).waitFor()
    }
  })
})

test('tokens are listed with what they may and what they used', async () => {
  const { page, show } = await opened()
  await show('tokens')
  const text = await page.locator('table').innerText()
  expect(text).toMatch(
    /mobile app\s+all models\s+requests \/ minute · 12 used, 48 of 60 left\s+1,204 requests/,
  )
  expect(text).toMatch(/night jobs\s+only qwen3-32b · until/)
})

describe('a gateway that can less', () => {
  test('without a stream of events it is asked every few seconds', async () => {
    gateway.instead = ({ path }) => (path === '/admin/events' ? { status: 404, body: {} } : undefined)
    const { page } = await opened({ statuses: [404] })
    await page.getByText('every few seconds').waitFor()
    await expect
      .poll(() => gateway.asked.filter(({ path }) => path === '/admin/status').length, { timeout: 15_000 })
      .toBeGreaterThan(2)
    await page.getByRole('listitem', { name: 'gemini' }).waitFor()
  })

  test('what it does not have is not shown', async () => {
    gateway.instead = ({ path }) => (path === '/admin/status' ? undefined : { status: 404, body: {} })
    const { page } = await opened({ statuses: [404] })
    await page.getByText('every few seconds').waitFor()
    expect(await page.locator('nav').innerText()).not.toContain('Requests')
    expect(await page.locator('.charts').count()).toBe(0)
  })

  test('of one that speaks English alone a Chinese page says in its own words what needs somebody', async () => {
    const { status } = sceneAt(Date.now())
    gateway.instead = ({ path }) =>
      path === '/admin/status'
        ? { status: 200, body: status }
        : path === '/admin/events'
          ? { status: 404, body: {} }
          : undefined
    const { page } = await opened({ locale: 'zh-CN', statuses: [404] })
    const needs = await page.locator('.needs').innerText()
    expect(needs).toContain('mistral 的密钥被拒绝：请在配置里换一个有效的密钥')
    expect(needs).toContain('改动后的配置被拒绝，仍在使用上一份有效的配置')
  })

  test('a lost connection is said, and found again', async () => {
    const { page } = await opened({ statuses: [503] })
    gateway.instead = ({ path }) => (path === '/admin/events' ? { status: 503, body: {} } : undefined)
    gateway.hangUp()
    await page.getByText('no connection, trying again').waitFor()
    gateway.instead = () => undefined
    await page.getByText('live', { exact: true }).waitFor()
  })
})

describe('languages, themes and sizes', () => {
  test('a Chinese browser gets Chinese, and the switch is remembered', async () => {
    const { page } = await opened({ locale: 'zh-CN' })
    await page.getByRole('heading', { name: '现在可以处理请求' }).waitFor()
    expect(await page.locator('html').getAttribute('lang')).toBe('zh-CN')
    expect(await page.locator('.needs').innerText()).toContain('密钥被拒绝')
    for (const view of VIEWS) {
      await page.locator(`nav a[href="#${view}"]`).click()
      expect(await page.locator('h1').first().innerText()).toMatch(/\p{Script=Han}/u)
    }
    await page.getByRole('button', { name: 'English' }).click()
    await page.reload()
    await page.locator('nav').getByText('Overview').waitFor()
    expect(await page.locator('html').getAttribute('lang')).toBe('en')
  })

  test('the theme follows the system until it is switched', async () => {
    const { page } = await opened({ colorScheme: 'dark' })
    const paper = (): Promise<string> => page.evaluate('getComputedStyle(document.body).backgroundColor')
    const dark = await paper()
    await page.emulateMedia({ colorScheme: 'light' })
    await expect.poll(paper).not.toBe(dark)
    await page.getByRole('button', { name: 'Theme: as the system' }).click()
    await page.getByRole('button', { name: 'Theme: light' }).click()
    expect(await paper()).toBe(dark)
    await page.reload()
    await page.locator('nav').waitFor()
    expect(await paper()).toBe(dark)
  })

  test.each([360, 768])('no view is wider than a window of %i pixels', async (width) => {
    for (const locale of ['en-US', 'zh-CN']) {
      const { page, show } = await opened({ locale, viewport: { width, height: 740 } })
      for (const view of VIEWS) {
        await show(view)
        if (view === 'requests') await page.locator('.row').first().click()
        if (view === 'requests') await page.getByRole('article').waitFor()
        if (view === 'configuration') await page.locator('.entry .actions button').nth(2).click()
        expect([view, await overflowOf(page)]).toEqual([view, 0])
      }
    }
  })

  test.each(['light', 'dark'] as const)(
    'axe-core finds nothing wrong in any view, %s',
    async (colorScheme) => {
      const signingIn = await openPage(gateway.url, { colorScheme })
      expect(await violationsOf(signingIn.page)).toEqual([])
      const { page, show } = await opened({ colorScheme })
      for (const view of VIEWS) {
        await show(view)
        if (view === 'requests') await page.locator('.row').first().click()
        if (view === 'requests') await page.getByRole('article').waitFor()
        if (view === 'configuration') await page.locator('.entry .actions button').nth(2).click()
        expect(await violationsOf(page)).toEqual([])
      }
    },
  )
})

test('everything is reached by the keyboard, and what has the focus shows it', async () => {
  const { page } = await openPage(gateway.url)
  // The field of the token has the focus from the beginning.
  await page.keyboard.type(PRETENDED_TOKEN)
  await page.keyboard.press('Enter')
  await page.locator('nav').waitFor()
  await page.getByRole('listitem', { name: 'openrouter' }).waitFor()
  const focused = (): Promise<{ text: string; outline: string }> =>
    page.evaluate(
      `(() => { const one = document.activeElement; if (one === document.body) return { text: '', outline: '' }; const name = one.getAttribute('aria-label') ?? one.textContent;
        const row = one.closest('[aria-label]')?.getAttribute('aria-label') ?? '';
        return { text: (row + ' ' + name).trim(), outline: getComputedStyle(one).outlineStyle } })()`,
    )
  const reached: string[] = []
  for (let steps = 0; steps < 60; steps += 1) {
    await page.keyboard.press('Tab')
    const { text, outline } = await focused()
    if (text !== '' && reached.includes(text)) break
    reached.push(text)
    if (text !== '') expect([text, outline]).toEqual([text, 'solid'])
  }
  for (const name of [
    'To the content',
    'Views Playground',
    'Sign out',
    'Actions for groq Pause',
    'Actions for openrouter Resume',
    'Range Day',
  ])
    expect(reached).toContain(name)
  await page.getByRole('link', { name: 'Requests' }).press('Enter')
  await page.locator('.row a').first().press('Enter')
  await page.getByRole('article').waitFor()
})

test('it works behind the prefix of a proxy, with and without an end slash', async () => {
  const proxy = createServer((incoming, outgoing) => {
    if (incoming.url?.startsWith('/ai') !== true) return void outgoing.writeHead(404).end()
    const path = incoming.url.slice('/ai'.length) || '/'
    const onward = request(
      gateway.url + path,
      { method: incoming.method ?? 'GET', headers: incoming.headers },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(outgoing)
      },
    )
    incoming.pipe(onward)
    outgoing.on('close', () => onward.destroy())
    onward.on('error', () => outgoing.destroy())
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  onTestFinished(() => void (proxy.closeAllConnections(), proxy.close()))
  const { port } = proxy.address() as { port: number }
  for (const path of ['/ai', '/ai/']) {
    const { page, signIn } = await openPage(`http://127.0.0.1:${port}${path}`)
    await signIn(PRETENDED_TOKEN)
    await page.getByText('live', { exact: true }).waitFor()
  }
})
