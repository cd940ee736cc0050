import * as v from 'valibot'
import { must, objectMessage, told, wholeNumber } from './rules.ts'

const zone = 'write "UTC", a zone such as "America/Los_Angeles", or "rolling"'
const zoneMessage = told('is no time zone', zone)
const count = v.exactOptional(
  wholeNumber(1, Number.MAX_SAFE_INTEGER, 'write a number such as 10; leave it out for no limit'),
)

/** The limits of one upstream, or of a quota that several share. */
export const limitsSchema = v.object(
  {
    rpm: count,
    rpd: count,
    tpm: count,
    tpd: count,
    concurrency: count,
    day_resets: v.exactOptional(v.pipe(v.string(zoneMessage), must(isDayReset, zoneMessage))),
  },
  objectMessage('write for example { "rpm": 10, "rpd": 1000 }'),
)

/** Offsets such as `+08:00` are no zones: some runtimes take them, others don't. */
function isDayReset(text: string): boolean {
  if (text === 'UTC' || text === 'rolling') return true
  if (!/^[A-Za-z]/.test(text)) return false
  try {
    Intl.DateTimeFormat('en', { timeZone: text })
    return true
  } catch {
    return false
  }
}
