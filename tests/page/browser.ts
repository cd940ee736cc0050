/**
 * A browser that looks at the page, as people do.
 *
 * ```ts
 * const { page, signIn } = await openPage(gateway.url, { colorScheme: 'dark' })
 * await signIn(token)
 * ```
 *
 * Every page is closed at the end of its test, which fails when anything was written to the console.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core'
import { expect, onTestFinished } from 'vitest'

const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium'

/** A browser is a part of the system that a developer may lack, and no test passes without it. */
export async function launchBrowser(env: Readonly<Record<string, string>> = {}): Promise<Browser> {
  if (!existsSync(executablePath))
    throw new Error(
      `There is no browser at ${executablePath}: install it (apt-get install chromium), or set CHROMIUM to where it is.`,
    )
  const args = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run']
  const quiet = ['--disable-background-networking', '--disable-component-update', '--disable-sync']
  return chromium.launch({
    executablePath,
    args: [...args, ...quiet],
    env: { ...process.env, ...env },
  })
}

let launched: Promise<Browser> | undefined

export interface PageOptions extends BrowserContextOptions {
  /** What the browser itself writes of answers that a test provokes, such as a 401. */
  readonly statuses?: readonly number[]
}

export async function openPage(url: string, { statuses = [], ...options }: PageOptions = {}) {
  launched ??= launchBrowser()
  const browser = await launched
  const context = await browser.newContext({
    viewport: { width: 1280, height: 900 },
    locale: 'en-US',
    ...options,
  })
  const page = await context.newPage()
  const said: string[] = []
  page.on('console', (message) => said.push(`${message.type()}: ${message.text()}`))
  page.on('pageerror', (error) => said.push(`error: ${error.stack ?? error.message}`))
  onTestFinished(async () => {
    await context.close()
    const expected = statuses.map(
      (status) => `error: Failed to load resource: the server responded with a status of ${status} `,
    )
    expect(said.filter((line) => !expected.some((beginning) => line.startsWith(beginning)))).toEqual([])
  })
  page.setDefaultTimeout(10_000)
  await page.goto(url)
  return {
    page,
    /** Types the token and waits for what only it shows. */
    async signIn(token: string): Promise<void> {
      await page.locator('#token').fill(token)
      await page.keyboard.press('Enter')
      await page.locator('main h1').first().waitFor()
      await page.locator('nav').waitFor()
    },
    /** Shows one of the views. */
    async show(view: 'overview' | 'requests' | 'playground' | 'configuration' | 'tokens'): Promise<void> {
      await page.locator(`nav a[href="#${view}"]`).click()
      await page.locator(`nav a[href="#${view}"][aria-current]`).waitFor()
    },
  }
}

export async function closeBrowser(): Promise<void> {
  await (await launched)?.close()
  launched = undefined
}

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** What axe-core finds wrong, a line for each; the page's own policy forbids it to be put in as a script. */
export async function violationsOf(page: Page): Promise<string[]> {
  const found = await page.evaluate(
    `${axe}; axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
      violations.flatMap(({ id, help, nodes }) => nodes.map(({ target, failureSummary }) => id + ': ' + help + ' at ' + target + ' ' + failureSummary)))`,
  )
  return found as string[]
}

/** How far the page is wider than its window. */
export const overflowOf = (page: Page): Promise<number> =>
  page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')
