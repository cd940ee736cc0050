/**
 * Paths besides those that are relayed, on real sockets: what is passed on comes to the upstream and back byte for byte
 * and once, what is stored is asked of whoever made it, and everything else is refused before an upstream hears of it.
 */
import { afterEach, beforeAll, afterAll, describe, expect, test } from 'vitest'
import { healthy } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { answersIn } from '../support/raw-answers.ts'
import { connectRaw, headOf } from '../support/raw-client.ts'
import { answer, close } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type Scene, type ScriptedUpstream } from '../support/scripted-upstream.ts'

let upstream: ScriptedUpstream
let scene: Scene = healthy()
let sole: GatewayProcess
let open: GatewayProcess

beforeAll(async () => {
  upstream = await startScriptedUpstream((exchange) => scene(exchange))
  const models = [{ base_url: `${upstream.url}/v1`, model: 'm', api_key: 'upstream-key' }]
  const settings = { affinity: 'off' }
  sole = await startGateway({ models, settings })
  open = await startGateway({ models, settings: { ...settings, passthrough_paths: 'all' } })
})

afterAll(async () => {
  await Promise.all([sole.stop(), open.stop()])
  await upstream.close()
  expect(sole.stderr + open.stderr).toBe('')
})

afterEach(() => {
  scene = healthy()
})

/** Sends a target as it is, which no client library does; gives the answer, and what came to the upstream meanwhile. */
async function send(gateway: GatewayProcess, method: string, target: string, body?: string) {
  const before = upstream.requests.length
  const client = await connectRaw(gateway.port)
  const headers = {
    authorization: `Bearer ${gateway.token}`,
    connection: 'close',
    ...(body !== undefined && {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    }),
  }
  client.send(headOf(`${method} ${target} HTTP/1.1`, headers) + (body ?? ''))
  await client.ended()
  const [got] = answersIn(client.text)
  return { status: got?.status, body: got?.body, seen: upstream.requests.slice(before) }
}

describe('what is passed on', () => {
  test.each([
    "/v1/files/it's%20%E4%BD%A0%2Fa%3Ab//?q='%27\"<>|^`{}\\&&x[]=%zz",
    '/v1/threads/t_1/',
    '/v1/Batches?',
    '/v1/files/a%3bb%3Fc%23d?a=1?b=2',
  ])('%s is the same at the upstream', async (target) => {
    const body = ' {"model":"mine", "n":1.0} '
    const { status, seen } = await send(sole, 'POST', target, body)
    expect(status).toBe(200)
    expect(seen).toMatchObject([{ method: 'POST', path: target.replace(/\?$/, '') }])
    expect(Buffer.from(seen[0]!.body).toString()).toBe(body)
  })

  test.each([204, 304, 404, 409, 503])('%i comes back as it was', async (status) => {
    const body = status === 204 || status === 304 ? '' : '<p>\u0000 as it was</p>'
    const headers = { 'content-type': 'text/html', ...(body && { 'content-length': String(body.length) }) }
    scene = answer({
      status,
      headers,
      body,
      ...(body === '' && { framing: 'close' as const, ending: 'close' as const }),
    })
    const got = await send(sole, 'GET', '/v1/files/f_1')
    expect(got).toMatchObject({ status, body, seen: [{ path: '/v1/files/f_1' }] })
  })

  test.each([
    { method: 'POST', sent: 1, status: 502 },
    { method: 'PATCH', sent: 1, status: 502 },
    { method: 'DELETE', sent: 2, status: 200 },
  ])('$method is sent $sent time(s) where the kept connection has died', async ({ method, sent, status }) => {
    await send(sole, 'GET', '/v1/files')
    scene = (exchange) => (exchange.request.nth === 1 ? healthy() : close())(exchange)
    const got = await send(sole, method, '/v1/files/f_1')
    expect([got.seen.length, got.status]).toEqual([sent, status])
  })
})

