import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { refreshPage } from '../../config/page.ts'
import { pageOf } from '../../src/http/page.ts'
import { answer } from '../support/scripted-scenes.ts'
import { startScriptedUpstream } from '../support/scripted-upstream.ts'
import { until } from '../support/until.ts'
import { bun, deno, node, temporaryDirectory, TOKEN } from './runtimes.ts'
import { root } from './tools.ts'

/** The page where there are files: it comes whole and packed, and all that it asks for is there. */

const dist = join(root, 'dist')
const good = answer({ body: '{"choices":[{"message":{"role":"assistant","content":"Hello"}}]}' })

test.each([node('20'), node('24'), bun, deno])(
  '$name serves the page, and what it asks for',
  async (runtime) => {
    await refreshPage(dist)
    const html = readFileSync(join(dist, 'page.html'), 'utf8')
    const upstream = await startScriptedUpstream(good)
    onTestFinished(() => upstream.close())
    const directory = temporaryDirectory()
    const models = [{ base_url: `${upstream.url}/v1`, model: 'm', name: 'only' }]
    const gateway = await runtime.start({ models, server: { admin: 'write' } }, { directory })
    onTestFinished(() => gateway.stop())

    const plain = await fetch(gateway.url, { headers: { 'accept-encoding': 'identity' } })
    expect(await plain.text()).toBe(html)
    expect(plain.headers.get('content-security-policy')).toBe(pageOf(html).policy)
    const packed = await fetch(gateway.url, { headers: { 'accept-encoding': 'gzip' } })
    expect([packed.headers.get('content-encoding'), await packed.text()]).toEqual(['gzip', html])
    const etag = plain.headers.get('etag') ?? ''
    expect((await fetch(gateway.url, { headers: { 'if-none-match': etag } })).status).toBe(304)

    const headers = { authorization: `Bearer ${TOKEN}` }
    const leaving = new AbortController()
    const events = await fetch(`${gateway.url}/admin/events`, { headers, signal: leaving.signal })
    let told = ''
    void (async () => {
      const decoder = new TextDecoder()
      for await (const chunk of events.body!) told += decoder.decode(chunk, { stream: true })
    })().catch(() => {})
    const post = (path: string, body: object): Promise<Response> =>
      fetch(gateway.url + path, { method: 'POST', headers, body: JSON.stringify(body) })
    await until(
      () => told,
      (text) => /^event: snapshot\ndata: \{.*\n\n/.test(text),
    )
    expect((await post('/v1/chat/completions', { messages: [] })).status).toBe(200)
    await until(
      () => told,
      (text) => text.includes('event: requests') && text.includes('event: status'),
    )
    leaving.abort()
    for (const path of ['status', 'usage', 'tokens', 'requests', 'config', 'presets'])
      expect([path, (await fetch(`${gateway.url}/admin/${path}`, { headers })).status]).toEqual([path, 200])

    const config = (await (await fetch(`${gateway.url}/admin/config`, { headers })).json()) as {
      etag: string
    }
    const change = { etag: config.etag, settings: { strategy: 'headroom' } }
    expect((await post('/admin/config/settings', change)).status).toBe(200)
    expect(readFileSync(join(directory, 'config.json'), 'utf8')).toContain('"strategy": "headroom"')
  },
)
