import { describe, expect, test } from 'vitest'
import { createApp } from '../../src/app.ts'
import { TransportError } from '../../src/transport/transport.ts'
import { ask, errorOf } from '../support/ask.ts'
import {
  answer,
  configOf,
  createTestApp,
  errorAnswer,
  jsonAnswer,
  TOKEN,
  type FakeUpstream,
} from '../support/test-app.ts'

const two = ['a.test', 'b.test']
const sole = (upstream: FakeUpstream = () => jsonAnswer(200, {})) =>
  createTestApp(configOf(['a.test']), upstream)
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const streamOf = (...chunks: string[]) =>
  new ReadableStream<Uint8Array>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(bytesOf(chunk))
      controller.close()
    },
  })

describe('where other paths go', () => {
  test('to the sole upstream', async () => {
    const gateway = sole()
    expect((await ask(gateway, '/v1/files')).status).toBe(200)
    expect(gateway.calls[0]).toMatchObject({
      method: 'GET',
      url: 'https://a.test/v1/files',
      headers: { authorization: 'Bearer key-a.test' },
    })
    expect(gateway.calls[0]).not.toHaveProperty('body')
  })

  test('to the one that settings.passthrough names', async () => {
    const gateway = createTestApp(configOf(two, { settings: { passthrough: 'b.test' } }), () =>
      jsonAnswer(200, {}),
    )
    await ask(gateway, '/v1/files')
    expect(gateway.hosts()).toEqual(['b.test'])
  })

  test('nowhere among several: 404 that says why', async () => {
    const gateway = createTestApp(configOf(two), () => jsonAnswer(200, {}))
    const response = await ask(gateway, '/v1/files', { body: '{}' })
    expect(response.status).toBe(404)
    const error = await errorOf(response)
    expect(error.code).toBe('unsupported_endpoint')
    expect(error.message).toMatch(/^\/v1\/files exists on one account only.*settings\.passthrough names one/)
    expect(gateway.calls).toHaveLength(0)
  })

  test.each([
    { root: 'https://a.test/v1', isOpen: true },
    { root: 'https://a.test/v1beta', isOpen: true },
    { root: 'https://a.test/api/v3/', isOpen: true },
    { root: 'https://a.test/api/paas/v4/chat/completions', isOpen: true },
    { root: 'https://a.test/v1.2', isOpen: true },
    { root: 'https://a.test', isOpen: false },
    { root: 'https://a.test/v1/openai', isOpen: false },
    { root: 'https://a.test/openai/deployments/v', isOpen: false },
    { root: 'https://v1.a.test/', isOpen: false },
  ])('below $root: $isOpen', async ({ root, isOpen }) => {
    const config = configOf(['a.test'], {
      models: { base_url: root },
      settings: { passthrough_paths: 'all' },
    })
    const gateway = createTestApp(config, () => jsonAnswer(200, {}))
    const response = await ask(gateway, '/v1/files')
    expect([response.status, gateway.calls.length]).toEqual(isOpen ? [200, 1] : [404, 0])
    if (!isOpen) expect((await errorOf(response)).message).toContain('base_url does not end in a version')
    const listed = await ask(gateway, '/v1/chat/completions')
    expect([listed.status, listed.headers.get('allow')]).toEqual(isOpen ? [200, null] : [405, 'POST'])
  })

  test('not to an upstream that is disabled', async () => {
    const gateway = createTestApp(configOf(['a.test'], { models: { enabled: false } }), () =>
      jsonAnswer(200, {}),
    )
    const response = await ask(gateway, '/v1/files')
    expect(response.status).toBe(503)
    expect((await errorOf(response)).code).toBe('no_upstream')
  })

  test('a reload that adds an upstream ends it', async () => {
    const gateway = sole()
    gateway.apply(configOf(two))
    expect((await ask(gateway, '/v1/files')).status).toBe(404)
  })
})

