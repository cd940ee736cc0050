import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { until } from '../support/until.ts'
import { bun, configured, deno, temporaryDirectory, TOKEN, type Running } from './runtimes.ts'

const modelNamed = (model: string): object => ({
  models: [{ base_url: 'https://upstream.invalid/v1', api_key: 'k', model }],
})

async function told<T>({ url }: Running, path: string): Promise<T> {
  const answer = await fetch(`${url}${path}`, { headers: { authorization: `Bearer ${TOKEN}` } })
  return (await answer.json()) as T
}

async function modelsOf(running: Running): Promise<string[]> {
  const { data } = await told<{ data: { id: string }[] }>(running, '/v1/models')
  return data.map(({ id }) => id)
}

test.each([bun, deno])(
  '$name serves a changed file without a restart, and no broken one',
  async (runtime) => {
    const directory = temporaryDirectory()
    const running = await runtime.start(modelNamed('before'), { directory })
    const file = join(directory, 'config.json')
    const { port } = new URL(running.url)
    try {
      writeFileSync(file, JSON.stringify(configured(modelNamed('after'), Number(port))))
      await until(running.output, (printed) => printed.includes('the configuration was reloaded'))
      expect(await modelsOf(running)).toEqual(['auto', 'after'])
      writeFileSync(file, '{ "models": [')
      await until(running.output, (printed) => printed.includes('the last good one stays'))
      expect(await modelsOf(running)).toEqual(['auto', 'after'])
      const { last_reload } = await told<{ last_reload: { ok: boolean } }>(running, '/admin/status')
      expect(last_reload.ok).toBe(false)
      process.kill(running.pid, 'SIGHUP')
      expect(await modelsOf(running)).toEqual(['auto', 'after'])
    } finally {
      await running.stop()
      rmSync(directory, { recursive: true, force: true })
    }
  },
)

test.each([bun, deno])(
  '$name takes an edit of its file over HTTP, and serves it at once',
  async (runtime) => {
    const directory = temporaryDirectory()
    const config = { ...modelNamed('before'), server: { admin: 'write' } }
    const running = await runtime.start(config, { directory })
    try {
      const { etag } = await told<{ etag: string }>(running, '/admin/config')
      const entry = { base_url: 'https://upstream.invalid/v1', api_key: 'k2', model: 'added' }
      const answer = await fetch(`${running.url}/admin/config/upstreams`, {
        method: 'POST',
        headers: { authorization: `Bearer ${TOKEN}` },
        body: JSON.stringify({ etag, entry }),
      })
      expect(answer.status).toBe(200)
      expect(await modelsOf(running)).toEqual(['auto', 'before', 'added'])
      expect(readFileSync(join(directory, 'config.json'), 'utf8')).toContain('"added"')
    } finally {
      await running.stop()
      rmSync(directory, { recursive: true, force: true })
    }
  },
)
