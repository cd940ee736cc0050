import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import translations from '../../src/cli/chinese.json' with { type: 'json' }
import { inChinese } from '../../src/cli/chinese.ts'
import { wantsChinese } from '../../src/cli/language.ts'
import { createNotices } from '../../src/telemetry/notices.ts'
import { runAiload, spawnAiload, startGateway, temporaryDirectory } from '../support/gateway-process.ts'
import { readSentences, sourceFiles, textsIn } from '../support/sentences.ts'

/** The command line in Chinese: the sentences, how lines are put together of them, and processes that speak it. */

const { sentences, composed } = translations as Record<string, Readonly<Record<string, string>>>
const known = { ...sentences, ...composed }
/** Blanks side by side are one. */
const blanksOf = (text: string): number => text.match(/(?:\$\{…\})+/g)?.length ?? 0

describe('the sentences', () => {
  /** Files whose sentences people read in a terminal; those of edits are for who edits over HTTP. */
  const COVERED =
    /^src\/(?:cli\/(?:import\/)?[\w-]+\.ts|events\/(?:explain|requests)\.ts|config\/(?!edit\.)[\w-]+\.ts|adapter\/node\/(?:(?:config|state|without)-file|open-config)\.ts|telemetry\/(?:needs|notices|status)\.ts)$/
  /** Not to be translated: for programs, or said in Chinese by other sentences. */
  const UNSAID = new Set([
    'protocol is not spoken here',
    '${…} ${…} ms',
    '${…} per ${…}',
    '${…} or ${…}',
    ', ${…} in a row',
    '${…}${…}: ${…}${…}; ${…}',
    '${…} ${…} ${…} ${…}',
    'quota ${…} account ${…}',
    'endpoint ${…} ${…}',
  ])
  const COMMAND = /^(?:\/\/ Made by|curl |npm |python |\{ name|complete -c|# Completion|\$\{…\}\) )/

  const blocks = readSentences()
    .trimEnd()
    .split('\n\n')
    .map((block) => block.split('\n').map((line) => line.trim()))
    .filter(([path = '']) => COVERED.test(path) && path !== 'src/cli/completion.ts')

  test.each(blocks.map(([path, ...lines]) => ({ path, lines })))(
    '$path has a Chinese one for each',
    (one) => {
      const missing = one.lines.filter((line) => !(line in known) && !UNSAID.has(line) && !COMMAND.test(line))
      expect(missing).toEqual([])
    },
  )

  test('each has the blanks of its English one', () => {
    expect(Object.entries(known).filter(([from, to]) => blanksOf(from) !== blanksOf(to))).toEqual([])
  })

  test('each is found by what stands around its blanks, and taken for no other', () => {
    const filled = (text: string, ...names: string[]): string => {
      const left = [...names]
      return text.replaceAll(/(?:\$\{…\})+/g, () => left.shift() ?? '').replaceAll(/ ?⏎ ?/g, '\n')
    }
    const names = ['q1', 'q2', 'q3', 'q4', 'q5', 'q6']
    const wrong = Object.entries(known).filter(
      ([from, to]) => inChinese(filled(from, ...names)) !== filled(to, ...names),
    )
    expect(wrong).toEqual([])
  })

  test('none is for a sentence that is gone', () => {
    const texts = sourceFiles()
      .filter((path) => path !== 'src/cli/chinese.ts')
      .flatMap(textsIn)
    const all = new Set(texts)
    const withoutEnds = (text: string): string => text.replaceAll(/^(?:\$\{…\}[,\s]*)+|(?:\s*\$\{…\})+$/g, '')
    const gone = Object.keys(sentences ?? {}).filter((key) => {
      const middle = withoutEnds(key)
      return !all.has(key) && !texts.some((text) => text.includes(middle))
    })
    expect(gone).toEqual([])
  })
})

describe('a line', () => {
  test.each([
    [
      'a.json:3:5: models[0].name: is missing; write a short name',
      'a.json:3:5: models[0].name: 缺少这一项；写一个简短的名字',
    ],
    [
      'a.json:1:1: settings["x y"]: is missing; take it out',
      'a.json:1:1: settings["x y"]: 缺少这一项；删掉它',
    ],
    ['environment: X_KEY: has a comma in it; take it out', 'environment: X_KEY: 含有逗号；删掉它'],
    [
      'warning: a.json:1:2: server.host: has white space in it; write an address',
      '警告：a.json:1:2: server.host: 含有空白字符；写一个地址',
    ],
    [
      'a.json:1:2: x: is not a known value; write one of "a", "b" or "c"',
      'a.json:1:2: x: 不是可用的值；可选 "a", "b" 或 "c"',
    ],
    [
      'a.json:1:2: x: has a comma in it; copy the key again; several keys are a list: ["…", "…"]',
      'a.json:1:2: x: 含有逗号；请重新复制密钥；多把密钥写成列表：["…", "…"]',
    ],
    ['12 upstreams:', '12 个上游：'],
    [
      '    could: b, 50 % free, 2 in flight, a guess speaks against it',
      '    能接：b，空闲 50 %，进行中 2 个，推测不合适',
    ],
    ['  choice by headroom: nobody', '  选择，按 headroom：没有可选的'],
    ['  asked b: failure, status 500 after 3 ms', '  问了 b：failure，状态码 500，用了 3 毫秒'],
    [
      'after 4 ms: no upstream answered (429 rate_limit_exceeded)',
      '4 毫秒后：没有上游给出回答（429 rate_limit_exceeded）',
    ],
    [
      'http://a answers 404: There is no request "x". What is remembered goes back to 2026-11-30T08:37:01.753Z.',
      'http://a 返回 404：没有请求 "x"。记录从 2026-11-30T08:37:01.753Z 开始。',
    ],
    ['  12 models at a.example: m0, m1 and 2 more', '  12 个模型，位于 a.example：m0, m1 等，另有 2 个'],
    ['  and 193 more hosts', '  另有 193 个主机'],
    ['stopped; 1 open answer had to be cut', '已停止；1 个进行中的回答被迫中断'],
    ['needs attention: key refused (key), for 4 min 10 s', '需要处理：密钥被拒绝（key），还有 4 分 10 秒'],
    [
      'requests per minute: 3 used, 7 left; requests at once: 0 used, 2 left',
      '请求/分钟：已用 3，剩余 7；并发：已用 0，剩余 2',
    ],
    ['Check the configuration, with --live its upstreams too.', '检查配置，加 --live 连上游一起检查。'],
    [
      'the token for your clients is the first of "auth_token" in c.json',
      '客户端使用的令牌：c.json 里 "auth_token" 的第一个',
    ],
  ])('%s', (english, chinese) => {
    expect(inChinese(english)).toBe(chinese)
  })

  test.each([
    'Rate limit reached for tokens per minute; try again later; or buy more.',
    'GET /v1/models → gpt-4o',
    '  curl http://localhost:2081/v1/chat/completions -H "Authorization: Bearer x" -d \'{}\'',
    '; '.repeat(200),
    '',
  ])('that has no Chinese one stays: %j', (line) => {
    expect(inChinese(line)).toBe(line)
  })

  test('keeps the words of others as they are', () => {
    expect(inChinese('one: https://a.example/v1/models says: You are out of credit; top up or wait.')).toBe(
      'one: https://a.example/v1/models 返回：You are out of credit; top up or wait.',
    )
  })

  test('of the log tells what is wrong with an upstream', () => {
    const told: string[] = []
    const clock = { now: () => 0, wall: () => 0 }
    const { report } = createNotices(
      (event) => 'message' in event && told.push(inChinese(event.message)),
      clock,
    )
    const url = 'https://a.example/v1/chat/completions'
    const attempt = {
      kind: 'attempt',
      requestId: 'r',
      endpoint: 'chat',
      model: 'm',
      durationMs: 1,
      upstream: 'groq',
    } as const
    const tell = (upstreamId: string, more: object): void =>
      report({ ...attempt, upstreamId, ...more } as never)
    tell('a', { outcome: 'auth', status: 401, failure: { url } })
    tell('b', { outcome: 'quota', status: 429, failure: { url, hintMs: 1_000 } })
    tell('c', { outcome: 'not-found', status: 404, failure: { url } })
    tell('d', { outcome: 'failure', failure: { url, reason: 'connection refused', isUnsent: true } })
    for (let at = 0; at < 3; at += 1) tell('e', { outcome: 'failure', status: 500, failure: { url } })
    tell('a', { outcome: 'ok', status: 200 })
    expect(told).toEqual([
      `上游 groq：密钥被拒绝（401），地址 ${url}`,
      '上游 groq：额度用完，1970-01-01T00:00:01.000Z 恢复（429）',
      `上游 groq：它的模型或接口 chat 找不到（404），地址 ${url}`,
      `上游 groq：无法连接：连接被拒绝，地址 ${url}`,
      `上游 groq：失败：状态码 500，连续 3 次，地址 ${url}`,
      '上游 groq：恢复正常',
    ])
  })
})

test.each([
  { env: { LANG: 'zh_CN.UTF-8' }, is: true },
  { env: { LANG: 'zh_CN.utf8' }, is: true },
  { env: { LANG: 'zh' }, is: true },
  { env: { LANG: 'zh_TW' }, is: true },
  { env: { LC_ALL: '', LC_MESSAGES: 'zh_CN.UTF-8', LANG: 'en_US.UTF-8' }, is: true },
  { env: { LC_ALL: 'C', LANG: 'zh_CN.UTF-8' }, is: false },
  { env: { LC_MESSAGES: 'en_GB.UTF-8', LANG: 'zh_CN.UTF-8' }, is: false },
  { env: { LANG: 'zh_CN.GBK' }, is: false },
  { env: { LANG: 'zha' }, is: false },
  { env: {}, is: false },
])('$env wants Chinese: $is', ({ env, is }) => {
  expect(wantsChinese(env)).toBe(is)
})

describe('a process', () => {
  const CHINESE = { LC_ALL: 'zh_CN.UTF-8' }
  const HAN = /\p{Script=Han}/u
  const HAN_MARKS = /[\p{Script=Han}，；：（）]/u
  const config = JSON.stringify({
    auth_token: 'sk-of-the-clients',
    models: [{ name: 'one', base_url: 'http://127.0.0.1:1234/v1', model: 'm', api_key: 'Bearer k' }],
  })

  function bed(text = config) {
    const directory = temporaryDirectory()
    const file = join(directory, 'c.json')
    writeFileSync(file, text)
    const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
      runAiload(args, { directory, env: { AILOAD_CONFIG: file, ...env } })
    return { directory, file, run }
  }

  test('tells the problems of a file in Chinese, in the same places', async () => {
    const { run } = bed(
      '{ "auth_token": 7, "models": [{ "base_url": "ftp://a" }], "settings": { "timeout": -1 } }',
    )
    const [english, chinese] = [await run(['check']), await run(['check'], CHINESE)]
    expect([english.code, chinese.code, chinese.stderr]).toEqual([1, 1, ''])
    expect(english.stdout).not.toMatch(HAN)
    const lines = chinese.stdout.trimEnd().split('\n')
    const placesIn = (text: string): string[] => text.match(/^\S+:\d+:\d+: \S+:/gm) ?? []
    expect(placesIn(chinese.stdout)).toEqual(placesIn(english.stdout))
    expect(lines.filter((line) => !HAN.test(line))).toEqual([])
    const timeout = lines.find((line) => line.includes('settings.timeout')) ?? ''
    expect(timeout.replace(/^.*?: /, '')).toBe('settings.timeout: 应该是秒数，大于 0，最大 86400；例如 120')
    expect(lines.at(-1)).toBe('4 个问题')
  })

  test.each([
    { args: ['--prot', '1'], says: 'aiload: 没有选项 "--prot"；是不是想写 --port？', code: 2 },
    {
      args: ['start', '--port', '99999'],
      says: 'aiload: --port 应该是整数，范围 0 到 65535；例如 2081',
      code: 2,
    },
    { args: ['check', '--spend'], says: 'aiload: --spend 要与 --live 一起用', code: 2 },
  ])('told $args says what would be right', async ({ args, says, code }) => {
    const { run } = bed()
    expect(await run(args, CHINESE)).toMatchObject({ code, stdout: '', stderr: `${says}\n` })
    expect((await run(args)).stderr).not.toMatch(HAN)
  })

  test('says that a vendor is not known', async () => {
    const { code, stderr } = await runAiload(['start'], {
      directory: temporaryDirectory(),
      env: { ...CHINESE, AILOAD_VENDORS: 'grok' },
    })
    expect([code, stderr]).toEqual([
      1,
      'environment: AILOAD_VENDORS 里的 "grok" 不是内置的厂商；是不是想写 groq？\n',
    ])
  })

  test.each([
    { args: ['check', '--json'] },
    { args: ['token', '--show'] },
    { args: ['completion', 'bash'] },
    { args: ['version'] },
  ])('prints the same for programs in every language: $args', async ({ args }) => {
    const { run } = bed()
    const [english, chinese] = [await run(args), await run(args, CHINESE)]
    expect(chinese).toMatchObject({ code: english.code, stdout: english.stdout, stderr: english.stderr })
  })

  const start = ['start', '--port', '0', '--host', '127.0.0.1']

  test('writes its log as JSON in English', async () => {
    const { directory, file } = bed()
    const gateway = spawnAiload(start, { directory, env: { ...CHINESE, AILOAD_CONFIG: file } })
    await gateway.printed(/begins with the word Bearer/)
    await gateway.stop()
    expect(gateway.stdout).toContain('AILoad')
    expect(gateway.stdout).not.toMatch(HAN_MARKS)
  })

  test('shows the demo in Chinese, and its commands as they are', async () => {
    const demo = spawnAiload(['demo', '--port', '0'], { directory: temporaryDirectory(), env: CHINESE })
    await demo.printed(/尝试不止一次时/)
    const told = demo.stdout.split('\n').filter((line) => line !== '' && !HAN.test(line))
    expect(told.filter((line) => !/^ {2}(?:curl |\(for |const |await |client|http:)/.test(line))).toEqual([])
    expect(told.length).toBeGreaterThan(5)
  })

  test('tells an operator who prefers Chinese over HTTP what is wrong with the configuration', async () => {
    const server = { admin: 'write' }
    const models = [{ name: 'one', base_url: 'http://127.0.0.1:1234/v1', model: 'm', wieght: 2 }]
    const gateway = await startGateway({ models, server })
    const headers = { 'accept-language': 'zh-CN' }
    const status = async (): Promise<string> => (await gateway.fetch('/admin/status', { headers })).text()
    expect(await status()).toMatch(/models\[0\]\.wieght: 没有这个键，已忽略；是不是想写 /)
    expect(await (await gateway.fetch('/admin/status')).text()).not.toMatch(HAN)

    const { etag } = (await (await gateway.fetch('/admin/config')).json()) as { etag: string }
    const wrong = JSON.stringify({ etag, settings: { strategy: 'best' } })
    const change = { method: 'POST', body: wrong }
    const path = '/admin/config/settings'
    const refusal = (await (await gateway.fetch(path, { ...change, headers })).json()) as {
      error: { message: string }
      problems: { message: string }[]
    }
    expect(refusal.problems[0]?.message).toContain('不是可用的值')
    expect(refusal.error.message, 'a message is of one language').not.toMatch(HAN)
    expect(await (await gateway.fetch(path, change)).text()).not.toMatch(HAN)

    gateway.writeConfig({ models, server, settings: { strategy: 'best' } })
    await gateway.printed(/settings\.strategy: is not a known value/)
    expect(await status()).toMatch(/改动后的配置没有采用：.*settings\.strategy: 不是可用的值；可选/)
  })

  const python = '/usr/bin/python3'
  test.skipIf(!existsSync(python))(
    'speaks Chinese on a terminal, from its first line to its last',
    async () => {
      const { directory, file } = bed()
      const through = [python, '-c', 'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)']
      const gateway = spawnAiload(start, { directory, through, env: { ...CHINESE, AILOAD_CONFIG: file } })
      await gateway.printed(/AILoad \S+ 正在监听 http/)
      await gateway.printed(/^1 个上游：\r?\n {2}one：模型 m，位于 127\.0\.0\.1:1234\r?\n策略 random/m)
      await gateway.printed(/客户端使用的令牌：.* 里的 "auth_token"/)
      await gateway.printed(/警告 .*models\[0\]\.api_key: 开头多了 Bearer；去掉这个词/)
    },
  )
})