describe('which paths are passed on', () => {
  const listed = [
    'files/f_1/content',
    'uploads/u_1/parts',
    'batches/b_1/cancel',
    'vector_stores/vs_1/files',
    'assistants',
    'threads/t_1/messages',
    'fine_tuning/jobs',
    'responses/r_1/input_items',
    'conversations/c_1/items',
    'containers/c_1/files',
    'evals/e_1/runs',
    'videos/v_1/content',
    'chatkit/sessions',
    'skills',
    'chat/completions/c_1/messages',
    'Files',
    'files//',
  ]
  test.each(listed)('%s is, to a sole upstream and to one that is named', async (path) => {
    for (const [hosts, passthrough] of [
      [['a.test'], undefined],
      [two, 'a.test'],
    ] as const) {
      const gateway = createTestApp(configOf(hosts, { settings: { passthrough } }), () => jsonAnswer(200, {}))
      expect((await ask(gateway, `/v1/${path}`)).status).toBe(200)
      expect(gateway.calls.map(({ url }) => url)).toEqual([`https://a.test/v1/${path}`])
    }
  })

  const administration = [
    'organization/admin_api_keys',
    'organization/projects/p_1/api_keys',
    'Organization/usage/costs',
    'organization',
    'realtime/client_secrets',
    'realtime/sessions',
    'keys',
    'key/generate',
    'users',
    'user/new',
    'admin/x',
    'dashboard/billing',
    'credits',
    'filesystem',
    'chat',
    'engines/e/completions',
    'toString',
  ]
  test.each(administration)('%s is not, unless all are: 404 that says so', async (path) => {
    for (const settings of [{}, { passthrough: 'b.test' }]) {
      const gateway = createTestApp(configOf(settings.passthrough ? two : ['a.test'], { settings }), () =>
        jsonAnswer(200, {}),
      )
      const response = await ask(gateway, `/v1/${path}`, { body: '{}' })
      expect([response.status, gateway.calls.length]).toEqual([404, 0])
      const { code, message } = await errorOf(response)
      expect(code).toBe('unsupported_endpoint')
      expect(message).toContain('(settings.passthrough_paths); "all" opens every path')
      expect(message).not.toContain('one account only')
    }
    const open = createTestApp(configOf(['a.test'], { settings: { passthrough_paths: 'all' } }), () =>
      jsonAnswer(200, {}),
    )
    expect((await ask(open, `/v1/${path}`, { body: '{}' })).status).toBe(200)
    expect(open.calls.map(({ url }) => url)).toEqual([`https://a.test/v1/${path}`])
  })

  test('among several upstreams an unlisted path is told of both settings', async () => {
    const gateway = createTestApp(configOf(two), () => jsonAnswer(200, {}))
    const { message } = await errorOf(await ask(gateway, '/v1/dashboard/billing'))
    expect(message).toMatch(/settings\.passthrough together with settings\.passthrough_paths "all"/)
  })

  test.each(['/v1', '/v1/', '/v1//'])('%s is the root itself, and never passed on', async (path) => {
    const config = configOf(['a.test'], { settings: { passthrough_paths: 'all' } })
    const gateway = createTestApp(config, () => jsonAnswer(200, {}))
    const response = await ask(gateway, path)
    expect([response.status, gateway.calls.length]).toEqual([404, 0])
    expect((await errorOf(response)).message).toContain('The API is below it')
  })

  test('a list of its own takes the place of the usual one', async () => {
    const config = configOf(['a.test'], { settings: { passthrough_paths: ['credits', 'files/public'] } })
    const gateway = createTestApp(config, () => jsonAnswer(200, {}))
    const statuses = []
    for (const path of ['credits', 'files/public/f', 'files', 'files/publicity', 'chat/completions'])
      statuses.push((await ask(gateway, `/v1/${path}`)).status)
    expect(statuses).toEqual([200, 200, 404, 404, 405])
  })

  test('where all are, relayed paths still go to the pool', async () => {
    const config = configOf(['a.test'], { settings: { passthrough_paths: 'all' } })
    const gateway = createTestApp(config, ({ host }) => answer(host))
    for (const path of ['Chat/Completions', 'chat/completions;v=1', '%43hat%2Fcompletions//'])
      expect((await ask(gateway, `/v1/${path}`, { body: '{"model":"auto"}' })).status).toBe(200)
    expect(gateway.calls.map(({ text }) => JSON.parse(text))).toEqual(
      Array.from({ length: 3 }, () => ({ model: 'model-a.test' })),
    )
  })
})

