import { durationMs } from './duration.ts'
import { wallDateMs } from './wall-date.ts'

/** Error texts are short; what stands further behind is not looked at. */
const longestText = 16_384

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
  const head = text.slice(0, longestText)
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
