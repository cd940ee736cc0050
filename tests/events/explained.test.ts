import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Explanation } from '../../src/events/explain.ts'
import type { RequestList } from '../../src/events/requests.ts'
import { completion, errorBody } from '../support/believable.ts'
import { runAiload, startGateway, testToken } from '../support/gateway-process.ts'
import { answer } from '../support/scripted-scenes.ts'
import { startScriptedUpstream } from '../support/scripted-upstream.ts'

const HEADERS = { 'content-type': 'application/json', authorization: `Bearer ${testToken}` }
const ANSWER = 'an answer that nobody may keep'
const PROMPT = 'a prompt that nobody may keep'

async function bed() {
  let asked = 0
  const limited = answer({
    status: 429,
    headers: { 'retry-after': '600' },
    body: errorBody('rate_limit_exceeded', `Slow down, you who asked: ${PROMPT}`),
  })
  const upstream = await startScriptedUpstream((exchange) =>
    (asked++ === 0 ? limited : answer({ body: completion(ANSWER) }))(exchange),
  )
  onTestFinished(() => upstream.close())
  const entry = { base_url: `${upstream.url}/v1`, model: 'm' }
  const config = {
    models: [
      { ...entry, name: 'first', api_key: 'sk-key-of-the-first' },
      { ...entry, name: 'second', api_key: 'sk-key-of-the-second', model: 'n', limits: { rpm: 100 } },
    ],
    settings: { strategy: 'in_order', affinity: 'off' },
  }
  const gateway = await startGateway(config)
  const chat = async (url: string, id?: string): Promise<string> => {
    const body = JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: PROMPT }] })
    const headers = { ...HEADERS, ...(id && { 'x-request-id': id }) }
    const response = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body })
    expect(response.status).toBe(200)
    await response.text()
    return response.headers.get('x-aiload-request-id') ?? response.headers.get('x-request-id') ?? ''
  }
  return { config, gateway, chat }
}

async function read<Shape>(url: string, path: string): Promise<Shape> {
  const response = await fetch(`${url}${path}`, { headers: HEADERS })
  expect([response.status, path]).toEqual([200, path])
  return (await response.json()) as Shape
}

test('a request is explained by the gateway, by another process of it, and by its file while none runs', async () => {
  const { config, gateway, chat } = await bed()
  const ids = [await chat(gateway.url), await chat(gateway.url), await chat(gateway.url, 'mine')]
  const before = await Promise.all(ids.map((id) => read<Explanation>(gateway.url, `/admin/requests/${id}`)))
  const [failedOver, direct] = before
  expect(failedOver).toMatchObject({
    exact: true,
    request: { status: 200, attempts: 2, upstream: 'second' },
    decisions: [
      { kind: 'choice', chosen: 'first', order: ['first', 'second'], unavailable: [] },
      { kind: 'next in order', chosen: 'second' },
    ],
    attempts: [
      { upstream: 'first', outcome: 'rate-limited', status: 429, why: 'in_order' },
      { upstream: 'second', outcome: 'ok', status: 200, why: 'fallback' },
    ],
    end: { status: 200, text: 'second answered' },
  })
  expect(direct?.decisions[0]).toMatchObject({
    chosen: 'second',
    candidates: [{ upstream: 'second', headroom: 0.99 }],
    unavailable: [{ upstream: 'first', why: 'rate-limited', source: 'cooldown' }],
  })
  const until = Date.parse(direct?.decisions[0]?.unavailable[0]?.until ?? '')
  expect(Math.abs(until - Date.now() - 600_000)).toBeLessThan(60_000)

  const { directory } = gateway
  await gateway.stop()
  const told = await runAiload(['explain', ids[0] ?? '', '--json'], { directory })
  expect([told.code, JSON.parse(told.stdout)]).toEqual([0, failedOver])
  const lines = await runAiload(['explain', ids[1] ?? ''], { directory })
  expect(lines.stdout).toMatch(/\n {4}could not until 20\S+Z: first, rate-limited \(cooldown\)\n/)
  expect(lines.stdout).toContain('  taken: second\n')

  const next = await startGateway(config, { directory })
  const after = await Promise.all(ids.map((id) => read<Explanation>(next.url, `/admin/requests/${id}`)))
  expect(after).toEqual(before)
  const { requests, dropped } = await read<RequestList>(next.url, '/admin/requests?limit=2')
  expect([requests.map(({ id }) => id), dropped]).toEqual([ids.slice(1).toReversed(), null])
})

