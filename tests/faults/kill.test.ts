import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { countedByDay } from '../support/kept-counts.ts'
import { healthy } from '../support/believable.ts'
import { startGateway, temporaryDirectory, type GatewayProcess } from '../support/gateway-process.ts'
import { answer } from '../support/scripted-scenes.ts'
import { startScriptedUpstream } from '../support/scripted-upstream.ts'
import { until } from '../support/until.ts'

interface Window {
  readonly counts: string
  readonly window: string
  readonly used: number
  readonly limit: number
}

async function dayOf(gateway: GatewayProcess): Promise<Window | undefined> {
  const status = (await (await gateway.fetch('/admin/status')).json()) as {
    upstreams: { windows: Window[] }[]
  }
  return status.upstreams[0]?.windows.find(({ counts, window }) => counts === 'requests' && window === 'day')
}

test('a gateway that is killed remembers how much of the day is spent, and does not spend it again', async () => {
  const upstream = await startScriptedUpstream(healthy())
  const directory = temporaryDirectory()
  const config = {
    models: [{ base_url: `${upstream.url}/v1`, model: 'm', api_key: 'key-of-the-test', limits: { rpd: 12 } }],
    settings: { affinity: 'off', queue_timeout: 0 },
  }
  const first = await startGateway(config, { directory })
  for (let asked = 0; asked < 9; asked++) expect((await first.chat()).status).toBe(200)
  const stateFile = join(directory, 'data', 'state.json')
  await until(
    () => readState(stateFile),
    (text) => countedByDay(text) === 9,
  )
  first.signal('SIGKILL')
  await first.exit

  const second = await startGateway(config, { directory })
  expect(await dayOf(second)).toMatchObject({ used: 9, limit: 12 })
  const statuses: number[] = []
  for (let asked = 0; asked < 5; asked++) statuses.push((await second.chat()).status)
  expect(statuses).toEqual([200, 200, 200, 429, 429])
  expect(upstream.requests).toHaveLength(12)
  expect(readState(stateFile)).not.toContain('key-of-the-test')
  await second.stop()
  await upstream.close()
})

test('a gateway that is killed remembers who made an answer', async () => {
  const bodyOf = (id: string): string =>
    JSON.stringify({ id, object: 'response', status: 'completed', output: [{ type: 'message' }] })
  const upstreams = await Promise.all(
    ['resp_a', 'resp_b'].map((id) => startScriptedUpstream(answer({ body: bodyOf(id) }))),
  )
  const directory = temporaryDirectory()
  const config = {
    models: upstreams.map(({ url }, at) => ({ base_url: `${url}/v1`, model: 'ab'[at], name: 'ab'[at] })),
    settings: { affinity: 'off', strategy: 'in_order' },
  }
  const ask = async (gateway: GatewayProcess, body: object): Promise<string | null> => {
    const init = { method: 'POST', body: JSON.stringify({ input: 'hi', ...body }) }
    return (await gateway.fetch('/v1/responses', init)).headers.get('x-aiload-upstream')
  }
  const first = await startGateway(config, { directory })
  expect(await ask(first, { model: 'b' })).toBe('b')
  await until(
    () => readState(join(directory, 'data', 'state.json')),
    (text) => text.includes('answer resp_b'),
  )
  first.signal('SIGKILL')
  await first.exit

  const second = await startGateway(config, { directory })
  expect(await ask(second, {})).toBe('a')
  expect(await ask(second, { previous_response_id: 'resp_b' })).toBe('b')
  await second.stop()
  await Promise.all(upstreams.map((upstream) => upstream.close()))
})

function readState(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
