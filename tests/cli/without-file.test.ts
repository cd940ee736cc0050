import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { portOf, runAiload, spawnAiload, temporaryDirectory } from '../support/gateway-process.ts'

/* A start without a configuration file, as somebody does it who has nothing but keys. */

const keys = { GROQ_API_KEY: 'gsk_not-a-real-one', GEMINI_API_KEY: 'AIza-not-a-real-one' }
const anyPort = ['start', '--port', '0']

const messagesOf = (stdout: string): string[] =>
  stdout
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { message: string }).message)

test('the keys in the environment are served; the token is made once and kept, and no key is shown', async () => {
  const directory = temporaryDirectory()
  const file = join(directory, 'data', 'token')
  const first = spawnAiload(anyPort, { directory, env: keys })
  const port = await portOf(first)
  await first.printed(/try it/)
  const token = readFileSync(file, 'utf8').trim()
  expect(token).toMatch(/^sk-[\w-]{32,}$/)
  expect((statSync(file).mode & 0o777).toString(8)).toBe('600')
  const messages = messagesOf(first.stdout)
  expect(messages).toContain(
    'no configuration of your own; taken from the environment: GEMINI_API_KEY (Google Gemini), GROQ_API_KEY (Groq)',
  )
  expect(messages).toContain('AILOAD_VENDORS=gemini would leave the others out')
  expect(messages).toContain('strategy headroom, affinity conversation')
  expect(messages).toContain(`a new token for your clients was made; it is in ${file}`)
  expect(first.stdout).toContain('at api.groq.com')
  const ask = (bearer: string) =>
    fetch(`http://127.0.0.1:${port}/v1/models`, { headers: { authorization: `Bearer ${bearer}` } })
  expect([(await ask(token)).status, (await ask('sk-')).status]).toEqual([200, 401])
  await first.stop()

  // As npm starts it from the sources, where `aiload` is no command.
  const second = spawnAiload(anyPort, { directory, env: { ...keys, npm_package_name: 'aiload' } })
  await portOf(second)
  await second.printed(/the token for your clients is in/)
  await second.printed(/Bearer \$\(npm run --silent aiload -- token --show\)/)
  await second.stop()
  expect(readFileSync(file, 'utf8').trim()).toBe(token)
  for (const secret of [token, ...Object.values(keys)])
    expect(first.stdout + first.stderr + second.stdout + second.stderr).not.toContain(secret)
  expect(existsSync(join(directory, 'data', 'config'))).toBe(false)
})

test('in another terminal, without the keys, the kept token is found', async () => {
  const directory = temporaryDirectory()
  const gateway = spawnAiload(anyPort, { directory, env: keys })
  const port = await portOf(gateway)
  const file = join(directory, 'data', 'token')
  const token = readFileSync(file, 'utf8').trim()
  expect(await runAiload(['token'], { directory })).toMatchObject({
    code: 0,
    stdout: `the token is in ${file}; --show prints it\n`,
  })
  expect(await runAiload(['token', '--show'], { directory })).toMatchObject({ code: 0, stdout: `${token}\n` })
  const status = await runAiload(['status', '--host', '127.0.0.1', '--port', String(port)], { directory })
  expect(status.code).toBe(0)
  await gateway.stop()
})

test('AILOAD_VENDORS leaves the others out, AILOAD_TOKEN is the token and nothing is written for it', async () => {
  const directory = temporaryDirectory()
  const env = { ...keys, AILOAD_VENDORS: 'groq', AILOAD_TOKEN: 'sk-from-outside' }
  const gateway = spawnAiload(anyPort, { directory, env })
  await portOf(gateway)
  await gateway.printed(/the token for your clients is AILOAD_TOKEN/)
  expect(gateway.stdout).not.toContain('generativelanguage')
  await gateway.stop()
  expect(existsSync(join(directory, 'data', 'token'))).toBe(false)
  const shown = await runAiload(['token', '--show'], { directory, env })
  expect(shown).toMatchObject({ code: 0, stdout: 'sk-from-outside\n' })
})

test('where the token cannot be kept the start says how it can be given', async () => {
  const directory = temporaryDirectory()
  writeFileSync(join(directory, 'data'), 'a file where the directory should be')
  const { code, stderr } = await runAiload(anyPort, { directory, env: keys })
  expect(code).toBe(1)
  expect(stderr).toMatch(
    /^environment: a token .* cannot be kept in .*token \(\w+\); make that directory writable, or set AILOAD_TOKEN/,
  )
})

