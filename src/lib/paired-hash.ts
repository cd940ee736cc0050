import { mixed } from './hash.ts'

const WORD = 2 ** 32

/**
 * A number in (0, 1) that is always the same for the same two: evenly spread, never 0 and never 1.
 *
 * For one text's `hash01` and those of many others: a few nanoseconds each, however long the texts are.
 * Replicas of different versions must agree on it, so its values are pinned by a test.
 *
 * @param a in [0, 1), as `hash01` gives it
 * @param b in [0, 1)
 */
export function pairedHash01(a: number, b: number): number {
  const [highA, highB] = [Math.floor(a * WORD), Math.floor(b * WORD)]
  const [lowA, lowB] = [(a * WORD - highA) * WORD, (b * WORD - highB) * WORD]
  const high = mixed(highA ^ mixed(highB ^ 0x9e3779b9))
  const low = mixed(lowA ^ mixed(lowB + high))
  return Math.max((high >>> 11) * WORD + (low >>> 0), 1) / 2 ** 53
}
