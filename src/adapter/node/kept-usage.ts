import * as v from 'valibot'
import {
  busiestUpstreams,
  newUsageSums,
  usageCounts,
  type UsageHistory,
  type UsagePoint,
  type UsageSums,
} from '../../telemetry/usage.ts'

/** Names of upstreams are shortened to this, so that all sums are under 1 MB whatever they are called. */
const LONGEST_NAME = 60

/** Sums of usage as they stand in the state file. */
export function keepUsage(usage: UsageHistory, now: () => number) {
  /** Of points that are over: each is written once. */
  const texts = new WeakMap<UsageSums, string>()
  let kept: { readonly text: string; readonly changes: number; readonly at: number } | undefined

  function textOf(point: UsagePoint, isOver: boolean): string {
    const text = texts.get(point.sums) ?? JSON.stringify(keptPoint(point))
    if (isOver) texts.set(point.sums, text)
    return text
  }

  return {
    get changes() {
      return usage.changes
    },
    /**
     * All of it as JSON: at most 1 MB, whatever the number of upstreams. The same text as before for `freshMs`, or while
     * nothing has changed.
     */
    text(freshMs: number): string {
      const isFresh = kept !== undefined && (kept.changes === usage.changes || now() - kept.at < freshMs)
      if (kept !== undefined && isFresh) return kept.text
      const parts = usage.series.map(({ name, points }) => {
        const all = points()
        return `"${name}":[${all.map((point, at) => textOf(point, at < all.length - 1)).join(',')}]`
      })
      kept = { text: `{${parts.join(',')}}`, changes: usage.changes, at: now() }
      return kept.text
    },
    /** Takes back what was kept, whatever it is now; what is no sum of ours is left out. */
    restore(given: unknown): void {
      const read = v.safeParse(keptSchema, given)
      if (!read.success) return
      kept = undefined
      for (const { name, restore } of usage.series) restore(read.output[name].map(pointFrom))
    },
  }
}

const amount = v.pipe(v.number(), v.minValue(0), v.maxValue(Number.MAX_SAFE_INTEGER))
const whole = v.pipe(amount, v.integer())
const pointSchema = v.object({
  /** Which it is of its length since 1970. */
  at: whole,
  /** In the order of `usageCounts`. */
  sums: v.pipe(v.array(amount), v.length(usageCounts.length)),
  /** Buckets and their counts in turn; empty ones are left out. */
  first: v.array(whole),
  by: v.record(v.string(), amount),
})
type KeptPoint = v.InferOutput<typeof pointSchema>
const series = v.fallback(v.array(pointSchema), [])
const keptSchema = v.object({ hour: series, day: series, days: series })

function keptPoint({ nth, sums }: UsagePoint): KeptPoint {
  const by: Record<string, number> = {}
  for (const [name, requests] of busiestUpstreams(sums.byUpstream)) {
    const short = name.slice(0, LONGEST_NAME)
    by[short] = (by[short] ?? 0) + requests
  }
  return {
    at: nth,
    sums: usageCounts.map((name) => sums[name]),
    first: [...sums.firstBytes.entries()].flatMap(([bucket, times]) => (times > 0 ? [bucket, times] : [])),
    by,
  }
}

function pointFrom({ at: nth, sums, first, by }: KeptPoint): UsagePoint {
  const made = newUsageSums()
  for (const [at, name] of usageCounts.entries()) made[name] = sums[at] ?? 0
  for (let at = 0; at < first.length; at += 2) {
    const bucket = first[at] ?? made.firstBytes.length
    if (bucket < made.firstBytes.length) made.firstBytes[bucket] = first[at + 1] ?? 0
  }
  made.byUpstream = busiestUpstreams(new Map(Object.entries(by)))
  return { nth, sums: made }
}
