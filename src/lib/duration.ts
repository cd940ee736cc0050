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

const longest = 64
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
  const trimmed = text.length > longest ? '' : text.trim()
  if (plainSeconds.test(trimmed)) return wholeMs(Number(trimmed) * 1_000)
  if (!wholeDuration.test(trimmed)) return undefined
  let total = 0
  for (const [, amount, unit = ''] of trimmed.matchAll(part))
    total += Number(amount) * (millisecondsOf[unit] ?? 0)
  return wholeMs(total)
}
