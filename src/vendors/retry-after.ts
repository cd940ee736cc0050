import type { HeaderBag } from '../lib/headers.ts'
import { durationMs, UNIT_MS, wallDateMs, wholeMs } from '../lib/time.ts'

const longestNumber = 64
const plainNumber = /^\d+(?:\.\d+)?$/

/** Numbers from here on are points in time, not waits: 2001 as epoch seconds, 1973 as epoch ms. */
const epochSecondsFrom = 1e9
const epochMsFrom = 1e11
/** The year 5138 in ms; above it stand micro- and nanoseconds, which nobody is known to send. */
const epochMsUntil = 1e14

function numberIn(text = ''): number | undefined {
  return text.length <= longestNumber && plainNumber.test(text.trim()) ? Number(text) : undefined
}

/**
 * How many ms until a reset that a server wrote in any of the known forms: a Go duration, seconds (`57`,
 * `11.38`), epoch seconds, epoch ms, an ISO 8601 date or an HTTP date. A point in time that has passed gives 0.
 *
 * Undefined for negative numbers (Azure sends −1 for "unknown") and anything unreadable; possibly absurdly long.
 */
export function resetMs(text: string | undefined, wallNow: number): number | undefined {
  if (text === undefined) return undefined
  const number = numberIn(text)
  if (number === undefined) return durationMs(text) ?? msUntil(wallDateMs(text, wallNow), wallNow)
  if (number < epochSecondsFrom) return wholeMs(number * 1_000)
  if (number < epochMsFrom) return msUntil(number * 1_000, wallNow)
  return number < epochMsUntil ? msUntil(number, wallNow) : undefined
}

const msUntil = (at: number | undefined, wallNow: number): number | undefined =>
  at === undefined ? undefined : Math.max(0, wholeMs(at - wallNow))

/** A plain number of milliseconds, as the `-ms` headers carry it. */
function plainMs(text: string | undefined): number | undefined {
  const ms = numberIn(text)
  return ms !== undefined && ms < epochMsUntil ? wholeMs(ms) : undefined
}

/**
 * How many ms to wait before asking again, as the answer's headers say it, the most precise first: two in ms,
 * `retry-after` (RFC 9110 §10.2.3: seconds or an HTTP date), GitHub Models' seconds. A zero gives way to a later one that
 * says more: GitHub Models sends `retry-after: 0` beside hours of time remaining.
 */
export function retryAfterMs(headers: HeaderBag, wallNow: number): number | undefined {
  const waits = [
    plainMs(headers['retry-after-ms']),
    plainMs(headers['x-ms-retry-after-ms']),
    resetMs(headers['retry-after'], wallNow),
    resetMs(headers['x-ratelimit-timeremaining'], wallNow),
  ].filter((wait) => wait !== undefined)
  return waits.find((wait) => wait > 0) ?? waits[0]
}

/** Of the waits that are known; a hint is never shortened. */
export function longestWait(waits: readonly (number | undefined)[]): number | undefined {
  const known = waits.filter((wait) => wait !== undefined)
  return known.length === 0 ? undefined : Math.max(...known)
}

/** Error texts are short; what stands further behind is not looked at. */
const longestProse = 16_384

const announcedWait =
  /\b(?:(?:re)?try(?:ing)?(?: again| your request)?(?: in|[ -]after)|wait(?: for)?|(?:resets?|available)(?: again)?(?: in| after))(?: about| approximately| at least)?:?\s{1,3}/gi

const announcedDate =
  /\b(?:resets?|retry|try again|available(?: again)?) (?:at|on|after):?\s{1,3}(\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)?(?: ?(?:UTC|GMT|Z|[+-]\d\d:?\d\d))?)/gi

/** `30 秒后`, `1 小时 30 分钟之后`, `30秒後`. */
const chineseWait = /((?:\d{1,9}(?:\.\d{1,9})? ?(?:毫秒|秒|分|小?时|時間|天)钟? ?){1,4})之?[后後]/g
const chinesePart = /([\d.]+) ?(毫秒|秒|分|小?时|時間|天)/g
const chineseUnits: Readonly<Record<string, number>> = {
  毫秒: 1,
  秒: 1_000,
  分: 60_000,
  时: 3_600_000,
  小时: 3_600_000,
  時間: 3_600_000,
  天: 86_400_000,
}

function chineseMs(wait: string): number {
  let total = 0
  for (const [, amount, unit = ''] of wait.matchAll(chinesePart))
    total += Number(amount) * (chineseUnits[unit] ?? 0)
  return wholeMs(total)
}

/** One part of a wait: `38.2s`, `5631 seconds`, `1 hour and `. Neither a date nor a time of day nor a version. */
const waitPart = /(\d{1,12}(?:\.\d{1,15})?)(?![.:/-]?\d)\s?([a-zµμ]{1,12})?(?:,? and |, | )?/iy
const mostParts = 5

/** The wait that begins exactly at `start`; without a unit it is seconds, before an unknown word it is none. */
function waitAt(text: string, start: number): number | undefined {
  let total: number | undefined
  waitPart.lastIndex = start
  for (let parts = 0; parts < mostParts; parts++) {
    const [, amount, word] = waitPart.exec(text) ?? []
    if (parts === 0 && amount !== undefined && word === undefined) return durationMs(amount)
    const unit = UNIT_MS.get(word?.toLowerCase() ?? '')
    if (unit === undefined) break
    total = (total ?? 0) + Number(amount) * unit
  }
  return total === undefined ? undefined : wholeMs(total)
}

/**
 * How many ms to wait, as an error's prose says it: "try again in 1h5m25.152s", "Please wait 5631 seconds", "will reset
 * at 2026-07-10 04:00", with or without seconds, "请在 30 秒后重试". The longest of several waits counts.
 *
 * A date without a zone is read as UTC: where the vendor means a zone east of it, the wait is some hours too long and
 * never too short. A date in the past gives 0.
 */
export function proseWaitMs(text: string, wallNow: number): number | undefined {
  const head = text.slice(0, longestProse)
  const waits = [...head.matchAll(announcedWait)].map((found) => waitAt(head, found.index + found[0].length))
  const dates = [...head.matchAll(announcedDate)].map(([, date]) => resetMs(date, wallNow))
  const inChinese = [...head.matchAll(chineseWait)].map(([, wait = '']) => chineseMs(wait))
  return longestWait([...waits, ...dates, ...inChinese])
}
