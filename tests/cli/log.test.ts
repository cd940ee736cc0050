import { expect, onTestFinished, test } from 'vitest'
import { healthy } from '../support/believable.ts'
import { runAiload, startGateway, temporaryDirectory } from '../support/gateway-process.ts'
import { startScriptedUpstream } from '../support/scripted-upstream.ts'

type Line = Readonly<Record<string, unknown>>

async function models(): Promise<object[]> {
  const upstream = await startScriptedUpstream(healthy())
  onTestFinished(() => upstream.close())
  return [{ base_url: `${upstream.url}/v1`, model: 'm', name: 'one' }]
}

const linesIn = (text: string): Line[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line)
const requestsIn = (text: string): Line[] => linesIn(text).filter(({ event }) => event === 'request')

test('each request line has the client’s address, as trusted proxies tell it, and why its upstream', async () => {
  const gateway = await startGateway({ models: await models() })
  await (await gateway.chat()).text()
  await (await gateway.chat({}, { headers: { 'x-forwarded-for': '203.0.113.7' } })).text()
  await gateway.fetch('/v2/nothing')
  await gateway.printed(/"path":"\/v2\/nothing"/)
  await gateway.stop()
  expect(requestsIn(gateway.stdout)).toMatchObject([
    { client: '127.0.0.1', upstream: 'one', why: 'only' },
    { client: '203.0.113.7', upstream: 'one', why: 'only' },
    { client: '127.0.0.1', status: 404 },
  ])
})

test('with server.log_client false no line has an address', async () => {
  const gateway = await startGateway({ models: await models(), server: { log_client: false } })
  await (await gateway.chat({}, { headers: { 'x-forwarded-for': '203.0.113.7' } })).text()
  await gateway.fetch('/v2/nothing')
  await gateway.printed(/"path":"\/v2\/nothing"/)
  await gateway.stop()
  expect(requestsIn(gateway.stdout)).toHaveLength(2)
  expect(gateway.stdout).not.toMatch(/"client"|203\.0\.113\.7/)
})

test('--log pretty writes lines for people into a pipe, without colours', async () => {
  const gateway = await startGateway({ models: await models() }, { args: ['--log', 'pretty'] })
  await (await gateway.chat()).text()
  await gateway.printed(/200 chat .*auto → one/)
  await gateway.stop()
  expect(gateway.stdout).toMatch(/^AILoad \S+ listens on http/)
  expect(gateway.stdout).not.toContain('\u001b')
})

test.each([
  { level: 'Info', mode: 'debug', events: ['request'] },
  { level: 'debug', mode: 'release', events: ['attempt', 'request'] },
])('LOG_LEVEL $level goes before server.mode $mode', async ({ level, mode, events }) => {
  const env = { LOG_LEVEL: level }
  const gateway = await startGateway({ models: await models(), server: { mode } }, { env })
  await (await gateway.chat()).text()
  await gateway.stop()
  const told = linesIn(gateway.stdout).map(({ event }) => event)
  expect(told.filter((event) => event !== 'notice')).toEqual(events)
})

test('a level that is none ends a start with 2 and one sentence', async () => {
  const directory = temporaryDirectory()
  const env = { LOG_LEVEL: 'loud' }
  const { code, stdout, stderr } = await runAiload(['start'], { directory, env })
  expect([code, stdout, stderr]).toEqual([
    2,
    '',
    'aiload: LOG_LEVEL is not a known value; write one of "error", "warn", "info" or "debug"\n',
  ])
})
