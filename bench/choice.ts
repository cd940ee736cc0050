/**
 * What does it cost to choose among many upstreams, each with four windows of its own and a shared quota
 * with four more, all of them in use?
 *
 * `npm run bench:choice`. `evaluation`: who may take the request. `order`: in which
 * order they are tried. `request`: both, the lease, the answer and the end; what it takes more than evaluation
 * and order is spent once for a request, whatever the number of upstreams. The aim: evaluation and order of 100
 * in under 50 µs together.
 *
 * How it grows: in proportion. Ten times the upstreams take ten times the evaluation (about 0.3 µs each) and six times
 * the order, of which only the first eight are made: on a busy machine with two cores 3 and 3 µs for 10, 31 and
 * 15 µs for 100, 344 and 85 µs for 1,000 (`headroom`, the dearest of the strategies). 1,000 upstreams thus cost
 * under half a millisecond a request.
 *
 * `after a pause`: an evaluation before which nobody asked for 0.3 s, so that every window has forgotten something and
 * all of them are looked at anew; the others are looked at again only where something has changed. A gateway that
 * meets this has three requests a second.
 */
import { bench, group, run } from 'mitata'
import { bedOf } from './choice-bed.ts'

const key = 'a1b2c3d4e5f'

const sizes = [1, 10, 100, 1_000]
const PAUSE_MS = 300
/** So many pauses, and the windows of a minute still have something left to forget. */
const PAUSES = 180

for (const size of sizes) {
  const bed = bedOf(size)
  const serve = (...how: Parameters<typeof bed.choose>): void => {
    bed.finish(bed.choose(...how))
    bed.pass()
  }
  group(`${size} upstreams`, () => {
    bench('evaluation', () => bed.evaluation())
    bench('order, random', () => bed.order(bed.evaluated, 'random'))
    bench('order, random with a key', () => bed.order(bed.evaluated, 'random', key))
    bench('order, least_busy', () => bed.order(bed.evaluated, 'least_busy'))
    bench('order, headroom', () => bed.order(bed.evaluated, 'headroom'))
    bench('request, random', () => serve('random'))
    bench('request, random with a key', () => serve('random', key))
    bench('request, headroom', () => serve('headroom'))
  })
}
await run()
for (const size of sizes) {
  process.stdout.write(`evaluation of ${size} after a pause: ${afterPauses(size).toFixed(1)} µs (median)\n`)
}

/** µs. */
function afterPauses(size: number): number {
  const times: number[] = []
  for (const bed of Array.from({ length: size < 1_000 ? 5 : 1 }, () => bedOf(size))) {
    for (let pause = 0; pause < PAUSES; pause++) {
      bed.pass(PAUSE_MS)
      const before = performance.now()
      bed.evaluation()
      times.push(performance.now() - before)
    }
  }
  return 1_000 * (times.sort((a, b) => a - b)[times.length >> 1] ?? 0)
}