describe('what is refused', () => {
  test.each([
    '/v1/files/../organization/admin_api_keys',
    '/v1/files/../../admin/status',
    '/v1/./organization',
    '/v1/../v1/organization/x',
    '/v1/files/%2e%2e/x',
    '/v1/files/..%5cx',
    '/v1/files\\..\\organization',
    '/v1/files/%252e%252e/x',
    '/v1/files/f;/../x',
    '/v1/files/f%00.txt',
    '/v1/files/%c0%ae%c0%ae/x',
    '/v1/responses/..%2f..%2fx',
    '/v1/../admin/status',
    '/v1/%2e%2e/admin/status',
    '/v1/.%2E\\admin/status',
    '/admin/./status',
    '/x/..',
    'http://gateway.test/x/../healthz?a=/b',
  ])('%s: 400, and nobody is asked', async (target) => {
    for (const gateway of [sole, open]) {
      const { status, seen } = await send(gateway, 'GET', target)
      expect(status).toBe(400)
      expect(seen).toEqual([])
    }
  })

  test.each(['/v1/organization/admin_api_keys', '/v1/realtime/client_secrets', '/v1/keys'])(
    '%s: 404 with the sole upstream unasked',
    async (target) => {
      const { status, seen } = await send(sole, 'POST', target, '{}')
      expect([status, seen]).toEqual([404, []])
      expect((await send(open, 'POST', target, '{}')).seen).toHaveLength(1)
    },
  )

  test('the log line has method and path, below /v1 and elsewhere, and never the query', async () => {
    for (const target of [
      '/v1/organization/x?key=SECRET',
      '/v1beta/models/x:generateContent?key=SECRET',
      '/.env',
    ]) {
      const [path = ''] = target.split('?')
      await send(sole, 'POST', target, '{}')
      const [line] = await sole.printed(new RegExp(`.*"path":"${path.replaceAll('.', '\\.')}".*`))
      expect(JSON.parse(line)).toMatchObject({ event: 'request', method: 'POST', path, status: 404 })
    }
    expect(sole.stdout).not.toContain('SECRET')
  })
})

describe('a relayed path in another spelling', () => {
  test.each([
    '/v1/Chat/Completions',
    '/v1/chat/completions;jsessionid=1',
    '/v1//chat/%63ompletions/',
    '/v1/chat%2fcompletions',
    '/v1/EMBEDDINGS',
    '/v1/Responses/Input_Tokens',
    '/v1/responses/compact/',
  ])('%s never carries a model of the client', async (target) => {
    for (const gateway of [sole, open]) {
      const named = await send(gateway, 'POST', target, '{"model":"mine","input":"x","messages":[]}')
      expect([named.status, named.seen.length]).toEqual([404, 0])
      const { seen } = await send(gateway, 'POST', target, '{"model":"auto","input":"x","messages":[]}')
      expect(seen.length).toBeGreaterThan(0)
      for (const { body } of seen)
        expect(JSON.parse(Buffer.from(body).toString())).toMatchObject({ model: 'm' })
    }
  })
})

test('a start says what it means that every path is passed on, and only then', async () => {
  await open.printed(/clients reach every path of the account of \\"m@127\.0\.0\.1:\d+\\" with its key/)
  expect(sole.stdout).not.toContain('every path')
})

test('stored answers are asked of the upstream that made them, also after a restart', async () => {
  const makers = await Promise.all(
    ['a', 'b'].map((name) =>
      startScriptedUpstream((exchange) => {
        const { method, path } = exchange.request
        const id = path.endsWith('/responses') ? `resp_${name}` : `chatcmpl-${name}`
        const choices = [{ index: 0, message: { role: 'assistant', content: 'hi' }, finish_reason: 'stop' }]
        const output = [{ type: 'message', content: [{ type: 'output_text', text: 'hi' }] }]
        const made = { id, object: 'x', status: 'completed', output, choices }
        const isMade = method === 'POST' && /\/(?:responses|completions)$/.test(path)
        return answer({ body: JSON.stringify(isMade ? made : { by: name }) })(exchange)
      }),
    ),
  )
  const config = {
    models: makers.map(({ url }, at) => ({
      base_url: `${url}/v1`,
      model: 'm',
      name: 'ab'[at],
      api_key: `k${at}`,
    })),
    settings: { strategy: 'round_robin', affinity: 'off' },
  }
  let gateway = await startGateway(config)
  const paths: [path: string, by: string][] = []
  for (const path of ['responses', 'chat/completions', 'responses', 'chat/completions']) {
    const body = { model: 'auto', input: `${path} ${paths.length}`, messages: [], store: true }
    const made = await gateway.fetch(`/v1/${path}`, { method: 'POST', body: JSON.stringify(body) })
    const { id } = (await made.json()) as { id: string }
    paths.push([`/v1/${path}/${id}`, made.headers.get('x-aiload-upstream') ?? ''])
  }
  expect(new Set(paths.map(([, by]) => by))).toEqual(new Set(['a', 'b']))
  for (const round of ['before', 'after']) {
    for (const [path, by] of paths) {
      const got = await gateway.fetch(path)
      expect([round, path, await got.json()]).toEqual([round, path, { by }])
    }
    await gateway.stop()
    if (round === 'before') gateway = await startGateway(config, { directory: gateway.directory })
  }
  for (const maker of makers) await maker.close()
})
