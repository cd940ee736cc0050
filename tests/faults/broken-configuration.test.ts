import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { healthy } from '../support/believable.ts'
import { runAiload, startGateway } from '../support/gateway-process.ts'
import { statusOf } from '../support/gateway-status.ts'
import { startScriptedUpstream } from '../support/scripted-upstream.ts'
import { until } from '../support/until.ts'

const breaks: readonly { what: string; text: (url: string) => string; says: RegExp }[] = [
  { what: 'no JSON', text: () => '{"models": [', says: /config\.json:\d+:\d+/ },
  { what: 'empty', text: () => '', says: /config\.json/ },
  {
    what: 'without a model',
    text: () => '{"auth_token":"sk-the-token-of-the-tests","models":[]}',
    says: /models/,
  },
  {
    what: 'with a wrong value',
    text: (url) =>
      `{"auth_token":"sk-the-token-of-the-tests","models":[{"base_url":"${url}/v1","model":"m","weight":-1}]}`,
    says: /models\[0\]\.weight/,
  },
]

test.each(breaks)(
  'a configuration that is $what ends a start with 1 and a line that says where',
  async ({ text, says }) => {
    const directory = mkdtempSync(join(tmpdir(), 'aiload-broken-'))
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
    mkdirSync(join(directory, 'data', 'config'), { recursive: true })
    writeFileSync(join(directory, 'data', 'config', 'config.json'), text('http://127.0.0.1:9999'))
    const { code, stderr } = await runAiload(['start'], { directory })
    expect(code).toBe(1)
    expect(stderr).toMatch(says)
  },
)

test('broken files at reload change nothing and are shown; a good one behind them is taken', async () => {
  const upstream = await startScriptedUpstream(healthy())
  const gateway = await startGateway({
    models: [{ name: 'first', base_url: `${upstream.url}/v1`, model: 'm' }],
  })
  const status = (): ReturnType<typeof statusOf> => statusOf(gateway)
  for (const { text, says } of breaks) {
    gateway.writeConfig(text(upstream.url))
    const { last_reload: last, models } = await until(
      status,
      ({ last_reload: last }) => last?.problems.some((line) => says.test(line)) === true,
    )
    expect(last!.ok).toBe(false)
    expect(models).toContain('m')
    expect((await gateway.chat({ model: 'first' })).status).toBe(200)
  }
  gateway.writeConfig({ models: [{ name: 'second', base_url: `${upstream.url}/v1`, model: 'm2' }] })
  await until(status, ({ last_reload: last }) => last?.ok === true)
  expect((await gateway.chat({ model: 'second' })).status).toBe(200)
  expect((await gateway.chat({ model: 'first' })).status).toBe(404)
  await gateway.stop()
  await upstream.close()
})
