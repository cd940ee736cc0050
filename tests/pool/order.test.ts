import { hash01 } from '../../src/lib/hash.ts'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { orderOf, rendezvous, strategies, type OrderRule } from '../../src/pool/strategy.ts'
import { createDice } from '../support/dice.ts'
import { candidateOf, idsOf } from './upstreams.ts'

const rule = (more: Partial<OrderRule> = {}): OrderRule => ({
  strategy: strategies.in_order,
  context: { random: createDice(1), keyHash: 0 },
  stickTo: undefined,
  ...more,
})

const list = [
  candidateOf('spare', { priority: 5 }),
  candidateOf('a'),
  candidateOf('cheap', { priority: -1 }),
  candidateOf('b'),
  candidateOf('c'),
]

test('a lower number goes first, each tier in the order of the strategy', () => {
  expect(idsOf(orderOf(list, rule()))).toEqual(['cheap', 'a', 'b', 'c', 'spare'])
})

test('the remembered upstream is first in its tier', () => {
  expect(idsOf(orderOf(list, rule({ stickTo: 'c' })))).toEqual(['cheap', 'c', 'a', 'b', 'spare'])
})

test('one that is remembered but not available changes nothing', () => {
  expect(idsOf(orderOf(list, rule({ stickTo: 'gone' })))).toEqual(['cheap', 'a', 'b', 'c', 'spare'])
})

test('a key that nobody remembers takes rendezvous order where replicas shall agree', () => {
  const equals = list.map(({ upstream }) => candidateOf(upstream.id))
  const context = { random: createDice(1), keyHash: hash01('k') }
  const agreed = orderOf(equals, rule({ strategy: strategies.random, context }))
  expect(idsOf(agreed)).toEqual(idsOf(rendezvous(equals, context)))
})

test('without a key the strategy chooses', () => {
  const equals = list.map(({ upstream }) => candidateOf(upstream.id))
  const order = orderOf(equals, rule({ strategy: strategies.random }))
  const same = strategies.random(equals, { random: createDice(1), keyHash: 0 })
  expect(idsOf(order)).toEqual(idsOf(same))
})

test('of a few that are wanted the remembered one is the first, and the next tier fills up', () => {
  const context = { random: createDice(1), keyHash: 0, most: 3 }
  expect(idsOf(orderOf(list, rule({ stickTo: 'c', context })))).toEqual(['cheap', 'c', 'a'])
  expect(idsOf(orderOf(list.slice(0, 3), rule({ context })))).toEqual(['cheap', 'a', 'spare'])
})

test('nobody is lost and tiers never mix, whoever is remembered', () => {
  const candidates = fc
    .array(fc.integer({ min: -2, max: 2 }), { maxLength: 10 })
    .map((priorities) => priorities.map((priority, nth) => candidateOf(`u${nth}`, { priority })))
  const name = fc.constantFrom(...Object.values(strategies))
  fc.assert(
    fc.property(candidates, name, fc.nat(12), fc.integer(), (all, strategy, stuck, seed) => {
      const context = { random: createDice(seed), keyHash: seed % 2 === 0 ? hash01('k') : 0 }
      const order = orderOf(all, rule({ strategy, context, stickTo: `u${stuck}` }))
      expect(idsOf(order).toSorted()).toEqual(idsOf(all).toSorted())
      const tiers = order.map(({ upstream }) => upstream.priority)
      expect(tiers).toEqual(tiers.toSorted((a, b) => a - b))
    }),
  )
})
