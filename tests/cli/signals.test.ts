import { expect, onTestFinished, test } from 'vitest'
import { startGateway } from '../support/gateway-process.ts'
import { answer, createGate, type Piece } from '../support/scripted-scenes.ts'
import { startScriptedUpstream } from '../support/scripted-upstream.ts'

const word = (content: string): string =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content } }] })}\n\n`

async function streaming(body: readonly Piece[], settings: object = {}) {
  const upstream = await startScriptedUpstream(
    answer({ headers: { 'content-type': 'text/event-stream' }, body, framing: 'chunked' }),
  )
  onTestFinished(() => upstream.close())
  const gateway = await startGateway({
    models: [{ base_url: `${upstream.url}/v1`, model: 'm', api_key: 'k' }],
    settings,
  })
  const response = await gateway.chat({ stream: true })
  const reader = response.body!.getReader()
  const first = new TextDecoder().decode((await reader.read()).value)
  const rest = async (): Promise<string> => {
    const decoder = new TextDecoder()
    let text = ''
    for (let part = await reader.read(); !part.done; part = await reader.read())
      text += decoder.decode(part.value, { stream: true })
    return text
  }
  return { gateway, first, rest }
}

test('after SIGTERM an open stream finishes, nobody new gets in, and it exits with 0', async () => {
  const gate = createGate()
  const { gateway, first, rest } = await streaming([
    word('one'),
    gate.opened,
    word('two'),
    'data: [DONE]\n\n',
  ])
  expect(first).toBe(word('one'))
  gateway.signal('SIGTERM')
  await gateway.printed(/stopping after SIGTERM/)
  const late = await gateway.chat().then(
    ({ status }) => status,
    () => 'refused',
  )
  expect([503, 'refused']).toContain(late)
  gate.open()
  expect(await rest()).toBe(`${word('two')}data: [DONE]\n\n`)
  expect(await gateway.exit).toEqual({ code: 0, signal: null })
  expect(gateway.stdout.trimEnd().split('\n').at(-1)).toContain('"message":"stopped"')
})

test('what has not finished within drain_timeout is cut and counted, and it still exits with 0', async () => {
  const { gateway, rest } = await streaming([word('one'), createGate().opened], { drain_timeout: 0.3 })
  const broken = rest().then(
    () => 'ended',
    () => 'broken',
  )
  gateway.signal('SIGINT')
  expect(await gateway.exit).toEqual({ code: 0, signal: null })
  expect(gateway.stdout).toContain('stopped; 1 open answer had to be cut')
  await broken
})

test('under npm it ends with its parent: told to stop, npm ends only the shell between them', async () => {
  const gateway = await startGateway(
    { models: [{ base_url: 'https://a.example/v1', model: 'm' }] },
    { parent: 'sh' },
  )
  gateway.signal('SIGTERM')
  await gateway.printed(/stopping after the end of npm/)
  await gateway.exit
  await expect(fetch(gateway.url)).rejects.toThrow('fetch failed')
})

test('a second signal ends at once', async () => {
  const { gateway, rest } = await streaming([word('one'), createGate().opened], { drain_timeout: 60 })
  const broken = rest().then(
    () => 'ended',
    () => 'broken',
  )
  gateway.signal('SIGTERM')
  await gateway.printed(/stopping after SIGTERM/)
  const since = performance.now()
  gateway.signal('SIGTERM')
  expect(await gateway.exit).toEqual({ code: 0, signal: null })
  expect(performance.now() - since).toBeLessThan(5_000)
  expect(gateway.stdout).not.toContain('"message":"stopped')
  await broken
})