describe('what is passed on', () => {
  test.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'PROPFIND'])('%s stays %s', async (method) => {
    const gateway = sole()
    expect((await ask(gateway, '/v1/threads/t_1', { method })).status).toBe(200)
    expect(gateway.calls[0]!.method).toBe(method)
  })

  test.each([
    { method: 'GET', mayResend: undefined },
    { method: 'HEAD', mayResend: undefined },
    { method: 'PUT', mayResend: undefined },
    { method: 'DELETE', mayResend: undefined },
    { method: 'POST', mayResend: false },
    { method: 'PATCH', mayResend: false },
    { method: 'PROPFIND', mayResend: false },
  ])(
    '$method is sent again over a fresh connection only where it is idempotent',
    async ({ method, mayResend }) => {
      const gateway = sole()
      await ask(gateway, '/v1/threads/t_1', { method })
      expect(gateway.calls[0]?.mayResend).toBe(mayResend)
    },
  )

  test('path, query and body stay byte for byte, a model in it too', async () => {
    const gateway = sole()
    const body = ' {"model":"auto", "n":12345678901234567890} '
    const rest = 'fine_tuning/jobs/a%20b%2Fc%3A%3B/=x=1//events/?;after=%E4%BD%A0&limit=2&x[]=1&x[]=+&&y'
    await ask(gateway, `/v1/${rest}`, { body })
    expect(gateway.calls[0]).toMatchObject({ url: `https://a.test/v1/${rest}`, text: body })
  })

  test('a query stays as it was on the wire, where the runtime tells', async () => {
    const { deps, calls } = sole()
    const target = "/v1/files?q=it's%20%C3%A4&r=1"
    const receive: typeof deps.receive = (request, env) => ({ ...deps.receive(request, env), target })
    const request = new Request(`http://gateway.test${target}`, { headers: { 'api-key': TOKEN } })
    await createApp({ ...deps, receive }).fetch(request, {})
    expect(calls[0]!.url).toBe(`https://a.test${target}`)
  })

  test('a form stays a form', async () => {
    const gateway = sole()
    const body = '--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nauto\r\n--b--\r\n'
    const headers = { 'content-type': 'multipart/form-data; boundary=b' }
    await ask(gateway, '/v1/files', { body, headers })
    expect(gateway.calls[0]).toMatchObject({ text: body, headers })
  })

  test('the query that the configuration gives an upstream comes first', async () => {
    const config = configOf(['a.test'], { models: { base_url: 'https://a.test/v1?api-version=2' } })
    const gateway = createTestApp(config, () => jsonAnswer(200, {}))
    await ask(gateway, '/v1/files?limit=1')
    expect(gateway.calls[0]!.url).toBe('https://a.test/v1/files?api-version=2&limit=1')
  })

  test('methods that OpenAI has on a path of ours', async () => {
    const gateway = sole()
    for (const [method, path] of [
      ['GET', 'chat/completions?limit=1'],
      ['DELETE', 'models/ft:gpt%2Fx'],
      ['GET', 'chat/completions/c_1'],
      ['POST', 'responses/r_1/cancel'],
    ] as const) {
      expect((await ask(gateway, `/v1/${path}`, { method })).status).toBe(200)
      expect(gateway.calls.at(-1)).toMatchObject({ method, url: `https://a.test/v1/${path}` })
    }
  })

  test.each([
    'files/..%2f..%2fadmin',
    'files/%2e%2e%2fx',
    '%2e%2e%5cx',
    'x/.%2e%2fy',
    '%2E%2Fx',
    'files/..%20%2fx',
    'files/f;x=1',
    'files;a/f',
    'files/f%00',
    'files/%0d%0aset-cookie',
    'files/%1F',
    'files/%7f',
    'files/%C2%85',
    'files/a%252e',
    'files/a%25',
    'files/a%5Cb',
    'files/a%5cb',
    'files/%ff',
    'files/%c0%ae%c0%ae/x',
    'files/%ed%a0%80',
    'files/%',
    'files/%4',
    'files/%zz',
    'responses/r%00',
    'chat/completions/c;x/messages',
    'nowhere/%25',
  ])('%s means different things to different readers: 400, and goes nowhere', async (path) => {
    for (const hosts of [['a.test'], two]) {
      const settings = { passthrough_paths: 'all' }
      const gateway = createTestApp(configOf(hosts, { settings }), () => jsonAnswer(200, {}))
      const response = await ask(gateway, `/v1/${path}`)
      expect(response.status).toBe(400)
      expect((await errorOf(response)).code).toBe('bad_request')
      expect(gateway.calls).toHaveLength(0)
    }
  })

  test.each([
    '/v1/files/../organization/x',
    '/v1/files/./x',
    '/v1/../v1/files',
    '/x/../v1/files',
    '/../v1/files',
    '/./v1/files',
    '/v1/files/..',
    '/v1/responses/%2e%2e',
    '/v1/chat/../chat/completions',
  ])('%s as it was on the wire, where the runtime tells', async (target) => {
    const { deps, calls } = createTestApp(
      configOf(['a.test'], { settings: { passthrough_paths: 'all' } }),
      () => jsonAnswer(200, {}),
    )
    const receive: typeof deps.receive = (request, env) => ({ ...deps.receive(request, env), target })
    const request = new Request(`http://gateway.test${target}`, { headers: { 'api-key': TOKEN } })
    expect((await createApp({ ...deps, receive }).fetch(request, {})).status).toBe(400)
    expect(calls).toHaveLength(0)
  })

  test.each([
    'files/a..b',
    'files/...',
    'files/.hidden',
    'files/..x',
    'files/%E4%BD%A0',
    'files/%f0%9f%92%a5',
  ])('%s only looks like it', async (path) => {
    expect((await ask(sole(), `/v1/${path}`)).status).toBe(200)
  })

  test('TRACE is not, since it would show the key', async () => {
    const gateway = sole()
    const request = new Request('http://gateway.test/v1/files', { headers: { 'api-key': TOKEN } })
    Object.defineProperty(request, 'method', { value: 'TRACE' })
    const response = await gateway.app.fetch(request, {})
    expect(response.status).toBe(405)
    expect(gateway.calls).toHaveLength(0)
  })
})