test('two first starts at the same moment have one token', async () => {
  const directory = temporaryDirectory()
  const both = [1, 2, 3].map(() => spawnAiload(anyPort, { directory, env: keys }))
  const ports = await Promise.all(both.map(portOf))
  const token = readFileSync(join(directory, 'data', 'token'), 'utf8').trim()
  for (const port of ports) {
    const headers = { authorization: `Bearer ${token}` }
    expect((await fetch(`http://127.0.0.1:${port}/v1/models`, { headers })).status).toBe(200)
  }
  await Promise.all(both.map((gateway) => gateway.stop()))
})

test('an empty file for the token gets one; what is no token in it is told with its place', async () => {
  const directory = temporaryDirectory()
  const file = join(directory, 'data', 'token')
  mkdirSync(join(directory, 'data'))
  writeFileSync(file, '\r\n')
  const gateway = spawnAiload(anyPort, { directory, env: keys })
  await portOf(gateway)
  await gateway.stop()
  expect(readFileSync(file, 'utf8')).toMatch(/^sk-[\w-]{43}\n$/)

  writeFileSync(file, 'sk-first-line\nsk-second-line\n')
  const control = await runAiload(anyPort, { directory, env: keys })
  expect(control.code).toBe(1)
  expect(control.stderr).toMatch(/^environment: the token in .*token: has a control character in it/)
  writeFileSync(file, Buffer.from([0xff, 0xfe, 0x80]))
  for (const command of [anyPort, ['check']]) {
    const { code, stdout, stderr } = await runAiload(command, { directory, env: keys })
    expect([code, stdout + stderr]).toEqual([1, expect.stringContaining(`${file}: is not UTF-8; `)])
  }
})

test('a wrong list of vendors is told, each name with what would be right', async () => {
  const directory = temporaryDirectory()
  const env = { ...keys, AILOAD_VENDORS: 'grok,openai' }
  const { code, stderr } = await runAiload(anyPort, { directory, env })
  expect([code, stderr]).toEqual([
    1,
    `environment: AILOAD_VENDORS names "grok", which is not a vendor that is known here; did you mean groq?
environment: AILOAD_VENDORS names openai, and there is no key of it; set OPENAI_API_KEY
`,
  ])
  expect(readdirSync(directory)).toEqual([])
})

test("a key in another vendor's variable is a warning that names the variable", async () => {
  const directory = temporaryDirectory()
  const env = { GROQ_API_KEY: 'sk-ant-api03-abcdef' }
  const { code, stdout } = await runAiload(['check'], { directory, env })
  expect(code).toBe(0)
  expect(stdout).toContain(
    'warning: environment: GROQ_API_KEY: looks like a key of Anthropic, and not of Groq; ',
  )
  expect(stdout).toMatch(/^OK: \d+ upstreams, 0 groups in the environment$/m)
})

test('with nothing at all a file is made, and the variables are named that would do without', async () => {
  const directory = temporaryDirectory()
  const gateway = spawnAiload(anyPort, { directory })
  await portOf(gateway)
  await gateway.printed(
    /set the key of a vendor and start again: .*CLOUDFLARE_API_KEY with CLOUDFLARE_ACCOUNT_ID, .*GROQ_API_KEY/,
  )
  await gateway.stop()
  const file = join(directory, 'data', 'config', 'config.json')
  expect(existsSync(file)).toBe(true)

  // Nobody has touched that file, so it does not stand in the way of keys that come later; its token stays.
  const second = spawnAiload(anyPort, { directory, env: keys })
  await portOf(second)
  await second.printed(/taken from the environment/)
  expect(second.stdout).toContain(`the token for your clients is \\"auth_token\\" in ${file}`)
  await second.stop()
})

test('a file that somebody wrote goes before the environment', async () => {
  const directory = temporaryDirectory()
  mkdirSync(join(directory, 'data'))
  const models = [{ base_url: 'https://a.example/v1', model: 'm' }]
  writeFileSync(join(directory, 'data', 'config.json'), JSON.stringify({ auth_token: 't', models }))
  const { stdout } = await runAiload(['check'], { directory, env: keys })
  expect(stdout).toMatch(/^OK: 1 upstream, 0 groups in .*config\.json$/m)
})

test('an empty token of a file is filled by AILOAD_TOKEN, and nothing is written', async () => {
  const directory = temporaryDirectory()
  const file = join(directory, 'my.json')
  const text = JSON.stringify({ models: [{ base_url: 'https://a.example/v1', model: 'm' }] })
  writeFileSync(file, text)
  const gateway = spawnAiload([...anyPort, '--config', file], { directory, env: { AILOAD_TOKEN: 'sk-t' } })
  await portOf(gateway)
  await gateway.printed(/the token for your clients is AILOAD_TOKEN/)
  await gateway.stop()
  expect(readFileSync(file, 'utf8')).toBe(text)
})
