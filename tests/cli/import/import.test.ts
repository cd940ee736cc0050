import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { portOf, runAiload, spawnAiload, temporaryDirectory } from '../../support/gateway-process.ts'
import { answer } from '../../support/scripted-scenes.ts'
import { startScriptedUpstream } from '../../support/scripted-upstream.ts'

const golden = join(import.meta.dirname, 'golden')
const sources = ['litellm.yaml', 'one-api.json', 'new-api.json', 'gpt-load.json', 'uni-api.yaml', 'keys.env']
const mode = (file: string): string => (statSync(file).mode & 0o777).toString(8)

/** A file in a directory of its own, where a configuration would be written to. */
function source(text: string | Uint8Array, name = 'source') {
  const directory = temporaryDirectory()
  const file = join(directory, name)
  writeFileSync(file, text)
  return { directory, file, target: join(directory, 'data/config/config.json') }
}

/** What a shell has after it read files of variables. */
const sourced = (...files: readonly string[]): Record<string, string> => {
  const script = `set -a; ${files.map((file) => `. '${file}'`).join('; ')}; env -0`
  const printed = execFileSync('sh', ['-c', script], { encoding: 'utf8', env: {} })
  return Object.fromEntries(
    printed.split('\0').map((line) => /^([^=]*)=([^]*)$/.exec(line)?.slice(1) ?? ['', '']),
  )
}

describe.each(sources)('%s', (name) => {
  test('becomes the configuration that stands beside it, with all that was not carried over', async () => {
    const { directory, file, target } = source(readFileSync(join(golden, name)), name)
    const { code, stdout, stderr } = await runAiload(['import', file], { directory })
    expect(code).toBe(0)
    const parts = [stdout, stderr, readFileSync(target, 'utf8'), readFileSync(`${target}.env`, 'utf8')]
    const all = parts.map((part) => part.replaceAll(directory, 'DIRECTORY')).join('\n---\n')
    await expect(all).toMatchFileSnapshot(join(golden, `${name}.result.txt`))
    expect([mode(target), mode(`${target}.env`)]).toEqual(['600', '600'])
  })

  test('passes check with the variables that were written and those that are to be set', async () => {
    const { directory, file, target } = source(readFileSync(join(golden, name)), name)
    const { stdout } = await runAiload(['import', file], { directory })
    const [, unset = ''] = /^set these yourself.*: (.*)$/m.exec(stdout) ?? []
    const set = Object.fromEntries(unset.split(', ').map((variable) => [variable, '1']))
    const checked = await runAiload(['check'], { directory, env: { ...set, ...sourced(`${target}.env`) } })
    expect(checked).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^OK: \d+ upstreams?/m) as string,
    })
  })

  test('has its keys in the configuration itself with --plain-keys, and none is ever printed', async () => {
    const { directory, file, target } = source(readFileSync(join(golden, name)), name)
    const named = await runAiload(['import', file], { directory })
    const keys = Object.values(sourced(`${target}.env`)).filter((value) => value.length > 6)
    const plain = await runAiload(['import', file, '--plain-keys', '--force'], { directory })
    expect([named.code, plain.code]).toEqual([0, 0])
    const written = readFileSync(target, 'utf8')
    for (const key of keys.filter((value) => /^(?:sk|gsk|AIza)/.test(value))) expect(written).toContain(key)
    const printed = named.stdout + named.stderr + plain.stdout + plain.stderr
    expect(keys.filter((key) => key !== directory && printed.includes(key))).toEqual([])
    expect(printed).not.toMatch(/the-(?:secret|password)|password-of|sk-ant/)
  })
})

test('a file of each kind is known by what is in it, and --from says it where two could have written it', async () => {
  const channels = '[{"type": 43, "key": "k", "models": "m"}]'
  const { directory, file } = source(channels)
  const asked = await runAiload(['import', file], { directory })
  expect([asked.code, asked.stderr]).toEqual([
    1,
    `${file} has channels that one-api and new-api both could have written; say which with --from\n`,
  ])
  const told = await runAiload(['import', file, '--from', 'new-api'], { directory })
  expect(told).toMatchObject({
    code: 0,
    stdout: expect.stringContaining("from new-api's channels") as string,
  })
  const other = await runAiload(['import', file, '--from', 'one-api', '--force'], { directory })
  expect([other.code, other.stderr]).toEqual([
    1,
    expect.stringMatching(/\[0\]: left out.*\n.*has nothing that could be carried over\n$/),
  ])
})

