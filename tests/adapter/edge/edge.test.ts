import { beforeEach, describe, expect, test, vi } from 'vitest'
import { createWorker, type WorkerEnv } from '../../../src/adapter/cloudflare/gateway.ts'
import { createEdgeHandler } from '../../../src/adapter/edge/edge.ts'

// The log of an edge is the console.
beforeEach(() => void vi.spyOn(console, 'log').mockImplementation(() => {}))

const UPSTREAM = { api_key: 'sk-upstream-secret', base_url: 'https://a.test/v1', model: 'm' }
const TOKEN = 'sk-the-client-token'

const asked = (token?: string): Request =>
  new Request('https://gateway.test/v1/models', {
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
  })

async function refusal(env: WorkerEnv, token?: string): Promise<string> {
  const answer = await createWorker(env, () => {})(asked(token))
  expect(answer.status).toBe(503)
  const { error } = (await answer.json()) as { error: { message: string; code: string; type: string } }
  expect(error).toMatchObject({ code: 'not_configured', type: 'server_error' })
  return error.message
}

describe('a Worker', () => {
  test('with a configuration and a token serves who holds it', async () => {
    const handle = createWorker(
      { AILOAD_CONFIG: JSON.stringify({ models: [UPSTREAM] }), AUTH_TOKEN: TOKEN },
      () => {},
    )
    expect((await handle(asked(TOKEN))).status).toBe(200)
    expect((await handle(asked('sk-other'))).status).toBe(401)
    expect((await handle(asked())).status).toBe(401)
  })

  test('takes the token of the configuration where there is no secret, and the secret where both are', async () => {
    const AILOAD_CONFIG = JSON.stringify({ auth_token: 'sk-inside', models: [UPSTREAM] })
    expect((await createWorker({ AILOAD_CONFIG }, () => {})(asked('sk-inside'))).status).toBe(200)
    expect(
      (await createWorker({ AILOAD_CONFIG, AUTH_TOKEN: TOKEN }, () => {})(asked('sk-inside'))).status,
    ).toBe(401)
  })

  test('knows the tokens of clients, and keeps what is the operator’s from them', async () => {
    const alice = `sk-${'a'.repeat(40)}`
    const tokens = [{ name: 'alice', token: '${ALICE}', models: ['m'], limits: { rpm: 5 } }]
    const AILOAD_CONFIG = JSON.stringify({ models: [UPSTREAM], tokens })
    const env = { AILOAD_CONFIG, AUTH_TOKEN: TOKEN, ALICE: alice }
    const handle = createWorker(env, () => {})
    expect((await handle(asked(alice))).status).toBe(200)
    expect((await handle(asked(`${alice}x`))).status).toBe(401)
    const of = (token: string) => new Request('https://gateway.test/admin/tokens', asked(token))
    expect((await handle(of(alice))).status).toBe(403)
    expect(await (await handle(of(TOKEN))).json()).toMatchObject({
      tokens: [{ name: 'alice', models: ['m'], limits: [{ limit: 5, left: 5 }] }],
    })
  })

  test('serves nobody where the token of a client is the secret too: all would be open to that client', async () => {
    const token = `sk-${'a'.repeat(40)}`
    const AILOAD_CONFIG = JSON.stringify({ models: [UPSTREAM], tokens: [{ name: 'alice', token }] })
    const refused = await createWorker({ AILOAD_CONFIG, AUTH_TOKEN: token }, () => {})(asked(token))
    expect([refused.status, await refused.text()]).toEqual([503, expect.stringContaining('tokens[0].token')])
  })

  test('reads variables and secrets that the configuration refers to', async () => {
    const env = {
      AILOAD_CONFIG: JSON.stringify({ models: [{ ...UPSTREAM, api_key: '${KEY}' }] }),
      AUTH_TOKEN: TOKEN,
      KEY: 'sk-k',
    }
    expect((await createWorker(env, () => {})(asked(TOKEN))).status).toBe(200)
  })

  test('warns of a slip in its log and in its status', async () => {
    const slip = { ...UPSTREAM, api_key: 'Bearer sk-upstream-secret', wieght: 2 }
    const env = { AILOAD_CONFIG: JSON.stringify({ models: [slip] }), AUTH_TOKEN: TOKEN }
    const request = new Request('https://gateway.test/admin/status', asked(TOKEN))
    const answer = await createWorker(env, () => {})(request)
    const { config_warnings } = (await answer.json()) as { config_warnings: string[] }
    expect(config_warnings).toEqual([
      expect.stringContaining('models[0].api_key: begins with the word Bearer'),
      expect.stringContaining('models[0].wieght: unknown key, it is ignored; did you mean weight?'),
    ])
    const logged = vi.mocked(console.log).mock.calls.map(([line]) => JSON.parse(String(line)) as object)
    for (const message of config_warnings)
      expect(logged).toContainEqual(expect.objectContaining({ level: 'warn', event: 'notice', message }))
    expect(JSON.stringify([config_warnings, logged])).not.toContain('sk-upstream-secret')
  })

  test('without a token serves nobody, and says what to set', async () => {
    const message = await refusal({ AILOAD_CONFIG: JSON.stringify({ auth_token: '', models: [UPSTREAM] }) })
    expect(message).toContain('AUTH_TOKEN')
    expect(message).toContain('wrangler secret put')
  })

  test('without a configuration says what to set', async () => {
    expect(await refusal({})).toMatch(/AILOAD_CONFIG and AUTH_TOKEN must be set/)
    expect(await refusal({ AUTH_TOKEN: TOKEN, AILOAD_CONFIG: ' ' })).toMatch(/AILOAD_CONFIG must be set/)
  })

  test.each([
    { text: '{"models": [', shows: /AILOAD_CONFIG:1:\d+/, because: 'it does not parse' },
    { text: '{"models": []}', shows: /models/, because: 'there is no upstream' },
    { text: '[1]', shows: /AILOAD_CONFIG:1:1/, because: 'it is no object' },
    {
      text: JSON.stringify({ models: [{ ...UPSTREAM, api_key: '${NOT_SET}' }] }),
      shows: /NOT_SET is not set/,
      because: 'a secret is missing',
    },
    {
      text: JSON.stringify({ models: [{ ...UPSTREAM, base_url: 'not a url' }] }),
      shows: /models\[0\]\.base_url/,
      because: 'a URL is none',
    },
  ])('tells its problems to who holds the token alone: $because', async ({ text, shows }) => {
    const env = { AILOAD_CONFIG: text, AUTH_TOKEN: TOKEN }
    const [told, wrong, none] = [
      await refusal(env, TOKEN),
      await refusal(env, 'sk-wrong'),
      await refusal(env),
    ]
    expect(told).toMatch(shows)
    expect(wrong).toBe(none)
    expect(none).not.toMatch(shows)
    for (const message of [told, wrong, none])
      expect(message).not.toMatch(/sk-upstream-secret|sk-the-client-token|not a url/)
  })

  test('takes the token of a configuration that is wrong elsewhere, but never a reference that is not set', async () => {
    expect(await refusal({ AILOAD_CONFIG: '{"auth_token":"sk-inside","models":[]}' }, 'sk-inside')).toMatch(
      /models/,
    )
    const two = { AILOAD_CONFIG: '{"auth_token":["sk-new","sk-old"],"models":[]}' }
    for (const token of ['sk-new', 'sk-old']) expect(await refusal(two, token)).toMatch(/models/)
    expect(await refusal(two, 'sk-none')).not.toMatch(/models/)
    const openHandler = { AILOAD_CONFIG: '{"auth_token":"${MISSING}","models":[]}' }
    expect(await refusal(openHandler, '${MISSING}')).toBe(await refusal(openHandler))
    expect(await refusal({ AILOAD_CONFIG: '{"auth_token":"","models":[]}' }, '')).not.toMatch(/models/)
  })
})

describe('an edge function', () => {
  test('takes an object or a text', async () => {
    const config = { auth_token: TOKEN, models: [UPSTREAM] }
    for (const given of [config, JSON.stringify(config), `// a comment\n${JSON.stringify(config)}`]) {
      expect((await createEdgeHandler({ config: given })(asked(TOKEN))).status).toBe(200)
    }
  })

  test('without a configuration or a token answers 503', async () => {
    expect((await createEdgeHandler({ config: undefined })(asked())).status).toBe(503)
    expect((await createEdgeHandler({ config: { models: [UPSTREAM] } })(asked())).status).toBe(503)
    expect(
      (await createEdgeHandler({ config: { models: [UPSTREAM] }, token: TOKEN })(asked(TOKEN))).status,
    ).toBe(200)
  })
})
