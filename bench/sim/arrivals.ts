import { createDice } from './dice.ts'

/** Requests a minute at a moment of the run, `ms` after its start. */
export type Rate = (ms: number) => number

/** When requests arrive: ms after the start of the run, ascending. */
export type Arrivals = readonly number[]

const MINUTE_MS = 60_000

/** Evenly spaced, the first at once. */
export function steady(perMinute: number, spanMs: number): Arrivals {
  const gap = MINUTE_MS / perMinute
  return Array.from({ length: Math.ceil(spanMs / gap) }, (_, at) => at * gap)
}

/** Independently of each other, `perMinute` on average. */
export function poisson(perMinute: number, spanMs: number, seed: number): Arrivals {
  return poissonAt({ rate: () => perMinute, most: perMinute, spanMs, seed })
}

/** `size` requests at once, every `everyMs`. */
export function bursts(size: number, everyMs: number, spanMs: number): Arrivals {
  return Array.from(
    { length: Math.ceil(spanMs / everyMs) * size },
    (_, at) => Math.floor(at / size) * everyMs,
  )
}

/**
 * A Poisson stream whose rate follows the sun: `perMinute` on average over a day, 1.8 times that at 15:00 and
 * a fifth of it at 03:00.
 */
export function dayCurve(perMinute: number, spanMs: number, seed: number): Arrivals {
  const rate: Rate = (ms) =>
    perMinute * (1 - 0.8 * Math.cos((2 * Math.PI * (ms - 3 * 3_600_000)) / 86_400_000))
  return poissonAt({ rate, most: 1.8 * perMinute, spanMs, seed })
}

/** Thinning (Lewis and Shedler 1979): drawn at the highest rate, kept in proportion to the present one. */
function poissonAt(stream: { rate: Rate; most: number; spanMs: number; seed: number }): Arrivals {
  const { rate, most, spanMs, seed } = stream
  const draw = createDice(seed)
  const arrivals: number[] = []
  for (let at = 0; ;) {
    at += (-Math.log(1 - draw()) * MINUTE_MS) / most
    if (at >= spanMs) return arrivals
    if (draw() * most < rate(at)) arrivals.push(at)
  }
}
