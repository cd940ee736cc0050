import { chmodSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { completion } from '../support/believable.ts'
import { runAiload, spawnAiload, startGateway, temporaryDirectory } from '../support/gateway-process.ts'
import { answer } from '../support/scripted-scenes.ts'
import { startScriptedUpstream } from '../support/scripted-upstream.ts'

interface Shown {
  readonly args: string[]
  readonly env: Record<string, string>
}

/** A tool that prints what it is given, or does what `script` says. */
function fakeTool(
  name: string,
  script = 'console.log(JSON.stringify({ args: process.argv.slice(2), env: process.env }))',
) {
  const directory = temporaryDirectory()
  const file = join(directory, name)
  writeFileSync(file, `#!${process.execPath}\n${script}\n`)
  chmodSync(file, 0o755)
  return directory
}

async function bed(more: object = {}, settings: object = {}) {
  const models = [{ name: 'one', base_url: 'http://127.0.0.1:2/v1', model: 'm', groups: ['fast'], ...more }]
  const gateway = await startGateway({ models, settings })
  const options = (path: string, env: Record<string, string> = {}) => ({
    directory: gateway.directory,
    env: { PATH: path, OPENCODE_CONFIG_CONTENT: '', http_proxy: '', HTTP_PROXY: '', ...env },
  })
  const where = ['--port', String(gateway.port)]
  return {
    gateway,
    spawn: (path: string, tool: string, ...args: string[]) =>
      spawnAiload(['run', tool, ...where, '--', ...args], options(path)),
    async run(path: string, tool: string, args: string[] = [], env: Record<string, string> = {}) {
      const { code, signal, stdout, stderr } = await runAiload(
        ['run', tool, ...where, '--', ...args],
        options(path, env),
      )
      const shown = stdout.startsWith('{') ? (JSON.parse(stdout) as Shown) : undefined
      return { code, signal, stdout, stderr, shown }
    },
  }
}

test('codex gets a provider of its own, whose key is in the environment, in front of its arguments', async () => {
  const { gateway, run } = await bed()
  const { code, shown } = await run(fakeTool('codex'), 'codex', ['exec', '--json', 'Fix "it"'])
  const provider = `{ name = "AILoad", base_url = "${gateway.url}/v1", env_key = "AILOAD_TOKEN", wire_api = "responses" }`
  expect([code, shown?.args]).toEqual([
    0,
    [
      '-c',
      'model="auto"',
      '-c',
      'model_provider="aiload"',
      '-c',
      `model_providers.aiload=${provider}`,
      'exec',
      '--json',
      'Fix "it"',
    ],
  ])
  expect(shown?.env).toMatchObject({ AILOAD_TOKEN: gateway.token })
})

test('opencode gets a provider with the models of the gateway, over what the user has given', async () => {
  const { gateway, run } = await bed()
  const own = JSON.stringify({ theme: 'dark', provider: { mine: { name: 'Mine' } }, model: 'mine/x' })
  const { shown } = await run(fakeTool('opencode'), 'opencode', ['run'], { OPENCODE_CONFIG_CONTENT: own })
  expect(shown?.args).toEqual(['run'])
  expect(JSON.parse(shown?.env['OPENCODE_CONFIG_CONTENT'] ?? '')).toEqual({
    theme: 'dark',
    model: 'aiload/auto',
    small_model: 'aiload/auto',
    provider: {
      mine: { name: 'Mine' },
      aiload: {
        npm: '@ai-sdk/openai-compatible',
        name: 'AILoad',
        options: { baseURL: `${gateway.url}/v1`, apiKey: gateway.token },
        models: { auto: { name: 'auto' }, fast: { name: 'fast' }, m: { name: 'm' } },
      },
    },
  })
})

test('aider gets address and key in the environment, and a model that it does not warn of', async () => {
  const { gateway, run } = await bed()
  const { shown } = await run(fakeTool('aider'), 'aider', ['--message', 'hi'])
  expect(shown?.args).toEqual(['--model', 'openai/auto', '--no-show-model-warnings', '--message', 'hi'])
  expect(shown?.env).toMatchObject({ OPENAI_API_BASE: `${gateway.url}/v1`, OPENAI_API_KEY: gateway.token })
})

test('the token stands in no argument, and nothing is written', async () => {
  const { gateway, run } = await bed()
  // What the gateway itself keeps comes within a second of its start.
  const files = (): string[] =>
    readdirSync(gateway.directory, { recursive: true, encoding: 'utf8' }).filter(
      (name) => !name.includes('events.'),
    )
  const before = files()
  for (const tool of ['codex', 'opencode', 'aider']) {
    const { shown } = await run(fakeTool(tool), tool)
    expect(shown?.args.join(' ')).not.toContain(gateway.token)
  }
  expect(files()).toEqual(before)
})

test('claude needs a protocol that is not spoken here: what is missing and where it is to be had', async () => {
  const { gateway, run } = await bed()
  const { code, stdout, stderr } = await run(fakeTool('claude'), 'claude')
  expect([code, stdout]).toEqual([1, ''])
  expect(stderr).toMatch(/^Claude Code speaks Anthropic's Messages API .* LiteLLM .*passthrough_paths "all"/)
  expect(stderr).toContain(`${gateway.url}/v1`)
})

test('where the gateway passes that protocol on, claude is started', async () => {
  const upstream = await startScriptedUpstream(answer({ body: completion() }))
  const { gateway, run } = await bed(
    { base_url: `${upstream.url}/v1` },
    { passthrough: 'one', passthrough_paths: 'all' },
  )
  const { shown } = await run(fakeTool('claude'), 'claude', ['-p', 'hi'])
  await upstream.close()
  expect(shown?.args).toEqual(['-p', 'hi'])
  expect(shown?.env).toMatchObject({ ANTHROPIC_BASE_URL: gateway.url, ANTHROPIC_AUTH_TOKEN: gateway.token })
})

test.each([
  {
    more: { endpoints: ['chat'] },
    tool: 'codex',
    missing: /^codex needs the endpoint "responses", which no/,
  },
  { more: { endpoints: ['embeddings'] }, tool: 'aider', missing: /^aider needs the endpoint "chat"/ },
  { more: { enabled: false }, tool: 'opencode', missing: /^opencode needs the endpoint "chat"/ },
  {
    more: { can: { tools: false } },
    tool: 'opencode',
    missing: /^opencode needs a model that can call tools/,
  },
])('$tool is not started where the pool is $more', async ({ more, tool, missing }) => {
  const { run } = await bed(more)
  const { code, stdout, stderr } = await run(fakeTool(tool), tool)
  expect([code, stdout, stderr]).toEqual([1, '', expect.stringMatching(missing)])
})

test('a tool that is not there is told with how to get it', async () => {
  const { run } = await bed()
  const { code, stderr } = await run(temporaryDirectory(), 'codex')
  expect([code, stderr]).toEqual([
    1,
    'codex is not installed, or not on the PATH; its makers say: npm install -g @openai/codex\n',
  ])
})

test('where no gateway runs, no tool is started', async () => {
  const { gateway, run } = await bed()
  await gateway.stop()
  const { code, stdout, stderr } = await run(fakeTool('codex'), 'codex')
  expect([code, stdout]).toEqual([1, ''])
  expect(stderr).toContain(`nothing listens on ${gateway.url}`)
})

test('a proxy of the environment is not asked for the gateway', async () => {
  const { run } = await bed()
  const proxied = { HTTP_PROXY: 'http://proxy.example:3128', NO_PROXY: 'intra.example', no_proxy: '' }
  const { shown } = await run(fakeTool('aider'), 'aider', [], proxied)
  expect(shown?.env['NO_PROXY']).toBe('intra.example,127.0.0.1')
  expect((await run(fakeTool('aider'), 'aider')).shown?.env['NO_PROXY']).toBeUndefined()
})

test('the exit code is that of the tool', async () => {
  const { run } = await bed()
  expect(await run(fakeTool('aider', 'process.exit(7)'), 'aider')).toMatchObject({ code: 7 })
  const killed = fakeTool('aider', 'process.kill(process.pid, "SIGKILL")')
  expect(await run(killed, 'aider')).toMatchObject({ code: null, signal: 'SIGKILL' })
})

test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
  '%s goes to the tool, which ends as it likes',
  async (signal) => {
    const { spawn } = await bed()
    const script = `process.on('${signal}', () => { console.log('heard'); process.exit(3) })
setInterval(() => {}, 1_000); console.log('ready')`
    const aiload = spawn(fakeTool('aider', script), 'aider')
    await aiload.printed(/ready/)
    aiload.signal(signal)
    expect(await aiload.exit).toEqual({ code: 3, signal: null })
    expect(aiload.stdout).toContain('heard')
  },
)

test('what is for the tool stands behind --, and a tool that is not known is told with the near one', async () => {
  const directory = temporaryDirectory()
  expect((await runAiload(['run', 'codex', 'exec'], { directory })).stderr).toBe(
    'aiload: run hands on what stands behind --, as in: aiload run codex -- exec\n',
  )
  expect((await runAiload(['run', 'codx'], { directory })).stderr).toBe(
    'aiload: there is no tool "codx"; did you mean codex?\n',
  )
})
