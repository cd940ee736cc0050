import type { QuotaSignal } from '../pool/outcome.ts'
import type { Limits } from '../pool/vocabulary.ts'
import { forgottenOf, type Bucket } from './bucket.ts'
import type { Draft } from './draft.ts'

/** A counted limit: what it counts, over which span. */
export type WindowName = `${QuotaSignal['counts']}:${QuotaSignal['window']}`

/** What one window has seen. Plain data; every field is always there, so that all windows have one shape. */
export interface WindowState {
  /**
   * Sent, and not yet known to be counted. The upstream may count it at any moment up to its answer, so
   * it is in the window for as long as it is here: that is why no 60 seconds, as the upstream sees them,
   * ever hold more than the limit.
   */
  readonly pending: number
  /** What `buckets` and `newest` hold together, those included that have run out since they were last tidied. */
  readonly counted: number
  /** Ascending by `until`; at most about 240 for a span. */
  readonly buckets: readonly Bucket[]
  /** The one that is forgotten last, apart from the others: most requests add to it and leave those as they are. */
  readonly newest: Bucket | undefined
  /** The limit that the upstream named; it tightens a configured one and never loosens it. */
  readonly learnedLimit: number | undefined
  /** When that is forgotten, unless it is named again: plans change. */
  readonly learnedUntil: number | undefined
  /** What the upstream said is left, less all that was sent since; holds until `leftUntil`. */
  readonly left: number | undefined
  readonly leftUntil: number | undefined
  /** When the request was sent whose answer said so: of two answers the later question counts. */
  readonly leftAsOf: number | undefined
  /** The upstream said that nothing is left before then. The latest such word holds, whatever else is said. */
  readonly closedUntil: number | undefined
}

/** A window that has seen nothing. */
export const EMPTY: WindowState = {
  pending: 0,
  counted: 0,
  buckets: [],
  newest: undefined,
  learnedLimit: undefined,
  learnedUntil: undefined,
  left: undefined,
  leftUntil: undefined,
  leftAsOf: undefined,
  closedUntil: undefined,
}

/** A copy to be changed. Field by field: spreading takes engines ten times as long, and a request makes some twenty. */
export const draftOfWindow = (window: WindowState): Draft<WindowState> => ({
  pending: window.pending,
  counted: window.counted,
  buckets: window.buckets,
  newest: window.newest,
  learnedLimit: window.learnedLimit,
  learnedUntil: window.learnedUntil,
  left: window.left,
  leftUntil: window.leftUntil,
  leftAsOf: window.leftAsOf,
  closedUntil: window.closedUntil,
})

/** How long the spans are; a month is 30 days. */
export const SPAN_MS = {
  second: 1000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
  month: 2_592_000_000,
}

/** Names are looked up: a key that is put together each time costs ten times as much. */
const NAMES = {
  requests: {
    second: 'requests:second',
    minute: 'requests:minute',
    hour: 'requests:hour',
    day: 'requests:day',
    month: 'requests:month',
  },
  tokens: {
    second: 'tokens:second',
    minute: 'tokens:minute',
    hour: 'tokens:hour',
    day: 'tokens:day',
    month: 'tokens:month',
  },
} as const satisfies Record<QuotaSignal['counts'], Record<keyof typeof SPAN_MS, WindowName>>

/** The name of the window that a signal speaks of. */
export const windowNameOf = ({ counts, window }: Pick<QuotaSignal, 'counts' | 'window'>): WindowName =>
  NAMES[counts][window]

const SPAN_OF: Readonly<Record<WindowName, keyof typeof SPAN_MS>> = {
  'requests:second': 'second',
  'requests:minute': 'minute',
  'requests:hour': 'hour',
  'requests:day': 'day',
  'requests:month': 'month',
  'tokens:second': 'second',
  'tokens:minute': 'minute',
  'tokens:hour': 'hour',
  'tokens:day': 'day',
  'tokens:month': 'month',
}

/** The span of a window's name. */
export const spanOf = (name: WindowName): keyof typeof SPAN_MS => SPAN_OF[name]

/** The windows that a configuration can limit, and by which key. */
export const CONFIGURABLE: readonly { readonly name: WindowName; readonly key: DayOrMinuteKey }[] = [
  { name: 'requests:minute', key: 'rpm' },
  { name: 'requests:day', key: 'rpd' },
  { name: 'tokens:minute', key: 'tpm' },
  { name: 'tokens:day', key: 'tpd' },
]
type DayOrMinuteKey = 'rpm' | 'rpd' | 'tpm' | 'tpd'

const KEY_OF = new Map<WindowName, DayOrMinuteKey>(CONFIGURABLE.map(({ name, key }) => [name, key]))

/** What the configuration says of a window; undefined = nothing. */
export function configuredLimit(limits: Limits | undefined, name: WindowName): number | undefined {
  const key = limits === undefined ? undefined : KEY_OF.get(name)
  return key === undefined ? undefined : limits?.[key]
}

/** Whether a window counts requests; else it counts tokens. */
export const countsRequests = (name: WindowName): boolean => name.charCodeAt(0) === LETTER_R
const LETTER_R = 0x72

/** What counts against the limit now: pending and not yet forgotten. */
export function usedOf(window: WindowState | undefined, now: number): number {
  return window === undefined ? 0 : window.pending + countedOf(window, now)
}

/** What the upstream has counted and not yet forgotten. */
export function countedOf(window: WindowState, now: number): number {
  if (emptyFrom(window) <= now) return 0
  return window.counted - forgottenOf(window.buckets, now).amount
}

/** When everything counted is forgotten; 0 = nothing is counted. */
export const emptyFrom = ({ newest }: WindowState): number => newest?.until ?? 0

/** The tighter of the configured and the learned limit. */
export function limitOf(
  window: WindowState | undefined,
  configured: number | undefined,
  now = 0,
): number | undefined {
  const learned = window?.learnedLimit
  if (learned === undefined || (window?.learnedUntil ?? Infinity) <= now) return configured
  return configured === undefined ? learned : Math.min(configured, learned)
}

/** What the upstream said is left, while its word holds. */
export function budgetOf(window: WindowState | undefined, now: number): number | undefined {
  if (window?.left === undefined || window.leftUntil === undefined) return undefined
  return window.leftUntil > now ? window.left : undefined
}
