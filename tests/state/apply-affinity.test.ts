import { expect, test } from 'vitest'
import { applyAffinity } from '../../src/state/memory.ts'
import type { Ask } from '../../src/state/store.ts'
import { claimOf } from './claims.ts'

const ORDER = [
  claimOf('a', { priority: 0 }),
  claimOf('b', { priority: 0 }),
  claimOf('c', { priority: 1 }),
  claimOf('d', { priority: 1 }),
]
const SERVED: Record<string, string> = { 'by b': 'b', 'by d': 'd', 'by one that left': 'z' }

test.each<Pick<Ask, 'stickTo' | 'pinKeys'> & { ids: string; because: string }>([
  { stickTo: 'by b', ids: 'bacd', because: 'who served the key goes first' },
  { stickTo: 'by d', ids: 'abdc', because: 'nobody is moved in front of a better tier' },
  { stickTo: 'new', ids: 'abcd', because: 'nobody served it' },
  { stickTo: 'by one that left', ids: 'abcd', because: 'that one cannot be had' },
  {
    pinKeys: ['new', 'by d', 'by b'],
    ids: 'd',
    because: 'an answer exists on one account, and the first known id counts',
  },
  {
    pinKeys: ['by one that left'],
    ids: '',
    because: 'what nobody of the order holds is found nowhere else in it',
  },
  { pinKeys: ['new'], stickTo: 'by b', ids: 'bacd', because: 'an unknown answer follows the affinity rule' },
])('$stickTo $pinKeys: $ids, since $because', ({ ids, stickTo, pinKeys }) => {
  expect(
    applyAffinity(ORDER, { stickTo, pinKeys }, (key) => SERVED[key])
      .map(({ id }) => id)
      .join(''),
  ).toBe(ids)
})
