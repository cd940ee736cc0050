import * as v from 'valibot'
import { calendarEndAfter } from '../lib/time.ts'
import { SPAN_MS } from '../pool/outcome.ts'
import type { Mutable } from './rate-window.ts'

/** What a client token has used. */
export interface Used {
  readonly requests: number
  readonly inputTokens: number
  readonly outputTokens: number
}

/** The spans of the calendar that are summed up, and how long they are at most. */
const SPANS = { day: SPAN_MS.day, week: 7 * SPAN_MS.day, month: 31 * SPAN_MS.day } as const
const spans = Object.keys(SPANS) as (keyof typeof SPANS)[]

/** A sum, and until when it is the present one: epoch ms of the wall clock. */
type Sum = Mutable<Used> & { until: number }
type Sums = Record<keyof typeof SPANS, Sum>

/** As it stands in the state file, by the names of tokens. */
export type KeptTokenUsage = readonly (readonly [name: string, sums: Readonly<Sums>])[]

export type TokenUsage = ReturnType<typeof createTokenUsage>

/**
 * What each client token has used since the start, and in this day, week (from Monday) and month of its zone. Names come from
 * the configuration alone. Moments are epoch ms of the wall clock; one that is set back ends no span anew.
 */
export function createTokenUsage() {
  const sums = new Map<string, Sums>()
  const totals = new Map<string, Mutable<Used>>()
  let changeCount = 0

  function sumsOf(name: string): Sums {
    let own = sums.get(name)
    if (own === undefined) sums.set(name, (own = { day: newSum(), week: newSum(), month: newSum() }))
    return own
  }

  return {
    /** How often something changed that is worth keeping; moves only up. */
    get changes() {
      return changeCount
    },
    record({ name, zone }: { name: string; zone: string }, used: Used, wall: number): void {
      changeCount += 1
      const own = sumsOf(name)
      for (const per of spans) {
        if (wall >= own[per].until)
          own[per] = { ...newSum(), until: calendarEndAfter({ zone, per, spanMs: SPANS[per] }, wall) }
        add(own[per], used)
      }
      let total = totals.get(name)
      if (total === undefined) totals.set(name, (total = { ...NOTHING_USED }))
      add(total, used)
    },
    of(name: string, wall: number) {
      const own = sums.get(name)
      const now = (per: keyof typeof SPANS): Used => {
        const sum = own?.[per]
        return sum === undefined || wall >= sum.until ? NOTHING_USED : sum
      }
      return {
        day: now('day'),
        week: now('week'),
        month: now('month'),
        /** Since the start. */
        total: totals.get(name) ?? NOTHING_USED,
      }
    },
    /** Without what is over. */
    keep: (wall: number): KeptTokenUsage =>
      [...sums].filter(([, own]) => spans.some((per) => own[per].until > wall)),
    /** Takes back what was kept; what none of ours wrote is left out. */
    restore(kept: unknown): void {
      for (const row of Array.isArray(kept) ? (kept as unknown[]) : []) {
        const read = v.safeParse(keptSchema, row)
        if (read.success && !sums.has(read.output[0])) sums.set(...read.output)
      }
    },
  }
}

const NOTHING_USED: Used = { requests: 0, inputTokens: 0, outputTokens: 0 }

/** One that is over. */
const newSum = (): Sum => ({ ...NOTHING_USED, until: 0 })

function add(sum: Mutable<Used>, { requests, inputTokens, outputTokens }: Used): void {
  sum.requests += requests
  sum.inputTokens += inputTokens
  sum.outputTokens += outputTokens
}

const amount = v.pipe(v.number(), v.finite(), v.minValue(0))
const sumSchema = v.object({ requests: amount, inputTokens: amount, outputTokens: amount, until: amount })
const keptSchema = v.tuple([
  v.pipe(v.string(), v.nonEmpty()),
  v.object({ day: sumSchema, week: sumSchema, month: sumSchema }),
])
