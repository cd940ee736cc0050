import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { answer } from '../support/scripted-scenes.ts'
import { startScriptedUpstream } from '../support/scripted-upstream.ts'
import { runAiload, temporaryDirectory } from '../support/gateway-process.ts'

const secret = 'sk-secret-of-the-check'

/** The line up to the JSON path. */
const placeOf = (line: string): string => /^.*?:\d+:\d+: [^:]+/.exec(line)?.[0] ?? line

function written(text: string) {
  const directory = temporaryDirectory()
  const file = join(directory, 'my.json')
  writeFileSync(file, text)
  return { directory, file }
}

test('check tells every problem and warning at once, each with its place, ends with 1 and shows no value', async () => {
  const { directory, file } = written(`{
  "auth_token": 7,
  "models": [
    { "api_key": "${secret}", "base_url": "ftp://${secret}@a.example/v1", "model": "m", "wieght": 2 },
    { "api_key": "\${AILOAD_NO_SUCH_KEY}", "base_url": "https://b.example/v1" }
  ],
  "settings": { "timeout": -1 }
}`)
  const { code, stdout, stderr, ms } = await runAiload(['check', '--config', file], { directory })
  expect([code, stderr]).toEqual([1, ''])
  const lines = stdout.trimEnd().split('\n')
  expect(lines.map(placeOf)).toEqual([
    `${file}:2:17: auth_token`,
    `${file}:4:56: models[0].base_url`,
    `${file}:5:5: models[1].model`,
    `${file}:5:18: models[1].api_key`,
    `${file}:7:28: settings.timeout`,
    `warning: ${file}:4:125: models[0].wieght`,
    '5 problems',
  ])
  expect(stdout).toContain('models[0].wieght')
  expect(stdout).not.toContain(secret)
  expect(ms).toBeLessThan(15_000)
})

test('check of a good file says how much there is, with AILOAD_CONFIG too', async () => {
  const { directory, file } = written(`{
  "auth_token": "t", // a comment
  "models": [
    { "api_key": ["a", "b"], "base_url": "https://a.example/v1", "model": "m", "groups": ["fast"] },
    { "api_key": "c", "base_url": "https://b.example/v1", "model": "n", "groups": ["fast", "cheap"] },
  ]
}`)
  const line = `OK: 3 upstreams, 2 groups in ${file}\n`
  expect(await runAiload(['check', '--config', file], { directory })).toMatchObject({ code: 0, stdout: line })
  expect(await runAiload(['check'], { directory, env: { AILOAD_CONFIG: file } })).toMatchObject({
    code: 0,
    stdout: line,
  })
})

test('check of a placeholder is a warning and ends with 0', async () => {
  const { directory, file } = written(
    '{"models": [{"api_key": "sk-xxx", "base_url": "https://a.example/v1", "model": "m"}]}',
  )
  const { code, stdout } = await runAiload(['check', '--config', file], { directory })
  expect(code).toBe(0)
  expect(stdout).toMatch(/^warning: .*my\.json:1:\d+: models\[0\]\.api_key: is still a placeholder/)
})

test('check makes nothing where nothing is', async () => {
  const directory = temporaryDirectory()
  const { code, stdout } = await runAiload(['check'], { directory })
  expect([code, stdout]).toEqual([
    1,
    expect.stringContaining('no key in the environment that would do without; '),
  ])
  expect(await runAiload(['check'], { directory })).toMatchObject({ code: 1 })
})

test('globs that match nothing in the list of their upstream are a problem, and a list that cannot be had a warning', async () => {
  const body = JSON.stringify({ data: [{ id: 'm-1' }, { id: 'm-2' }] })
  const upstream = await startScriptedUpstream(answer({ body }))
  const checked = async (models: object) => {
    const directory = temporaryDirectory()
    const file = join(directory, 'my.json')
    writeFileSync(file, JSON.stringify({ auth_token: 't', models: [models] }))
    const { code, stdout } = await runAiload(['check', '--config', 'my.json'], { directory })
    return [code, stdout]
  }
  const base_url = `${upstream.url}/v1`
  expect(await checked({ base_url, models: 'm-*' })).toEqual([0, 'OK: 2 upstreams, 0 groups in my.json\n'])
  const host = new URL(base_url).host
  const problem = `my.json: models[0].models: matches none of the 2 models that ${host} lists; correct it`
  expect(await checked({ base_url, models: 'x-*' })).toEqual([1, `${problem}\n1 problem\n`])
  await upstream.close()
  expect(await checked({ base_url, models: 'm-*' })).toEqual([
    0,
    `warning: the list of models of ${host} could not be had (connection refused); it is asked for again\nOK: 0 upstreams, 0 groups in my.json\n`,
  ])
})
