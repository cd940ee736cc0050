import { expect, onTestFinished, test } from 'vitest'
import { buildPage } from '../../config/page.ts'
import { behavesAsEverywhere } from './behaviours.ts'
import { workerBundle } from './bundles.ts'
import { startWorkers, worker } from './runtimes.ts'

behavesAsEverywhere(worker)

test('the page comes from the assets, with its policy, and is no part of the code', async () => {
  const { html } = await buildPage()
  const models = [{ base_url: 'https://upstream.invalid/v1', api_key: 'k', model: 'm' }]
  const [running] = await startWorkers({ models }, { sockets: 1, page: html })
  onTestFinished(() => running?.stop())
  const response = await fetch(running?.url ?? '')
  expect(await response.text()).toBe(html)
  expect(response.headers.get('content-security-policy')).toContain("frame-ancestors 'none'")
  const etag = response.headers.get('etag') ?? ''
  expect((await fetch(running?.url ?? '', { headers: { 'if-none-match': etag } })).status).toBe(304)
  expect(workerBundle()).not.toContain('uplot')
})