test('files that are there stay as they are, unless --force is given', async () => {
  const { directory, file, target } = source('GROQ_API_KEYS=gsk_a,gsk_b\n')
  mkdirSync(join(directory, 'data/config'), { recursive: true })
  writeFileSync(target, 'mine', { mode: 0o644 })
  const refused = await runAiload(['import', file], { directory })
  expect([refused.code, refused.stdout, refused.stderr]).toEqual([
    1,
    '',
    `${target} is there already; name another file with --out, or replace it with --force\n`,
  ])
  expect([readFileSync(target, 'utf8'), existsSync(`${target}.env`)]).toEqual(['mine', false])
  expect(await runAiload(['import', file, '--force'], { directory })).toMatchObject({ code: 0 })
  expect([mode(target), readFileSync(target, 'utf8')]).toEqual([
    '600',
    expect.stringContaining('"vendor": "groq"'),
  ])
  const elsewhere = join(directory, 'some where/x.json')
  const { stdout } = await runAiload(['import', file, '--out', elsewhere], { directory })
  expect(stdout).toContain(`set -a; . '${elsewhere}.env'; set +a\n`)
})

test('what would not load is told, and nothing is written', async () => {
  const list = `model_list:\n  - model_name: "a"\n    litellm_params: {model: openai/m, api_base: https://a.example/v1, rpm: 3, extra_headers: {host: x}}\n`
  const { directory, file, target } = source(list)
  const { code, stderr } = await runAiload(['import', file], { directory })
  expect([code, stderr, existsSync(target)]).toEqual([
    1,
    expect.stringMatching(
      /^the new configuration would not load, and nothing was written:\n.*models\[0\]\.headers\.host/,
    ),
    false,
  ])
})

/** Ten times ten times ten… */
const bomb = [...'bcdefghij'].reduce(
  (text, name, at) => `${text}\n${name}: &${name} [${`*${'abcdefghi'[at]}, `.repeat(10)}]`,
  'a: &a [x, x, x, x, x, x, x, x, x, x]',
)

test.each<[what: string, text: string | Uint8Array, sentence: RegExp]>([
  ['nothing', '', /is empty/],
  ['only comments', '# nothing\n', /is none of the files|is empty|has nothing/],
  ['ten megabytes', `model_list: ${'x'.repeat(10_000_000)}`, /is larger than 5 MB/],
  ['five megabytes of brackets', '['.repeat(4_900_000), /is no JSON at line 1, column 1|nested without end/],
  ['brackets of YAML', `a: ${'['.repeat(100_000)}`, /nested without end|cannot be read as YAML/],
  ['lists in lists of YAML', `a: ${'- '.repeat(5_000)}x`, /nested without end|cannot be read as YAML/],
  [
    'objects in objects of JSON',
    `${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`,
    /is no JSON|nested without end/,
  ],
  ['a bomb of aliases', `${bomb}\nmodel_list: *j`, /has too many YAML aliases/],
  ['an alias in itself', 'model_list: &a [*a]', /nested without end/],
  [
    'a tag of its own',
    'model_list: !!python/object/apply:os.system ["id"]',
    /has a YAML tag of its own at line 1/,
  ],
  ['another tag of its own', 'a: 1\nmodel_list: !Secret sk-1234', /has a YAML tag of its own at line 2/],
  ['two documents', 'model_list: []\n---\nproviders: []', /has several YAML documents/],
  ['a key that stands twice', 'model_list: []\nmodel_list: []', /has a key a second time at line 2/],
  ['broken YAML with a key', 'model_list:\n\t- api_key: sk-1234', /cannot be read as YAML at line 2/],
  [
    'broken JSON with a key',
    '{"data": [{"key": "sk-1234" "models": "m"}]}',
    /is no JSON at line 1, column \d+: a comma/,
  ],
  ['bytes', new Uint8Array(500).map((_, at) => at % 256), /is not text/],
  ['Latin-1', new Uint8Array([0x61, 0x3a, 0x20, 0xe9, 0x0a]), /is not UTF-8/],
  ['prose', 'Dear operator,\n\nplease import this.\n', /is none of the files|cannot be read as YAML/],
  ['a number', '7', /is none of the files/],
  ['another JSON', '{"name": "aiload", "version": "1.0.0"}', /is none of the files/],
  ['an empty list', 'model_list: []', /has nothing that could be carried over/],
  [
    'lists of the wrong things',
    'model_list: [1, null, [2], {}, {litellm_params: 3}]',
    /has nothing that could be carried over/,
  ],
  [
    'names of prototypes',
    'model_list: [{model_name: a, litellm_params: {model: constructor/x}}, {model_name: b, litellm_params: {model: __proto__/x}}]',
    /has nothing that could be carried over/,
  ],
  ['variables of nobody', 'DATABASE_URL=sk-1234\n', /has nothing that could be carried over/],
])('%s is refused in one sentence, without a word of the file', async (_, text, sentence) => {
  const { directory, file, target } = source(text)
  const { code, stdout, stderr, ms } = await runAiload(['import', file], { directory })
  const last = stderr.trimEnd().split('\n').at(-1) ?? ''
  expect([code, stdout]).toEqual([1, ''])
  expect(last.slice(0, file.length)).toBe(file)
  expect(last).toMatch(sentence)
  expect(stderr).not.toMatch(/sk-1234|Error|\bat .*:\d+:\d+\)/)
  expect(existsSync(target)).toBe(false)
  expect(ms).toBeLessThan(15_000)
})

