import { expect, test } from 'vitest'
import { presetOf, vendorPresets } from '../../src/config/presets.ts'
import type { GatewayStatus } from '../../src/telemetry/status.ts'
import { completion, healthy } from '../support/believable.ts'
import { startGateway } from '../support/gateway-process.ts'
import { answer } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type Scene } from '../support/scripted-upstream.ts'

/* Every vendor that is known beforehand, by a gateway of its own process and a server that stands in for all of them. */

const listed = ['listed-model:free', 'doubao-seed-listed']

const theList = answer({ body: JSON.stringify({ data: listed.map((id) => ({ id })) }) })
const asVendor: Scene = (exchange) =>
  exchange.request.path.endsWith('/models') ? theList(exchange) : healthy()(exchange)

/** The path below which a vendor serves. */
const pathOf = (url: string): string => new URL(url.replaceAll(/\$\{\w+\}/g, 'x')).pathname

test('each vendor is asked at its path, with its key, for a model of its preset or of its list', async () => {
  const upstream = await startScriptedUpstream(asVendor)
  // Azure's models are the deployments of its customer.
  const own: Readonly<Record<string, object>> = { azure: { model: 'my-deployment' } }
  const models = vendorPresets.map(([vendor, { base_url: url }]) => ({
    vendor,
    api_key: `key-of-${vendor}`,
    base_url: upstream.url + pathOf(url),
    groups: [vendor],
    ...own[vendor],
  }))
  const gateway = await startGateway({ models })
  for (const [vendor, preset] of vendorPresets) {
    const answered = await gateway.chat({ model: vendor })
    expect([vendor, answered.status]).toEqual([vendor, 200])
    await answered.text()
    const request = upstream.requests.at(-1)
    expect(request?.path).toBe(`${pathOf(preset.base_url)}/chat/completions`)
    expect(request?.headers['authorization']).toBe(`Bearer key-of-${vendor}`)
    const { model } = JSON.parse(new TextDecoder().decode(request?.body)) as { model: string }
    const known = [...(preset.models ?? []).map((one) => one.model), ...listed, 'my-deployment']
    expect(known).toContain(model)
  }
  await upstream.close()
})

test('a limit that only a preset tells of refuses nobody, and shows where it comes from', async () => {
  const [vendor, limited] =
    vendorPresets.find(([, { models = [] }]) => (models[0]?.limits?.rpm ?? 99) <= 30) ?? []
  const { model, limits } = limited?.models?.[0] ?? {}
  const upstream = await startScriptedUpstream(healthy())
  const base_url = `${upstream.url}/v1`
  const gateway = await startGateway({ models: [{ vendor, model, api_key: 'k', base_url }] })
  const asked = Array.from({ length: (limits?.rpm ?? 0) + 5 }, () => gateway.chat())
  expect(new Set((await Promise.all(asked)).map(({ status }) => status))).toEqual(new Set([200]))
  const status = (await (await gateway.fetch('/admin/status')).json()) as GatewayStatus
  const minute = status.upstreams[0]?.windows.find(
    ({ counts, window }) => counts === 'requests' && window === 'minute',
  )
  expect(minute).toMatchObject({ source: 'preset', limit: (limits?.rpm ?? 0) + 5 })
  await upstream.close()
}, 30_000)

test('a limit whose span the vendor does not name takes the place of the preset that fills in the same time', async () => {
  const preset = presetOf('groq')?.models?.[0]
  // As Groq writes them: requests of a day and tokens of a minute, each as the time until it is whole again.
  const headers = {
    'x-ratelimit-limit-requests': '5000',
    'x-ratelimit-remaining-requests': '4999',
    'x-ratelimit-reset-requests': '17.28s',
    'x-ratelimit-limit-tokens': '60000',
    'x-ratelimit-remaining-tokens': '59000',
    'x-ratelimit-reset-tokens': '1s',
  }
  const upstream = await startScriptedUpstream(answer({ headers, body: completion() }))
  const base_url = `${upstream.url}/v1`
  const gateway = await startGateway({
    models: [{ vendor: 'groq', model: preset?.model, api_key: 'k', base_url }],
  })
  await (await gateway.chat()).text()
  const status = (await (await gateway.fetch('/admin/status')).json()) as GatewayStatus
  const presumed = status.upstreams[0]?.windows.filter(({ source }) => source === 'preset')
  expect(presumed?.map(({ counts, window }) => `${counts} per ${window}`)).toEqual([
    'requests per minute',
    'tokens per day',
  ])
  const learned = status.upstreams[0]?.windows.filter(({ source }) => source === 'learned')
  expect(learned?.map(({ counts, window }) => `${counts} per ${window}`)).toEqual([
    'requests per day',
    'tokens per minute',
  ])
  await upstream.close()
})

test('what the vendor says of a limit takes the place of its preset', async () => {
  const preset = presetOf('groq')?.models?.[0]
  const headers = {
    'x-ratelimit-limit-tokens-minute': '123456',
    'x-ratelimit-remaining-tokens-minute': '123000',
  }
  const upstream = await startScriptedUpstream(answer({ headers, body: completion() }))
  const base_url = `${upstream.url}/v1`
  const gateway = await startGateway({
    models: [{ vendor: 'groq', model: preset?.model, api_key: 'k', base_url }],
  })
  const before = (await (await gateway.fetch('/admin/status')).json()) as GatewayStatus
  await (await gateway.chat()).text()
  const after = (await (await gateway.fetch('/admin/status')).json()) as GatewayStatus
  const tokensOf = ({ upstreams }: GatewayStatus) =>
    upstreams[0]?.windows
      .filter(({ counts, window }) => counts === 'tokens' && window === 'minute')
      .map(({ source, limit }) => [source, limit])
  expect([tokensOf(before), tokensOf(after)]).toEqual([
    [['preset', preset?.limits?.tpm]],
    [['learned', 123_456]],
  ])
  await upstream.close()
})
