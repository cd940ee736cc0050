const units: readonly (readonly [ms: number, ...words: string[]])[] = [
  [1e-6, 'ns'],
  [1e-3, 'us', 'µs', 'μs'],
  [1, 'ms', 'msec', 'millisecond', 'milliseconds'],
  [1_000, 's', 'sec', 'secs', 'second', 'seconds'],
  [60_000, 'm', 'min', 'mins', 'minute', 'minutes'],
  [3_600_000, 'h', 'hr', 'hrs', 'hour', 'hours'],
  [86_400_000, 'd', 'day', 'days'],
]

/** How many ms each unit of time has, by its short names and its English words. */
export const UNIT_MS: ReadonlyMap<string, number> = new Map(
  units.flatMap(([ms, ...words]) => words.map((word) => [word, ms] as const)),
)

const longestDuration = 64
const plainSeconds = /^\d+(?:\.\d+)?$/
const wholeDuration = /^(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h|d))+$/
const part = /([\d.]+)([^\d.]+)/g

/** Rounded up so that a wait is never too short; what a binary fraction adds (2007.0000000000002 ms) does not count. */
export function wholeMs(ms: number): number {
  return Math.ceil(Math.round(ms * 1e6) / 1e6)
}

/**
 * The length in ms of a Go duration (`1h5m25.152s`, `6m0s`, `547ms`, `12µs`, `0s`) or of plain seconds (`57`,
 * `11.38`): whole, rounded up, never negative. Undefined for anything else, and over 64 characters.
 *
 * The grammar is that of Go's time.ParseDuration without a sign, with `d` for 24 hours in addition.
 */
export function durationMs(text: string): number | undefined {
  const trimmed = text.length > longestDuration ? '' : text.trim()
  if (plainSeconds.test(trimmed)) return wholeMs(Number(trimmed) * 1_000)
  if (!wholeDuration.test(trimmed)) return undefined
  let total = 0
  for (const [, amount, unit = ''] of trimmed.matchAll(part))
    total += Number(amount) * (UNIT_MS.get(unit) ?? 0)
  return wholeMs(total)
}

/** ISO 8601, then the three HTTP dates of RFC 9110 §5.6.7. */
const dateForms: readonly RegExp[] = [
  /^(?<year>\d{4})-(?<month>\d\d)-(?<day>\d\d)(?:[T ](?<hour>\d\d):(?<minute>\d\d)(?::(?<second>\d\d(?:\.\d{1,9})?))?)? ?(?:Z|UTC|GMT|(?<sign>[+-])(?<zoneHour>\d\d):?(?<zoneMinute>\d\d))?$/i,
  /^[a-z]{3}, (?<day>\d\d) (?<name>[a-z]{3}) (?<year>\d{4}) (?<hour>\d\d):(?<minute>\d\d):(?<second>\d\d) (?:GMT|UTC)$/i,
  /^[a-z]{6,9}, (?<day>\d\d)-(?<name>[a-z]{3})-(?<year>\d\d) (?<hour>\d\d):(?<minute>\d\d):(?<second>\d\d) (?:GMT|UTC)$/i,
  /^[a-z]{3} (?<name>[a-z]{3}) (?<day>[ \d]\d) (?<hour>\d\d):(?<minute>\d\d):(?<second>\d\d) (?<year>\d{4})$/i,
]

const monthNames = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']

/** The longest form is the ISO one with nanoseconds and an offset. */
const longestDate = 40

/**
 * The epoch in ms of a date that a server wrote: ISO 8601 (`2026-07-10T04:00:00Z`, with a blank for the `T`,
 * without seconds or time, with fractions or an offset) or one of the HTTP dates; undefined for anything else, such as
 * 30 February. Without a zone it is read as UTC. `wallNow` (epoch ms) only decides the century of a two-digit year.
 */
export function wallDateMs(text: string, wallNow: number): number | undefined {
  const trimmed = text.length > longestDate ? '' : text.trim()
  for (const form of dateForms) {
    const fields = form.exec(trimmed)?.groups
    if (fields !== undefined) return epochMs(fields, wallNow)
  }
  return undefined
}