describe('what comes back', () => {
  test.each([200, 201, 302, 400, 401, 402, 404, 409, 422, 429, 500, 503])(
    '%i with its body',
    async (status) => {
      const gateway = sole(() => errorAnswer(status, 'vendor_code', { location: 'https://elsewhere.test/' }))
      const response = await ask(gateway, '/v1/files/f_1')
      expect(response.status).toBe(status)
      expect(response.headers.get('location')).toBeNull()
      expect(response.headers.get('x-aiload-upstream')).toBe('a.test')
      expect((await errorOf(response)).code).toBe('vendor_code')
      expect(gateway.openLeases).toBe(0)
    },
  )

  test.each([204, 205, 304])('%i without one', async (status) => {
    for (const body of [new Uint8Array(0), streamOf(), streamOf('junk')]) {
      const gateway = sole(() => ({ status, headers: {}, body }))
      const response = await ask(gateway, '/v1/files/f_1', { method: 'DELETE' })
      expect(response.status).toBe(status)
      expect(response.body).toBeNull()
      expect(gateway.openLeases).toBe(0)
      expect(gateway.requests()).toHaveLength(1)
    }
  })

  test('the headers of a HEAD', async () => {
    const gateway = sole(() => ({
      status: 200,
      headers: { 'content-type': 'application/json' },
      body: streamOf('junk'),
    }))
    const response = await ask(gateway, '/v1/files', { method: 'HEAD' })
    expect([response.status, response.headers.get('content-type'), await response.text()]).toEqual([
      200,
      'application/json',
      '',
    ])
    expect(gateway.openLeases).toBe(0)
  })

  test('a stream, chunk by chunk, whose end settles it', async () => {
    const gateway = sole(() => ({
      status: 200,
      headers: { 'content-type': 'application/octet-stream' },
      body: streamOf('a', 'bc'),
    }))
    const response = await ask(gateway, '/v1/files/f_1/content')
    expect(gateway.openLeases).toBe(1)
    expect(await response.text()).toBe('abc')
    expect(gateway.openLeases).toBe(0)
    expect(gateway.requests()).toMatchObject([
      { endpoint: 'passthrough', status: 200, upstream: 'a.test', attempts: [{ outcome: 'ok' }] },
    ])
  })

  test('a large refusal whole, although its beginning was read for a hint', async () => {
    const chunks = Array.from({ length: 30 }, (_, at) => String(at % 10).repeat(10_000))
    const gateway = sole(() => ({
      status: 429,
      headers: { 'content-type': 'text/plain' },
      body: streamOf(...chunks),
    }))
    expect(await (await ask(gateway, '/v1/files')).text()).toBe(chunks.join(''))
    expect(gateway.openLeases).toBe(0)
  })

  test.each([199, 600, 999])('an envelope for the status %i, which is none', async (status) => {
    const gateway = sole(() => ({ status, headers: {}, body: streamOf('x') }))
    const response = await ask(gateway, '/v1/files')
    expect([response.status, (await errorOf(response)).code]).toEqual([502, 'upstream_bad_response'])
    expect(gateway.openLeases).toBe(0)
  })

  test.each([
    { failure: 'not-sent', status: 502, code: 'upstream_unavailable' },
    { failure: 'connect-timeout', status: 504, code: 'upstream_timeout' },
    { failure: 'timeout', status: 504, code: 'upstream_timeout' },
    { failure: 'broken', status: 502, code: /upstream_/ },
  ] as const)('an envelope after $failure, and no second attempt', async ({ failure, status, code }) => {
    const gateway = sole(() => {
      throw new TransportError(failure, 'gone')
    })
    const response = await ask(gateway, '/v1/files')
    expect(response.status).toBe(status)
    expect((await errorOf(response)).code).toMatch(code)
    expect(gateway.calls).toHaveLength(1)
    expect(gateway.openLeases).toBe(0)
    expect(gateway.requests()).toMatchObject([{ status, attempts: [{ upstream: 'a.test' }] }])
  })
})

