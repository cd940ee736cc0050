const millisecondsOf: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

const longestDuration = 64
const plainSeconds = /^\d+(?:\.\d+)?$/
const wholeDuration = /^(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h|d))+$/
const part = /([\d.]+)([^\d.]+)/g

/**
 * Whole milliseconds, rounded up so that a wait is never too short; what the binary fraction
 * adds below a nanosecond (2.007 s = 2007.0000000000002 ms) does not count.
 */
export function wholeMs(ms: number): number {
  return Math.ceil(Math.round(ms * 1e6) / 1e6)
}

/**
 * The length in ms of a Go duration (`1h5m25.152s`, `6m0s`, `547ms`, `12µs`, `0s`) or of plain seconds (`57`,
 * `11.38`): whole, rounded up, never negative.
 *
 * The grammar is that of Go's time.ParseDuration without a sign, with `d` for 24 hours in addition; both
 * spellings of the micro sign count. Undefined for anything else: empty, signed, `1e3`, over 64 characters.
 */
export function durationMs(text: string): number | undefined {
  const trimmed = text.length > longestDuration ? '' : text.trim()
  if (plainSeconds.test(trimmed)) return wholeMs(Number(trimmed) * 1_000)
  if (!wholeDuration.test(trimmed)) return undefined
  let total = 0
  for (const [, amount, unit = ''] of trimmed.matchAll(part))
    total += Number(amount) * (millisecondsOf[unit] ?? 0)
  return wholeMs(total)
}

const isoDate =
  /^(?<year>\d{4})-(?<month>\d\d)-(?<day>\d\d)(?:[T ](?<hour>\d\d):(?<minute>\d\d)(?::(?<second>\d\d(?:\.\d{1,9})?))?)? ?(?:Z|UTC|GMT|(?<sign>[+-])(?<zoneHour>\d\d):?(?<zoneMinute>\d\d))?$/i

const httpDates: readonly RegExp[] = [
  /^[a-z]{3}, (?<day>\d\d) (?<name>[a-z]{3}) (?<year>\d{4}) (?<hour>\d\d):(?<minute>\d\d):(?<second>\d\d) (?:GMT|UTC)$/i,
  /^[a-z]{6,9}, (?<day>\d\d)-(?<name>[a-z]{3})-(?<year>\d\d) (?<hour>\d\d):(?<minute>\d\d):(?<second>\d\d) (?:GMT|UTC)$/i,
  /^[a-z]{3} (?<name>[a-z]{3}) (?<day>[ \d]\d) (?<hour>\d\d):(?<minute>\d\d):(?<second>\d\d) (?<year>\d{4})$/i,
]

const monthNames = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']

/** The longest form is the ISO one with nanoseconds and an offset. */
const longestDate = 40

type DateFields = Readonly<Record<string, string | undefined>>

/** The epoch in ms of fields read as UTC; undefined for a day or an hour that no calendar has. */
function utcMs(fields: DateFields, year: number, month: number): number | undefined {
  const day = Number(fields['day'])
  const hour = Number(fields['hour'] ?? 0)
  const minute = Number(fields['minute'] ?? 0)
  const second = Number(fields['second'] ?? 0)
  const midnight = new Date(Date.UTC(year, month - 1, day))
  const onCalendar = year >= 100 && midnight.getUTCMonth() === month - 1
  // A leap second (:60) is a valid time of day in both grammars.
  if (!onCalendar || hour > 23 || minute > 59 || second >= 61) return undefined
  return midnight.getTime() + (hour * 60 + minute) * 60_000 + wholeMs(second * 1_000)
}

function isoMs(fields: DateFields): number | undefined {
  const utc = utcMs(fields, Number(fields['year']), Number(fields['month']))
  const zoneMinutes = Number(fields['zoneHour'] ?? 0) * 60 + Number(fields['zoneMinute'] ?? 0)
  if (utc === undefined || zoneMinutes > 24 * 60) return undefined
  return fields['sign'] === '-' ? utc + zoneMinutes * 60_000 : utc - zoneMinutes * 60_000
}

/** RFC 9110 §5.6.7: a two-digit year more than 50 years ahead is the latest past year that ends so. */
function fullYear(year: string, wallNow: number): number {
  if (year.length > 2) return Number(year)
  const latest = new Date(wallNow).getUTCFullYear() + 50
  return latest - ((latest - Number(year)) % 100)
}

function httpMs(fields: DateFields, wallNow: number): number | undefined {
  const month = monthNames.indexOf((fields['name'] ?? '').toLowerCase()) + 1
  return utcMs(fields, fullYear(fields['year'] ?? '', wallNow), month)
}

/**
 * The epoch in ms of a date that a server wrote: ISO 8601 (`2026-07-10T04:00:00Z`, with a blank for the `T`,
 * without seconds or time, with fractions or an offset) or one of the three HTTP dates of RFC 9110 §5.6.7.
 *
 * A date without a zone is read as UTC. `wallNow` (epoch in ms) only decides the century of a two-digit year;
 * the name of the weekday is not checked. Undefined for anything else, such as 30 February or 25 o'clock.
 */
export function wallDateMs(text: string, wallNow: number): number | undefined {
  const trimmed = text.length > longestDate ? '' : text.trim()
  const iso = isoDate.exec(trimmed)?.groups
  if (iso !== undefined) return isoMs(iso)
  for (const form of httpDates) {
    const fields = form.exec(trimmed)?.groups
    if (fields !== undefined) return httpMs(fields, wallNow)
  }
  return undefined
}

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
