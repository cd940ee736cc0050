import type { HeaderBag } from '../lib/headers.ts'
import { durationMs, wallDateMs, wholeMs } from '../lib/time.ts'

const longestNumber = 64
const plainNumber = /^\d+(?:\.\d+)?$/

/** Numbers from here on are points in time, not waits: 2001 as epoch seconds, 1973 as epoch ms. */
const epochSecondsFrom = 1e9
const epochMsFrom = 1e11
/** The year 5138 in ms; above it stand micro- and nanoseconds, which nobody is known to send. */
const epochMsUntil = 1e14

function msOfNumber(value: number, wallNow: number): number | undefined {
  if (value >= epochMsUntil) return undefined
  if (value >= epochMsFrom) return Math.max(0, wholeMs(value - wallNow))
  if (value >= epochSecondsFrom) return Math.max(0, wholeMs(value * 1_000 - wallNow))
  return wholeMs(value * 1_000)
}

/**
 * How many ms until a reset that a server wrote in any of the known forms: a Go duration, seconds (`57`,
 * `11.38`), epoch seconds, epoch ms, an ISO 8601 date or an HTTP date.
 *
 * A number from 1e9 on is epoch seconds and from 1e11 on epoch ms, since no wait lasts 31 years. Points in time
 * are taken relative to `wallNow`, the wall clock as epoch in ms; one that has passed gives 0. Undefined for
 * negative numbers (Azure sends −1 for "unknown") and anything unreadable. Never negative, NaN or infinite, but
 * possibly absurdly long: clamping is the caller's.
 */
export function resetMs(text: string, wallNow: number): number | undefined {
  const trimmed = text.length > longestNumber ? '' : text.trim()
  if (plainNumber.test(trimmed)) return msOfNumber(Number(trimmed), wallNow)
  const duration = durationMs(trimmed)
  if (duration !== undefined) return duration
  const date = wallDateMs(trimmed, wallNow)
  return date === undefined ? undefined : Math.max(0, wholeMs(date - wallNow))
}

/** A plain number of milliseconds, as the `-ms` headers carry it. */
function plainMs(text: string): number | undefined {
  const trimmed = text.length > longestNumber ? '' : text.trim()
  const value = plainNumber.test(trimmed) ? Number(trimmed) : epochMsUntil
  return value < epochMsUntil ? wholeMs(value) : undefined
}

type WaitReader = (text: string, wallNow: number) => number | undefined

/** From the most to the least precise. */
const sources: readonly (readonly [name: string, read: WaitReader])[] = [
  ['retry-after-ms', plainMs],
  ['x-ms-retry-after-ms', plainMs],
  ['retry-after', resetMs],
  ['x-ratelimit-timeremaining', resetMs],
]

/**
 * How many ms to wait before asking again, as the answer's headers say it.
 *
 * The first readable one of `retry-after-ms`, `x-ms-retry-after-ms` (Azure), `retry-after` (RFC 9110 §10.2.3:
 * seconds or an HTTP date; fractions and the other forms of `resetMs` are taken too) and
 * `x-ratelimit-timeremaining` (GitHub Models, seconds) counts. A zero gives way to a later one that says more:
 * GitHub Models sends `retry-after: 0` beside hours of time remaining. Undefined when all are absent or
 * malformed; never negative, NaN or infinite. `wallNow` is the wall clock as epoch in ms.
 */
export function retryAfterMs(headers: HeaderBag, wallNow: number): number | undefined {
  let found: number | undefined
  for (const [name, read] of sources) {
    const text = headers[name]
    const wait = text === undefined ? undefined : read(text, wallNow)
    if (wait !== undefined && wait > 0) return wait
    found ??= wait
  }
  return found
}

/** Error texts are short; what stands further behind is not looked at. */
const longestProse = 16_384

const announcedWait =
  /\b(?:(?:re)?try(?:ing)?(?: again| your request)?(?: in|[ -]after)|wait(?: for)?|(?:resets?|available)(?: again)?(?: in| after))(?: about| approximately| at least)?:?\s{1,3}/gi

const announcedDate =
  /\b(?:resets?|retry|try again|available(?: again)?) (?:at|on|after):?\s{1,3}(\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)?(?: ?(?:UTC|GMT|Z|[+-]\d\d:?\d\d))?)/gi

/** One part of a wait: `38.2s`, `5631 seconds`, `1 hour and `. Neither a date nor a time of day nor a version. */
const waitPart = /(\d{1,12}(?:\.\d{1,15})?)(?![.:/-]?\d)\s?([a-zµμ]{1,12})?(?:,? and |, | )?/iy
const mostParts = 5

const spellings: Readonly<Record<string, readonly string[]>> = {
  ns: ['ns'],
  us: ['us', 'µs', 'μs'],
  ms: ['ms', 'msec', 'millisecond', 'milliseconds'],
  s: ['s', 'sec', 'secs', 'second', 'seconds'],
  m: ['m', 'min', 'mins', 'minute', 'minutes'],
  h: ['h', 'hr', 'hrs', 'hour', 'hours'],
  d: ['d', 'day', 'days'],
}
const unitOf: ReadonlyMap<string, string> = new Map(
  Object.entries(spellings).flatMap(([unit, words]) => words.map((word) => [word, unit] as const)),
)

/** The wait that begins exactly at `start`; without a unit it is seconds, before an unknown word it is none. */
function waitAt(text: string, start: number): number | undefined {
  let duration = ''
  waitPart.lastIndex = start
  for (let parts = 0; parts < mostParts; parts++) {
    const [, amount, word] = waitPart.exec(text) ?? []
    if (amount === undefined) break
    const unit = unitOf.get(word?.toLowerCase() ?? '')
    if (parts === 0 && word === undefined) return durationMs(amount)
    if (unit === undefined) break
    duration += amount + unit
  }
  return durationMs(duration)
}

/**
 * How many ms to wait, as an error's prose says it: "try again in 1h5m25.152s", "Please retry in 38.2s", "Please
 * wait 5631 seconds", "Retry after 3 seconds", "will reset at 2026-07-10 04:00", with or without seconds.
 *
 * With several announcements the longest wait counts, since a hint is never shortened. A date without a zone is
 * read as UTC: where the vendor means a zone east of it, the wait is some hours too long and never too short. A
 * date in the past gives 0. `wallNow` is the wall clock as epoch in ms. Undefined when nothing is announced;
 * never negative, NaN or infinite. Work is bounded: only the first 16 Ki characters are read.
 */
export function proseWaitMs(text: string, wallNow: number): number | undefined {
  const head = text.slice(0, longestProse)
  let longest: number | undefined
  for (const found of head.matchAll(announcedWait)) {
    const wait = waitAt(head, found.index + found[0].length)
    if (wait !== undefined) longest = Math.max(longest ?? 0, wait)
  }
  for (const [, date = ''] of head.matchAll(announcedDate)) {
    const at = wallDateMs(date, wallNow)
    if (at !== undefined) longest = Math.max(longest ?? 0, at - wallNow)
  }
  return longest
}
