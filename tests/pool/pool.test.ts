import { expect, test } from 'vitest'
import { createPools } from '../../src/pool/pool.ts'
import { endpoints } from '../../src/pool/upstream.ts'
import { upstreamOf } from './upstreams.ts'

const upstreams = [
  upstreamOf('a', { model: 'gpt', groups: ['fast', 'all'] }),
  upstreamOf('b', { model: 'gpt', groups: ['all'] }),
  upstreamOf('c', { model: 'llama', groups: ['fast'], endpoints: new Set(['chat'] as const) }),
  upstreamOf('off', { model: 'old', enabled: false }),
  upstreamOf('e', { model: 'small', endpoints: new Set(['embeddings'] as const) }),
]
const pools = createPools(upstreams, 'reject')
const members = (name: string, endpoint: (typeof endpoints)[number] = 'chat', from = pools) =>
  from.poolFor(name, endpoint)?.upstreams.map(({ id }) => id)

test.each([
  { name: 'auto', expected: ['a', 'b', 'c'], because: 'everybody who serves the endpoint' },
  { name: 'Auto', expected: ['a', 'b', 'c'], because: 'auto has no case' },
  { name: 'AUTO', expected: ['a', 'b', 'c'], because: 'auto has no case' },
  { name: 'FAST', expected: undefined, because: 'other names have one' },
  { name: '', expected: ['a', 'b', 'c'], because: 'no name is auto' },
  { name: 'fast', expected: ['a', 'c'], because: 'a group' },
  { name: 'gpt', expected: ['a', 'b'], because: 'a model name' },
  { name: 'b', expected: ['b'], because: 'an upstream’s own name' },
  { name: 'old', expected: [], because: 'known, but nobody is enabled' },
  { name: 'nobody', expected: undefined, because: 'unknown' },
  { name: 'toString', expected: undefined, because: 'unknown, whatever objects inherit' },
])('"$name" goes to $expected: $because', ({ name, expected }) => {
  expect(members(name)).toEqual(expected)
})

test('who does not serve the endpoint is not in the pool', () => {
  expect(members('auto', 'audio')).toEqual(['a', 'b'])
  expect(members('llama', 'audio')).toEqual([])
})

test('a pool for embeddings has every model, since one may lack the endpoint', () => {
  expect(members('auto', 'embeddings')).toEqual(['a', 'b', 'e'])
  expect(members('small', 'embeddings')).toEqual(['e'])
})

test('a group goes before a model, a model before a name', () => {
  const clash = createPools(
    [
      upstreamOf('a', { groups: ['x'] }),
      upstreamOf('b', { model: 'x' }),
      upstreamOf('c', { name: 'x' }),
      upstreamOf('d', { model: 'y' }),
      upstreamOf('e', { name: 'y' }),
    ],
    'reject',
  )
  expect(members('x', 'chat', clash)).toEqual(['a'])
  expect(members('y', 'chat', clash)).toEqual(['d'])
})

test('the look-up is built by looking at each upstream a few times, however many there are', () => {
  let looks = 0
  const many = Array.from({ length: 1_000 }, (_, at) => {
    const { model, ...upstream } = upstreamOf(`u-${at}`, { model: `m-${at}` })
    return Object.defineProperty(upstream, 'model', { get: () => ((looks += 1), model) }) as never
  })
  expect(members('m-7', 'chat', createPools(many, 'reject'))).toEqual(['u-7'])
  expect(looks).toBeLessThan(5_000)
})

test('a group called auto does not narrow auto', () => {
  const odd = createPools([upstreamOf('a', { groups: ['auto'] }), upstreamOf('b')], 'reject')
  expect(members('auto', 'chat', odd)).toEqual(['a', 'b'])
  expect(odd.listedNames.filter((name) => name === 'auto')).toHaveLength(1)
})

test('any other name is auto where the configuration says so', () => {
  const open = createPools(upstreams, 'auto')
  expect(open.poolFor('nobody', 'chat')).toBe(open.poolFor('auto', 'chat'))
  expect(open.poolFor('gpt', 'chat')).not.toBe(open.poolFor('auto', 'chat'))
})

test('the same question gives the same pool, and pools of different endpoints differ', () => {
  expect(pools.poolFor('gpt', 'chat')).toBe(pools.poolFor('gpt', 'chat'))
  expect(pools.poolFor('gpt', 'chat')?.id).not.toBe(pools.poolFor('gpt', 'responses')?.id)
})

test('names are listed once: auto, groups, models', () => {
  expect(pools.listedNames).toEqual(['auto', 'fast', 'all', 'gpt', 'llama', 'old', 'small'])
})
