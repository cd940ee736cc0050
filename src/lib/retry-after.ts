import { durationMs, wholeMs } from './duration.ts'
import type { HeaderBag } from './headers.ts'
import { wallDateMs } from './wall-date.ts'

const longest = 64
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
  const trimmed = text.length > longest ? '' : text.trim()
  if (plainNumber.test(trimmed)) return msOfNumber(Number(trimmed), wallNow)
  const duration = durationMs(trimmed)
  if (duration !== undefined) return duration
  const date = wallDateMs(trimmed, wallNow)
  return date === undefined ? undefined : Math.max(0, wholeMs(date - wallNow))
}

/** A plain number of milliseconds, as the `-ms` headers carry it. */
function plainMs(text: string): number | undefined {
  const trimmed = text.length > longest ? '' : text.trim()
  const value = plainNumber.test(trimmed) ? Number(trimmed) : epochMsUntil
  return value < epochMsUntil ? wholeMs(value) : undefined
}

type Reading = (text: string, wallNow: number) => number | undefined

/** From the most to the least precise. */
const sources: readonly (readonly [name: string, read: Reading])[] = [
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