test('a file that is not there or a directory is told', async () => {
  const directory = temporaryDirectory()
  const missing = await runAiload(['import', 'no.yaml'], { directory })
  expect([missing.code, missing.stderr]).toEqual([1, 'no.yaml is not there\n'])
  const folder = await runAiload(['import', '.'], { directory })
  expect([folder.code, folder.stderr]).toEqual([1, '. is a directory; name the file in it\n'])
})

test('anchors that many models share are followed, merged ones too', async () => {
  const models = Array.from(
    { length: 400 },
    (_, at) => `  - {model_name: m${at}, litellm_params: {<<: *all, model: groq/m${at}}}`,
  )
  const { directory, file } = source(
    `x: &all {api_key: sk-1, timeout: 9}\nmodel_list:\n${models.join('\n')}\n`,
  )
  const { code, stdout } = await runAiload(['import', file], { directory })
  expect([code, stdout]).toEqual([0, expect.stringContaining('400 upstreams')])
})

test('a text that looks like a reference stays one where the program knows it, and a text where not', async () => {
  const { directory, file, target } = source(
    JSON.stringify([{ type: 1, key: 'k', models: 'm${HOME}', config: '{}', base_url: 'https://a.example' }]),
  )
  expect(await runAiload(['import', file], { directory })).toMatchObject({ code: 0 })
  expect(readFileSync(target, 'utf8')).toContain('"model": "m$${HOME}"')
})

test('orders and fallbacks of LiteLLM are tiers, and a circle of them is told', async () => {
  const models = ['a', 'b', 'c'].map(
    (name) => `  - {model_name: ${name}, litellm_params: {model: groq/of-${name}}}`,
  )
  const { directory, file, target } = source(`model_list:
${models.join('\n')}
  - {model_name: a, litellm_params: {model: groq/first-of-a, order: 1}}
  - {model_name: a, litellm_params: {model: groq/second-of-a, order: 2}}
router_settings: {fallbacks: [{a: [b, c]}, {c: [a]}]}
`)
  const { stderr } = await runAiload(['import', file], { directory })
  expect(stderr).toContain('router_settings.fallbacks[1].c: leads back to where it began')
  const { models: entries } = JSON.parse(readFileSync(target, 'utf8').replace(/^\/\/.*/, '')) as {
    models: { model: string; groups: string[]; priority: number }[]
  }
  const tiers = entries.toSorted((a, b) => a.priority - b.priority)
  expect(tiers.map(({ model, groups }) => [model, groups])).toEqual([
    ['first-of-a', ['a']],
    ['second-of-a', ['a']],
    ['of-a', ['a']],
    ['of-b', ['b', 'a']],
    ['of-c', ['c', 'a']],
  ])
})

test('the parser of YAML is loaded by the reader of such files alone, and only when there is one', () => {
  const root = join(import.meta.dirname, '../../../src')
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  )
  const loading = files.filter((name) => /['"]yaml['"]/.test(readFileSync(join(root, name), 'utf8')))
  expect(loading).toEqual([join('cli', 'import', 'document.ts')])
  expect(readFileSync(join(root, loading[0] ?? ''), 'utf8')).toContain("await import('yaml')")
})

test('a gateway that was imported asks the same upstream, with its key and parameters, for what clients asked before', async () => {
  const body =
    '{"object":"chat.completion","choices":[{"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'
  const upstream = await startScriptedUpstream(answer({ body }))
  const list = `model_list:
  - model_name: my-gpt
    litellm_params: {model: openai/gpt-4o, api_base: "${upstream.url}/v1", api_key: sk-of-the-upstream, temperature: 0.2}
  - model_name: my-azure
    litellm_params: {model: azure/my-deployment, api_base: "${upstream.url}", api_key: key-of-azure, api_version: "2024-06-01"}
general_settings: {master_key: sk-of-the-clients}
`
  const { directory, file, target } = source(list)
  expect(await runAiload(['import', file], { directory })).toMatchObject({ code: 0 })
  const env = sourced(`${target}.env`)
  const gateway = spawnAiload(['start', '--port', '0', '--host', '127.0.0.1'], { directory, env })
  const port = await portOf(gateway)
  for (const model of ['my-gpt', 'my-azure']) {
    const response = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: 'Bearer sk-of-the-clients', 'content-type': 'application/json' },
      body: JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello' }] }),
    })
    expect([response.status, await response.json()]).toMatchObject([200, { object: 'chat.completion' }])
  }
  await gateway.stop()
  await upstream.close()
  const seen = upstream.requests.map(({ path, headers, body: sent }) => {
    const { model, temperature } = JSON.parse(new TextDecoder().decode(sent)) as Record<string, unknown>
    return [path, headers['authorization'] ?? headers['api-key'], model, temperature]
  })
  expect(seen).toEqual([
    ['/v1/chat/completions', 'Bearer sk-of-the-upstream', 'gpt-4o', 0.2],
    [
      '/openai/deployments/my-deployment/chat/completions?api-version=2024-06-01',
      'key-of-azure',
      'my-deployment',
      undefined,
    ],
  ])
})