test('names of clients bring no control characters into the terminal, and what is not there is told as such', async () => {
  const { gateway } = await bed()
  const model = 'm\u001b[31m\u009b2J\r\nrequest forged\u202e\u0007'
  const id = 'a.b-c_1'
  const refused = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...HEADERS, 'x-request-id': id },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: PROMPT }] }),
  })
  expect(refused.status).toBe(404)
  await refused.text()
  const port = new URL(gateway.url).port
  const online = await runAiload(['explain', id, '--port', port], { directory: gateway.directory })
  await gateway.stop()
  const offline = await runAiload(['explain', id], { directory: gateway.directory })
  for (const { code, stdout, stderr } of [online, offline]) {
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/: refused without an attempt \(404 model_not_found\)\n$/)
    expect(stdout.split('\n')[0]).toContain('model m\ufffd[31m\ufffd2J\ufffd\ufffdrequest forged\ufffd\ufffd')
    expect(stdout).not.toMatch(/(?!\n)[\p{Cc}\p{Cf}]/u)
  }
  const nobody = await runAiload(['explain', 'nobody\u001b[31m'], { directory: gateway.directory })
  expect(nobody.code).toBe(1)
  expect(nobody.stderr).toMatch(
    /^nothing listens on .*; .*events\.log has no request "nobody\\u001b\[31m"\n$/,
  )
  writeFileSync(join(gateway.directory, 'data/events.log'), 'noise')
  const lost = await runAiload(['explain', id], { directory: gateway.directory })
  expect(lost.stderr).toMatch(/has no request "a\.b-c_1"; 5 bytes of .*events\.log are damaged or of another/)
})

test('an id of a client lists all requests that bear it, and one that nobody has is told how far back it goes', async () => {
  const { gateway, chat } = await bed()
  const ids = [await chat(gateway.url, 'mine'), await chat(gateway.url, 'mine')]
  const { requests } = await read<RequestList>(gateway.url, '/admin/requests/mine')
  expect(requests.map(({ id, client_request_id: theirs }) => [id, theirs])).toEqual(
    ids.toReversed().map((id) => [id, 'mine']),
  )
  const unknown = await fetch(`${gateway.url}/admin/requests/nobody`, { headers: HEADERS })
  expect(unknown.status).toBe(404)
  expect(await unknown.text()).toMatch(/There is no request .*"nobody.*goes back to 20/)
})

test('what is kept holds no prompt, no answer and no key', async () => {
  const { gateway, chat } = await bed()
  await chat(gateway.url)
  await gateway.stop()
  const files = readdirSync(gateway.directory, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /events/.test(name),
  )
  expect(files.toSorted()).toEqual(['data/events.key', 'data/events.log'])
  for (const name of files) {
    const bytes = readFileSync(join(gateway.directory, name), 'latin1')
    for (const secret of [PROMPT, ANSWER, 'sk-key', testToken]) expect(bytes).not.toContain(secret)
  }
})

test.each(['limit=0', 'limit=1001', 'limit=x', 'limit=1.5', 'status=abc', 'status=4x'])(
  'GET /admin/requests?%s is refused in words that say what may be asked',
  async (query) => {
    const { gateway } = await bed()
    const refused = await fetch(`${gateway.url}/admin/requests?${query}`, { headers: HEADERS })
    expect([refused.status, await refused.text()]).toEqual([
      400,
      expect.stringMatching(/is a (?:whole )?number/),
    ])
  },
)
