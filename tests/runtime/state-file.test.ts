import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { answer, createGate } from '../support/scripted-scenes.ts'
import { startScriptedUpstream } from '../support/scripted-upstream.ts'
import { bun, deno, node, temporaryDirectory, TOKEN, type Running } from './runtimes.ts'

const CHUNK = 'data: {"choices":[{"delta":{"content":"one"}}]}\n\n'
const LAST = 'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'

const chat = ({ url }: Running, body: string): Promise<Response> =>
  fetch(`${url}/v1/chat/completions`, { method: 'POST', headers: { authorization: `Bearer ${TOKEN}` }, body })

test.each([node('20'), bun, deno])(
  '$name lets a stream finish at SIGTERM, and remembers after a restart what was spent',
  async (runtime) => {
    const gate = createGate()
    const upstream = await startScriptedUpstream(
      answer({ headers: { 'content-type': 'text/event-stream' }, body: [CHUNK, gate.opened, LAST] }),
    )
    const directory = temporaryDirectory()
    const models = [
      { base_url: `${upstream.url}/v1`, api_key: 'sk-key-of-the-upstream', model: 'm', limits: { rpm: 1 } },
    ]
    const config = { models, settings: { queue_timeout: 0, drain_timeout: 5 } }

    const first = await runtime.start(config, { directory })
    const stream = await chat(first, '{"stream":true,"messages":[]}')
    const ending = first.stop({ keep: directory })
    setTimeout(gate.open, 300)
    expect(await stream.text()).toBe(CHUNK + LAST)
    await ending
    expect(readFileSync(join(directory, 'state.json'), 'utf8')).not.toContain('sk-key-of-the-upstream')

    const second = await runtime.start(config, { directory })
    const refused = await chat(second, '{"messages":[]}')
    expect(refused.status).toBe(429)
    await refused.text()
    await second.stop()
    await upstream.close()
    rmSync(directory, { recursive: true, force: true })
    expect(upstream.requests).toHaveLength(1)
  },
)
