/**
 * What does it cost to choose among many upstreams, each with four windows of its own and a shared quota
 * with four more, all of them in use?
 *
 * `npm run bench:choice`. `survey`: who may take the request. `order`: in which
 * order they are tried. `request`: both, the lease, the answer and the end; what it takes more than survey
 * and order is spent once for a request, whatever the number of upstreams. The aim: survey and order of 100
 * in under 50 µs together.
 */
import { bench, group, run } from 'mitata'
import { bedOf } from './choice-bed.ts'

const key = 'a1b2c3d4e5f'

for (const size of [1, 10, 100, 1_000]) {
  const bed = bedOf(size)
  const serve = (...how: Parameters<typeof bed.choose>): void => {
    bed.finish(bed.choose(...how))
    bed.pass()
  }
  group(`${size} upstreams`, () => {
    bench('survey', () => bed.survey())
    bench('order, random', () => bed.order(bed.seen, 'random'))
    bench('order, random with a key', () => bed.order(bed.seen, 'random', key))
    bench('order, least_busy', () => bed.order(bed.seen, 'least_busy'))
    bench('request, random', () => serve('random'))
    bench('request, random with a key', () => serve('random', key))
  })
}
await run()
