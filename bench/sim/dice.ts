/** Reproducible draws, uniform in [0, 1): the same seed gives the same run (mulberry32). */
export function createDice(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** A time in ms, drawn anew for every request. */
export type Distribution = (draw: () => number) => number

/** Equally likely from `least` to `most` ms. */
export const uniform =
  (least: number, most: number): Distribution =>
  (draw) =>
    least + (most - least) * draw()

/** Log-normal: half of all are under `median` ms, one in 40 is over `median` × e^(2 × `sigma`). */
export const logNormal =
  (median: number, sigma: number): Distribution =>
  (draw) =>
    median * Math.exp(sigma * Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw()))
