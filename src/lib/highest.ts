/** What places are sorted by. */
interface Scored {
  readonly scores: Float64Array
  readonly ties: Float64Array
}

/**
 * The places of the highest `scores`, the highest first; equal ones by `ties`, and by their order where those
 * are equal too. −∞ has a place, NaN has none to speak of.
 *
 * Keeps a short sorted list while it passes over all: where a few of many are wanted, next to nothing has to be
 * moved, and no branch is hard to foresee. To sort a thousand whole it would be the wrong way.
 *
 * @param most how many places are wanted; 0…scores.length, more are as good as all
 * @param ties as many as scores
 */
export function highest(scores: Float64Array, most: number, ties: Float64Array = scores): number[] {
  const scored = { scores, ties }
  const best: number[] = []
  for (let place = 0; place < scores.length; place++) {
    if (best.length < most) best.push(place)
    else if (isAbove(scored, place, best[best.length - 1])) best[best.length - 1] = place
    else continue
    moveUp(scored, best)
  }
  return best
}

/** Puts the last of a list that is sorted but for it where it belongs. */
function moveUp(scored: Scored, best: number[]): void {
  let at = best.length - 1
  const place = best[at] ?? 0
  for (; at > 0 && isAbove(scored, place, best[at - 1]); at--) best[at] = best[at - 1] ?? 0
  best[at] = place
}

function isAbove({ scores, ties }: Scored, one: number, other: number | undefined): boolean {
  if (other === undefined) return false
  const a = scores[one] ?? 0
  const b = scores[other] ?? 0
  return a === b ? (ties[one] ?? 0) > (ties[other] ?? 0) : a > b
}