describe('what cools', () => {
  const cooling = async (upstream: FakeUpstream): Promise<boolean> => {
    const gateway = createTestApp(
      configOf(two, { settings: { passthrough: 'a.test', strategy: 'in_order' } }),
      (request, ...rest) =>
        request.url.includes('/files') ? upstream(request, ...rest) : answer(request.host),
    )
    await ask(gateway, '/v1/files').then((response) => response.text())
    await gateway.chat()
    return gateway.hosts().at(-1) === 'b.test'
  }

  test.each([401, 402, 429])('%i does', async (status) => {
    expect(await cooling(() => errorAnswer(status))).toBe(true)
  })

  test('what was never sent does', async () => {
    const fail = () => {
      throw new TransportError('not-sent', 'refused')
    }
    expect(await cooling(fail)).toBe(true)
  })

  test.each([400, 403, 404, 408, 500, 502, 503, 529])('%i does not', async (status) => {
    expect(await cooling(() => errorAnswer(status))).toBe(false)
  })

  test('a break or a silence does not', async () => {
    for (const failure of ['broken', 'timeout', 'undecodable'] as const) {
      const fail = () => {
        throw new TransportError(failure, 'gone')
      }
      expect(await cooling(fail)).toBe(false)
    }
  })

  test('one that rests is asked all the same, since nobody else could answer', async () => {
    const gateway = createTestApp(configOf(['a.test']), () =>
      errorAnswer(429, 'slow_down', { 'retry-after': '30' }),
    )
    await ask(gateway, '/v1/files')
    expect((await ask(gateway, '/v1/files')).status).toBe(429)
    expect(gateway.calls).toHaveLength(2)
  })
})

test('a client that leaves is an end that blames nobody', async () => {
  const controller = new AbortController()
  const gateway = sole((_request, signal) => {
    controller.abort()
    expect(signal.aborted).toBe(true)
    throw new TransportError('aborted', 'gone')
  })
  const request = new Request('http://gateway.test/v1/files', { headers: { 'api-key': TOKEN } })
  const response = await gateway.app.fetch(request, { clientSignal: controller.signal })
  expect(response.status).toBe(499)
  expect(gateway.requests()).toMatchObject([{ status: 499, attempts: [{ outcome: 'aborted' }] }])
  expect(gateway.openLeases).toBe(0)
})

test('what is passed on counts against the configured limits', async () => {
  const gateway = createTestApp(
    configOf(['a.test'], { models: { limits: { rpm: 2 } }, settings: { queue_timeout: 0 } }),
    ({ host }) => answer(host),
  )
  await ask(gateway, '/v1/files')
  await gateway.chat()
  expect((await gateway.chat()).status).toBe(429)
})
