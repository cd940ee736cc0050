import { expect, test } from 'vitest'
import { chunkEvent, completion, isStreamAsked, streamEnd } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { createLoadClient } from '../support/load-client.ts'
import { connectRaw, headOf } from '../support/raw-client.ts'
import { createGate, type Gate } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'

/** Begins every answer, and ends it when the gate opens. */
function startGated(gate: Gate): Promise<ScriptedUpstream> {
  return startScriptedUpstream(async (exchange) => {
    if (!isStreamAsked(exchange.request.body)) {
      await gate.opened
      const text = completion()
      await exchange.head(200, { 'content-type': 'application/json', 'content-length': String(text.length) })
      await exchange.raw(text)
      return
    }
    await exchange.head(200, { 'content-type': 'text/event-stream', 'transfer-encoding': 'chunked' })
    await exchange.chunk(chunkEvent('begun'))
    await gate.opened
    await exchange.chunk(chunkEvent('finished'))
    await exchange.chunk(streamEnd)
    await exchange.lastChunk()
  })
}

const gatewayOver = ({ url }: ScriptedUpstream, settings: object = {}): Promise<GatewayProcess> =>
  startGateway({
    models: [{ name: 'u', base_url: `${url}/v1`, model: 'm' }],
    settings: { affinity: 'off', ...settings },
  })

/** A new request after the signal: refused, or told to go elsewhere. */
async function isTurnedAway(gateway: GatewayProcess): Promise<boolean> {
  const client = createLoadClient(gateway)
  const { status, headers, error } = await client.chat()
  client.close()
  if (error !== undefined) return error === 'ECONNREFUSED' || error === 'ECONNRESET'
  return status === 503 && headers.connection === 'close'
}

test.each(['SIGTERM', 'SIGINT'] as const)(
  '%s: 200 open streams and 20 waiting requests all finish, new ones are turned away, exit 0',
  async (signal) => {
    const gate = createGate()
    const upstream = await startGated(gate)
    const gateway = await gatewayOver(upstream, { drain_timeout: 60 })
    const client = createLoadClient(gateway)
    const streams = Array.from({ length: 200 }, () => client.chat({ stream: true }))
    const waiting = Array.from({ length: 20 }, () => client.chat())
    await upstream.request(220)

    gateway.signal(signal)
    await gateway.printed(/stopping after/)
    expect(await isTurnedAway(gateway)).toBe(true)
    gate.open()

    for (const answer of await Promise.all(streams)) {
      expect(answer.error).toBeUndefined()
      expect(answer.text).toBe(chunkEvent('begun') + chunkEvent('finished') + streamEnd)
    }
    for (const answer of await Promise.all(waiting)) expect(answer.text).toBe(completion())
    expect(await gateway.exit).toEqual({ code: 0, signal: null })
    expect(gateway.stderr).toBe('')
    client.close()
    await upstream.close()
  },
)

test('a connection that is kept alive is told 503 and to close, or is closed', async () => {
  const gate = createGate()
  const upstream = await startGated(gate)
  const gateway = await gatewayOver(upstream, { drain_timeout: 60 })
  const idle = await connectRaw(gateway.port)
  const get = headOf('GET /v1/models HTTP/1.1', { authorization: `Bearer ${gateway.token}` })
  idle.send(get)
  await idle.received(/"object"/)
  const client = createLoadClient(gateway)
  const stream = client.chat({ stream: true })
  await upstream.request(1)

  gateway.signal('SIGTERM')
  await gateway.printed(/stopping after/)
  if (idle.ending === undefined) idle.send(get)
  await idle.ended()
  if (idle.statuses.length > 1) expect(idle.text).toMatch(/HTTP\/1\.1 503 [^]*connection: close/i)
  gate.open()
  expect((await stream).text).toContain('[DONE]')
  expect((await gateway.exit).code).toBe(0)
  client.close()
  await upstream.close()
})

test('what has not finished within drain_timeout is cut, and the exit code is 0 all the same', async () => {
  const upstream = await startGated(createGate())
  const gateway = await gatewayOver(upstream, { drain_timeout: 1 })
  const client = createLoadClient(gateway)
  const streams = Array.from({ length: 10 }, () => client.chat({ stream: true }))
  await upstream.request(10)
  gateway.signal('SIGTERM')
  expect(await gateway.exit).toEqual({ code: 0, signal: null })
  for (const { error, text } of await Promise.all(streams)) {
    expect(error).toBeDefined()
    expect(text).not.toContain('[DONE]')
  }
  expect(gateway.stdout).toMatch(/10 open answers had to be cut/)
  client.close()
  await upstream.close()
})

test('a second signal ends the process at once', async () => {
  const upstream = await startGated(createGate())
  const gateway = await gatewayOver(upstream, { drain_timeout: 3_000 })
  const client = createLoadClient(gateway)
  const stream = client.chat({ stream: true })
  await upstream.request(1)
  gateway.signal('SIGTERM')
  await gateway.printed(/stopping after/)
  gateway.signal('SIGTERM')
  expect(await gateway.exit).toEqual({ code: 0, signal: null })
  expect((await stream).error).toBeDefined()
  client.close()
  await upstream.close()
})
