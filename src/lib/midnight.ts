const dayMs = 86_400_000
const quarterMs = 900_000

/**
 * The epoch ms at which the present calendar day ends in a zone; always after `wallNow`.
 *
 * Days of 23, 24 and 25 hours come out right. Some zones change their clocks at midnight itself, so the
 * end is the first quarter of an hour with another date; all zones in use are on quarters.
 *
 * @param zone `UTC` or an IANA name
 * @throws RangeError for a zone that the runtime does not know
 */
export function midnightAfter(zone: string, wallNow: number): number {
  if (zone === 'UTC') return (Math.floor(wallNow / dayMs) + 1) * dayMs
  const { format } = new Intl.DateTimeFormat('en-CA', { timeZone: zone, dateStyle: 'short' })
  const today = format(wallNow)
  let low = Math.floor(wallNow / quarterMs)
  let high = low + 26 * 4
  while (high - low > 1) {
    const middle = (low + high) >>> 1
    if (format(middle * quarterMs) === today) low = middle
    else high = middle
  }
  return high * quarterMs
}