/** Undefined for a day or an hour that no calendar has. */
function epochMs(fields: Record<string, string>, wallNow: number): number | undefined {
  const numberOf = (name: string): number => Number(fields[name] ?? 0)
  const month = numberOf('month') || monthNames.indexOf((fields['name'] ?? '').toLowerCase()) + 1
  const year = fullYear(fields['year'] ?? '', wallNow)
  const [hour, minute, second] = [numberOf('hour'), numberOf('minute'), numberOf('second')]
  const midnight = new Date(Date.UTC(year, month - 1, numberOf('day')))
  const isOnCalendar = year >= 100 && midnight.getUTCMonth() === month - 1
  const zoneMinutes = numberOf('zoneHour') * 60 + numberOf('zoneMinute')
  // A leap second (:60) is a valid time of day in both grammars.
  if (!isOnCalendar || hour > 23 || minute > 59 || second >= 61 || zoneMinutes > 24 * 60) return undefined
  const east = fields['sign'] === '-' ? -zoneMinutes : zoneMinutes
  return midnight.getTime() + (hour * 60 + minute - east) * 60_000 + wholeMs(second * 1_000)
}

/** RFC 9110 §5.6.7: a two-digit year more than 50 years ahead is the latest past year that ends so. */
function fullYear(year: string, wallNow: number): number {
  if (year.length > 2) return Number(year)
  const latest = new Date(wallNow).getUTCFullYear() + 50
  return latest - ((latest - Number(year)) % 100)
}

const dayMs = 86_400_000
const quarterMs = 900_000

/** A span of a zone's calendar. */
interface CalendarSpan {
  /** `UTC` or an IANA name. */
  readonly zone: string
  /** `week` (from Monday) or `month`; anything else is as long as `spanMs`. */
  readonly per: string
  /** Less than a day: counted from midnight on, and cut off by the next. Else whole days, counted from 1 January 1970. */
  readonly spanMs: number
}

/** The epoch ms at which the present calendar day ends in a zone; always after `wallNow`. @throws as `calendarEndAfter` */
export const midnightAfter = (zone: string, wallNow: number): number =>
  calendarEndAfter({ zone, per: 'day', spanMs: dayMs }, wallNow)

/**
 * The epoch ms at which the present span of a calendar ends; always after `wallNow`.
 * @throws RangeError for a zone that the runtime does not know
 */
export function calendarEndAfter({ zone, per, spanMs }: CalendarSpan, wallNow: number): number {
  const dayOf = daysIn(zone)
  const spanOf = (at: number): number => numberOfSpan(per, spanMs, dayOf(at))
  const present = spanOf(wallNow)
  // A day can have 25 hours.
  const end = firstQuarter(wallNow, spanMs + 2 * dayMs, (at) => spanOf(at) !== present)
  if (spanMs >= dayMs) return end
  const midnight = firstQuarter(wallNow - 2 * dayMs, 2 * dayMs, (at) => spanOf(at) === present)
  return Math.min(end, wallNow + spanMs - ((wallNow - midnight) % spanMs))
}

/** Tells the calendar day of a moment in a zone, as the number of days since 1 January 1970. */
function daysIn(zone: string): (at: number) => number {
  if (zone === 'UTC') return (at) => Math.floor(at / dayMs)
  const { format } = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
  })
  return (at) => {
    const [month = 0, day = 0, year = 0] = format(at).split('/').map(Number)
    return Date.UTC(year, month - 1, day) / dayMs
  }
}

/** Days of one span have the same number, and those of the next one another. */
function numberOfSpan(per: string, spanMs: number, day: number): number {
  if (per === 'month') return new Date(day * dayMs).getUTCMonth()
  // 1 January 1970 was a Thursday.
  return per === 'week' ? Math.floor((day + 3) / 7) : Math.floor(day / Math.ceil(spanMs / dayMs))
}

/**
 * The first quarter of an hour in `(from, from + withinMs]` at which something holds that stays so. Some zones change
 * their clocks at midnight itself, so midnight is looked for and not computed; all zones in use are on quarters.
 */
function firstQuarter(from: number, withinMs: number, holds: (at: number) => boolean): number {
  let low = Math.floor(from / quarterMs)
  let high = low + Math.ceil(withinMs / quarterMs)
  while (high - low > 1) {
    const middle = (low + high) >>> 1
    if (holds(middle * quarterMs)) high = middle
    else low = middle
  }
  return high * quarterMs
}
