import { expect, onTestFinished, test } from 'vitest'
import { startGateway } from '../support/gateway-process.ts'
import { upstreamStatus } from '../support/gateway-status.ts'
import { answer } from '../support/scripted-scenes.ts'
import { startScriptedUpstream } from '../support/scripted-upstream.ts'

const json = { 'content-type': 'application/json' }

test.each([
  {
    what: 'a page',
    headers: json,
    body: '<html>SECRETPAGE</html>',
    reason: 'a page or words instead of JSON',
  },
  {
    what: 'words',
    headers: json,
    body: 'SECRETPAGE',
    reason: 'a page or words instead of JSON',
  },
  { what: 'half an object', headers: json, body: '{"choices":[{"message":', reason: 'JSON that is cut' },
])('of a success that is $what the log, the status and the client are told why', async (sent) => {
  const { headers, body, reason } = sent
  const upstream = await startScriptedUpstream(answer({ headers, body }))
  onTestFinished(() => upstream.close())
  const models = [{ base_url: `${upstream.url}/v1`, api_key: 'k', model: 'm', name: 'odd' }]
  const gateway = await startGateway({ models, settings: { affinity: 'off', queue_timeout: 0 } })
  const response = await gateway.chat()
  const { error } = (await response.json()) as { error: { message: string } }
  expect([response.status, error.message]).toEqual([502, expect.stringContaining(`: ${reason}.`)])

  await gateway.printed(new RegExp(`"status":200,.*"reason":"${reason}"`))
  expect(await upstreamStatus(gateway, 'odd')).toMatchObject({ last_error: { status: 200, reason } })
  expect(gateway.stdout).not.toContain('SECRETPAGE')
})
