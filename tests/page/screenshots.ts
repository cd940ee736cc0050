/**
 * `npm run screenshots`: the pictures of the READMEs, of a gateway that is only told of. Fonts are asked for that look alike
 * everywhere (`apt-get install fonts-inter fonts-noto-cjk`); others are taken where there are none.
 */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { launchBrowser } from './browser.ts'
import { PRETENDED_TOKEN, startPretendedGateway } from './pretended-gateway.ts'

const pictures = join(import.meta.dirname, '../../docs/pictures')
/** An afternoon, so that the pictures are the same whenever they are made. */
const NOW = Date.parse('2026-11-30T14:20:00Z')

const SHOTS = [
  { name: 'overview-light', locale: 'en-US', colorScheme: 'light', view: 'overview', height: 1150 },
  { name: 'overview-dark', locale: 'en-US', colorScheme: 'dark', view: 'overview', height: 1150 },
  { name: 'overview-light.zh', locale: 'zh-CN', colorScheme: 'light', view: 'overview', height: 1150 },
  { name: 'overview-dark.zh', locale: 'zh-CN', colorScheme: 'dark', view: 'overview', height: 1150 },
  { name: 'explained-light', locale: 'en-US', colorScheme: 'light', view: 'requests', height: 720 },
  { name: 'explained-dark', locale: 'en-US', colorScheme: 'dark', view: 'requests', height: 720 },
  { name: 'explained-light.zh', locale: 'zh-CN', colorScheme: 'light', view: 'requests', height: 720 },
  { name: 'explained-dark.zh', locale: 'zh-CN', colorScheme: 'dark', view: 'requests', height: 720 },
] as const

const fonts = mkdtempSync(join(tmpdir(), 'aiload-fonts-'))
const prefer = (family: string): string =>
  `<match target="pattern"><test name="family"><string>${family}</string></test><edit name="family" mode="prepend" binding="strong"><string>Inter</string><string>Noto Sans CJK SC</string></edit></match>`
writeFileSync(
  join(fonts, 'fonts.conf'),
  `<?xml version="1.0"?><fontconfig><include>/etc/fonts/fonts.conf</include>${prefer('system-ui')}${prefer('sans-serif')}</fontconfig>`,
)
const gateway = await startPretendedGateway(NOW)
const browser = await launchBrowser({ FONTCONFIG_FILE: join(fonts, 'fonts.conf') })
for (const { name, view, height, locale, colorScheme } of SHOTS) {
  const context = await browser.newContext({
    locale,
    colorScheme,
    viewport: { width: 1280, height },
    timezoneId: 'UTC',
    deviceScaleFactor: view === 'overview' ? 1 : 1.25,
  })
  const page = await context.newPage()
  await page.clock.install({ time: NOW })
  await page.goto(gateway.url)
  await page.locator('#token').fill(PRETENDED_TOKEN)
  await page.keyboard.press('Enter')
  await page.locator(`nav a[href="#${view}"]`).click()
  if (view === 'requests') {
    await page.locator('.row').first().click()
    await page.getByRole('article').waitFor()
  } else await page.locator('.plot canvas').last().waitFor()
  await page.mouse.move(2, 2)
  await page.evaluate('document.activeElement.blur()')
  const path = join(pictures, `${name}.png`)
  await page.screenshot({ path })
  await context.close()
  process.stdout.write(`${name}.png ${Math.round(statSync(path).size / 1024)} KB\n`)
}
await browser.close()
await gateway.close()
rmSync(fonts, { recursive: true })
