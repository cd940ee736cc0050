import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import OpenAI, { RateLimitError } from 'openai'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { portOf, spawnAiload, temporaryDirectory, type AiloadProcess } from '../../support/gateway-process.ts'

let runDemo: AiloadProcess
let directory = ''
let base = ''
let client: OpenAI

beforeAll(async () => {
  directory = temporaryDirectory()
  runDemo = spawnAiload(['demo', '--port', '0'], { directory })
  base = `http://127.0.0.1:${await portOf(runDemo)}`
  client = new OpenAI({ baseURL: `${base}/v1`, apiKey: 'sk-demo', maxRetries: 0 })
})
afterAll(() => runDemo.stop())

const ask = (content: string, model = 'auto') => ({ model, messages: [{ role: 'user' as const, content }] })

test('the demo prints lines to copy, with the port that it really has', () => {
  for (const line of [
    `curl ${base.replace('127.0.0.1', 'localhost')}/v1/chat/completions -H 'authorization: Bearer sk-demo'`,
    'curl -N ',
    'for i in $(seq 20)',
    'new OpenAI({ baseURL:',
    'OpenAI(base_url=',
    '/admin/status',
    '/metrics',
    'Ctrl-C',
  ]) {
    expect(runDemo.stdout).toContain(line)
  }
})

test('the lines to copy do what they say in a shell', async () => {
  const lines = runDemo.stdout
    .split('\n')
    .filter((line) => /^ {2}(?:curl|\(for) /.test(line) && !line.includes('/break'))
  expect(lines).toHaveLength(5)
  const { execFile } = await import('node:child_process')
  const { promisify } = await import('node:util')
  const shell = (line: string) => promisify(execFile)('sh', ['-c', line.replace('seq 20', 'seq 3')])
  const printed = await Promise.all(lines.map(async (line) => (await shell(line)).stdout))
  expect(printed[0]).toContain('chat.completion')
  expect(printed[1]).toContain('data: [DONE]')
  expect(printed[2]).toMatch(/^(?:200 (?:quick|slow|limited) after 1 attempt\(s\), \d+\.\d+ s\n){3}$/)
  expect(printed[3]).toContain('"upstreams"')
  expect(printed[4]).toContain('aiload_')
})

test('a chat is answered with a text that says who wrote it, and usage', async () => {
  const answer = await client.chat.completions.create(ask('Who are you?', 'demo-quick'))
  expect(answer.model).toBe('demo-quick')
  expect(answer.choices[0]?.message.content).toContain('This is the quick upstream')
  const words = answer.choices[0]?.message.content?.split(' ').length
  expect(answer.usage?.completion_tokens).toBe(words)
})

test('a stream comes word by word, with usage when asked for', async () => {
  const stream = await client.chat.completions.create({
    ...ask('Do you stream?', 'demo-quick'),
    stream: true,
    stream_options: { include_usage: true },
  })
  const words: string[] = []
  let total = 0
  for await (const chunk of stream) {
    const word = chunk.choices[0]?.delta.content ?? ''
    if (word !== '') words.push(word)
    total = chunk.usage?.completion_tokens ?? total
  }
  expect(words.length).toBeGreaterThan(20)
  expect(words.join('')).toContain('passed on chunk by chunk')
  expect(total).toBe(words.length)
})

test('twenty requests at once all succeed on all three: the 429 of the limited upstream stays inside', async () => {
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => client.chat.completions.create(ask('Which one?')).withResponse()),
  )
  const upstreams = answers.map(({ response }) => response.headers.get('x-aiload-upstream'))
  expect(new Set(upstreams)).toEqual(new Set(['quick', 'slow', 'limited']))
  expect(upstreams.filter((name) => name === 'limited').length).toBeLessThanOrEqual(5)
  expect(answers.every(({ response }) => response.status === 200)).toBe(true)
})

test('asked for alone, the limited upstream is out of quota after five a minute', async () => {
  const limited = () => client.chat.completions.create(ask('Hello', 'demo-limited')).withResponse()
  const refusals: unknown[] = []
  for (let request = 0; request < 7; request += 1)
    await limited().catch((error: unknown) => refusals.push(error))
  const refusal = refusals.find((error) => error instanceof RateLimitError)
  const wait = Number(refusal?.headers?.get('retry-after'))
  expect(wait).toBeGreaterThan(5)
  expect(wait).toBeLessThanOrEqual(60)
})

test('a broken upstream is not noticed, and mended with the same line', async () => {
  const [, url = ''] = /curl -X POST (\S+\/break)/.exec(runDemo.stdout) ?? []
  const turn = async (): Promise<string> => (await fetch(url, { method: 'POST' })).text()
  expect(await turn()).toBe('quick answers 500 from now on\n')
  const answers = await Promise.all(
    Array.from({ length: 4 }, () => client.chat.completions.create(ask('Hello'))),
  )
  expect(answers.map(({ model }) => model)).not.toContain('demo-quick')
  await runDemo.printed(/quick: 500/)
  expect(await turn()).toBe('quick works again\n')
})

test('the demo writes no file', () => {
  expect(readdirSync(directory)).toEqual([])
})

test('a taken port is no obstacle: the next free one is taken and said', async () => {
  const taken = createServer().listen(0, '127.0.0.1')
  onTestFinished(() => void taken.close())
  await once(taken, 'listening')
  const { port } = taken.address() as AddressInfo
  const other = spawnAiload(['demo', '--port', String(port)], { directory })
  const found = await portOf(other)
  expect(found).toBeGreaterThan(port)
  expect(other.stdout).toContain(`(port ${port} is taken by another program)`)
  other.signal('SIGINT')
  expect(await other.exit).toEqual({ code: 0, signal: null })
})
