import { expect, test } from 'vitest'
import { createGateway } from '../../src/adapter/gateway.ts'
import { toWebResponse } from '../../src/http/response.ts'
import { upstreamIdOf } from '../../src/config/upstreams.ts'
import { utf8Bytes } from '../../src/lib/bytes.ts'
import { createMemoryStore } from '../../src/state/memory.ts'
import { TransportError, type Send } from '../../src/transport/transport.ts'
import { configOf, textOf } from '../config/texts.ts'
import { createFakeClock, settle } from '../support/fake-clock.ts'

const rootOf = (host: string) => `https://${host}/v1`
const entryOf = (host: string) => ({ base_url: rootOf(host), api_key: 'k', models: '*' })
const configOn = (...hosts: string[]) => configOf(textOf({ models: hosts.map(entryOf) }))
const idAt = (host: string) => upstreamIdOf({ root: rootOf(host), apiKey: 'k', model: 'm' })

/** A gateway whose upstreams list one model each, as soon as they are let. */
function bed() {
  const clock = createFakeClock()
  const store = createMemoryStore({ random: () => 0.5 })
  const waiting = new Map<string, (isThere: boolean) => void>()
  const send: Send = ({ url }) =>
    new Promise((resolve, reject) => {
      const body = utf8Bytes(JSON.stringify({ data: [{ id: 'm', context_length: 8_000 }] }))
      waiting.set(new URL(url).host, (isThere) =>
        isThere
          ? resolve({ status: 200, headers: {}, body })
          : reject(new TransportError('not-sent', 'x', 'connection refused')),
      )
    })
  const platform = {
    clock,
    store,
    send,
    receive: () => Promise.reject(new Error('nobody asks')),
    toResponse: toWebResponse,
    log: () => {},
    abilities: store.abilities,
    expect: store.expect,
  } as unknown as Parameters<typeof createGateway>[1]
  const lists = async (host: string, isThere = true) => {
    waiting.get(host)?.(isThere)
    await settle()
  }
  return { clock, store, lists, platform }
}

test('what is known of models whose list is still to come is not forgotten', async () => {
  const { store, lists, platform, clock } = bed()
  const worked = { abilities: ['tools'] as const, context: 0, output: 0, body: 0 }
  for (const host of ['a.example', 'b.example']) store.abilities.worked(idAt(host), worked, clock.now())
  const gateway = createGateway(configOn('a.example', 'b.example'), platform)
  await lists('a.example')
  await lists('b.example', false)
  await gateway.ready
  expect(gateway.upstreams()).toHaveLength(1)
  await clock.advance(5_000)
  await lists('b.example')
  expect(gateway.upstreams()).toHaveLength(2)
  expect(store.abilities.of(idAt('b.example')).can).toMatchObject({ tools: { can: true } })
})

test('after a reload what a new list says of its models is known', async () => {
  const { store, lists, platform } = bed()
  const gateway = createGateway(configOn('a.example'), platform)
  await lists('a.example')
  await gateway.ready
  const applied = gateway.apply(configOn('a.example', 'b.example'))
  await lists('b.example')
  await applied
  expect(gateway.upstreams().map(({ id }) => id)).toEqual([idAt('a.example'), idAt('b.example')])
  expect(store.abilities.of(idAt('b.example')).sizes).toMatchObject({ context: { most: 8_000 } })
})

test('while a configuration waits for its lists, the present one keeps all its models', async () => {
  const { lists, platform } = bed()
  const gateway = createGateway(configOn('a.example'), platform)
  await lists('a.example')
  await gateway.ready
  const applied = gateway.apply(configOn('b.example', 'c.example'))
  await lists('b.example')
  expect(gateway.upstreams().map(({ id }) => id)).toEqual([idAt('a.example')])
  await lists('c.example')
  await applied
  expect(gateway.upstreams().map(({ id }) => id)).toEqual([idAt('b.example'), idAt('c.example')])
})
