import { writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { refusedUrl } from '../support/dead-ends.ts'
import { startGateway, testToken, type GatewayProcess } from '../support/gateway-process.ts'

const modelNamed = (model: string) => ({
  models: [{ api_key: 'k', base_url: 'https://a.example/v1', model }],
})

async function modelsOf(gateway: GatewayProcess): Promise<string[]> {
  const { data } = (await (await gateway.fetch('/v1/models')).json()) as { data: { id: string }[] }
  return data.map(({ id }) => id)
}

test('a changed file is served within a second, under the address of the command line', async () => {
  const gateway = await startGateway(modelNamed('before'), { args: ['--port', '0'] })
  expect(await modelsOf(gateway)).toContain('before')
  gateway.writeConfig(modelNamed('after'))
  const since = performance.now()
  await gateway.printed(/the configuration was reloaded/)
  expect(performance.now() - since).toBeLessThan(10_000)
  expect(await modelsOf(gateway)).toEqual(['auto', 'after'])
})

test('SIGHUP reads the file again, changed or not', async () => {
  const gateway = await startGateway(modelNamed('same'))
  gateway.signal('SIGHUP')
  await gateway.printed(/the configuration was reloaded/)
  expect(await modelsOf(gateway)).toEqual(['auto', 'same'])
  await gateway.stop()
  expect(gateway.stdout).not.toContain('there is no configuration file')
})

test('a broken file changes nothing, is told in the log and in the status, and a whole one mends it', async () => {
  const gateway = await startGateway(modelNamed('good'))
  writeFileSync(gateway.configFile, '{ "models": [ ]')
  await gateway.printed(/the last good one stays[\s\S]*config\.json:1:\d+: /)
  expect(await modelsOf(gateway)).toEqual(['auto', 'good'])
  const status = (await (await gateway.fetch('/admin/status')).json()) as {
    last_reload: { ok: boolean } | null
  }
  expect(status.last_reload).toMatchObject({ ok: false })
  gateway.writeConfig(modelNamed('better'))
  await gateway.printed(/the configuration was reloaded/)
  expect(await modelsOf(gateway)).toEqual(['auto', 'better'])
})

test('a reload to debug logs the attempts from then on', async () => {
  const gateway = await startGateway(modelNamed('m'))
  gateway.writeConfig({
    ...modelNamed('m'),
    models: [{ api_key: 'k', base_url: `${refusedUrl()}/v1`, model: 'm' }],
    server: { mode: 'debug' },
  })
  await gateway.printed(/the configuration was reloaded/)
  await gateway.chat()
  await gateway.printed(/"event":"attempt"/)
})

test('tokens change with an overlap: each of a list is accepted until a reload takes it out', async () => {
  const gateway = await startGateway(modelNamed('m'))
  const statusWith = async (token: string) =>
    (await fetch(`${gateway.url}/v1/models`, { headers: { authorization: `Bearer ${token}` } })).status
  gateway.writeConfig({ ...modelNamed('m'), auth_token: ['sk-new', testToken] })
  await gateway.printed(/the configuration was reloaded/)
  expect([await statusWith('sk-new'), await statusWith(testToken)]).toEqual([200, 200])
  gateway.writeConfig({ ...modelNamed('m'), auth_token: 'sk-new' })
  await gateway.printed(/the configuration was reloaded.*the configuration was reloaded/s)
  expect([await statusWith('sk-new'), await statusWith(testToken)]).toEqual([200, 401])
})

test('a reload without a token is refused', async () => {
  const gateway = await startGateway(modelNamed('good'))
  gateway.writeConfig({ ...modelNamed('other'), auth_token: '' })
  await gateway.printed(/auth_token: is empty or missing, which a reload refuses/)
  expect(await modelsOf(gateway)).toEqual(['auto', 'good'])
})
