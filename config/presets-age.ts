/**
 * Refuses presets that nobody has looked up for half a year: vendors change models and limits faster than that. Run by
 * the release; `--today 2026-11-29` stands in for today.
 */
import { parseArgs } from 'node:util'
import presets from '../src/config/presets.json' with { type: 'json' }

const MOST_DAYS = 180
const DAY_MS = 86_400_000

const { values } = parseArgs({ options: { today: { type: 'string' } } })
const today = values.today === undefined ? Date.now() : Date.parse(values.today)
if (Number.isNaN(today)) throw new Error('--today is a date such as 2026-11-29')

const old = datesIn(presets).filter(({ read }) => today - Date.parse(read) > MOST_DAYS * DAY_MS)
for (const { path, read } of old)
  process.stderr.write(`${path} was read on ${read}; read its sources again\n`)
process.exitCode = old.length === 0 ? 0 : 1

/** Every date on which something was read, and what that is. */
function datesIn(value: unknown, path = ''): { path: string; read: string }[] {
  if (typeof value !== 'object' || value === null) return []
  const own = 'read' in value ? [{ path: path.slice(1), read: String(value.read) }] : []
  return [...own, ...Object.entries(value).flatMap(([key, inner]) => datesIn(inner, `${path}.${key}`))]
}
