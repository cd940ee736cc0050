import type { HeaderBag } from '../lib/headers.ts'
import { wallDateMs } from '../lib/time.ts'
import { type MeterReading, type Scope, SPAN_MS, type Span } from '../pool/outcome.ts'
import { resetMs } from './retry-after.ts'

/**
 * What the headers of an answer say about counted limits, in every vendor's dialect: a reading for each limit of which
 * they say what is left. What can't be read, is absurd, or names a limit of 0 or below says nothing. Costs some µs where
 * a vendor speaks, 0.1 µs where not.
 *
 * @param answer.wallNow epoch ms
 * @param answer.latencyMs how long the answer took: limits are looked at when a request comes, so what an answer says of
 *   them is as old as the question
 */
export function meterReadings(
  headers: HeaderBag,
  answer: AnswerTime,
  scope: Scope = 'upstream',
): readonly MeterReading[] {
  let meters: Map<string, Words> | undefined
  for (const name in headers) {
    if (!name.includes('limit') && !name.startsWith('x-trial')) continue
    const text = headers[name] ?? ''
    if (name === 'ratelimit') addServiceLimits(text, (meters ??= new Map()))
    const place = placeOf(name)
    if (place === undefined) continue
    meters ??= new Map()
    let words = meters.get(place.meter)
    if (words === undefined) meters.set(place.meter, (words = wordsOf(place)))
    // Not by a computed key, and all of one shape: that is four times as quick.
    if (place.word === 'limit') words.limit = text
    else if (place.word === 'reset') words.reset = text
    else words.remaining = text
  }
  if (meters === undefined) return NONE
  joinTwins(meters)
  const now = vendorClock(headers, answer)
  const policies = itemsOf(headers['ratelimit-policy'])
  const readings: MeterReading[] = []
  for (const words of meters.values()) {
    const reading = readingOf(words, { policies, scope, now })
    if (reading !== undefined && readings.length < MOST_READINGS) readings.push(reading)
  }
  return readings
}
const NONE: readonly MeterReading[] = []
/** No vendor is known to tell of more than eight limits. */
const MOST_READINGS = 16

/** When an answer came. */
interface AnswerTime {
  readonly wallNow: number
  readonly latencyMs?: number
}

/**
 * What the vendor's clock showed when it was asked, epoch ms: points in time are read against it. It is ours unless the
 * `Date` of the answer says otherwise; that one is written when the answer leaves, in whole seconds.
 */
export function vendorClock({ date }: HeaderBag, { wallNow, latencyMs = 0 }: AnswerTime): number {
  const shown = (date === undefined ? undefined : wallDateMs(date, wallNow)) ?? wallNow
  const askedAt = wallNow - latencyMs
  // It is written when the answer begins, or when it leaves.
  const isOurs = isNear(shown, askedAt) || isNear(shown, wallNow)
  return isOurs ? askedAt : shown - latencyMs
}
const isNear = (a: number, b: number): boolean => Math.abs(a - b) <= CLOCKS_APART_MS
const CLOCKS_APART_MS = 1_500

type Base = Pick<MeterReading, 'meter' | 'counts' | 'spanMs'>

/** What is said of one limit, as it was written. */
interface Words extends Base {
  /** That of an item of `RateLimit`. */
  readonly name: string | undefined
  limit: string | undefined
  remaining: string | undefined
  reset: string | undefined
}

const wordsOf = ({ meter, counts, spanMs, name, limit, remaining, reset }: Partial<Words> & Base): Words => ({
  meter,
  counts,
  spanMs,
  name,
  limit,
  remaining,
  reset,
})

/** Where a header belongs, by its name. */
interface Place extends Base {
  readonly word: 'limit' | 'remaining' | 'reset'
}

/**
 * `x-ratelimit-limit-requests` (OpenAI, Azure, Groq, xAI, GitHub Models), `-project-tokens` (OpenAI),
 * `-tokens-minute` (Cerebras), `-req-minute` (Mistral), `-requests-day` (SambaNova), `-minute`, `-300` (Kong),
 * `ratelimitbysize-limit` (Mistral's tokens by Kong), `ratelimit-limit` (IETF drafts to 6, Kong, DigitalOcean),
 * `x-ratelimit-limit` (Envoy, GitHub, OpenRouter, Together), `x-tokenlimit-limit` and `x-ratelimit-limit-dynamic`
 * (Together), `anthropic-ratelimit-requests-limit`, `x-trial-endpoint-call-limit` (Cohere).
 */
const NAME =
  /^((?:x-|anthropic-)?(?:rate-?limit(?:bysize)?|tokenlimit)|x-trial-endpoint-call)((?:-[a-z\d]+)*?)-(limit|remaining|reset)((?:-[a-z\d]+)*)$/
/** What the rest of a name may consist of. Input and output alone are parts of a vendor's tokens; others count pictures. */
const KNOWN =
  /^(?:-(?:req|requests?|calls?|tokens?|project|dynamic|per|second|minute|hour|day|month|\d{1,7})){0,3}$/
const SPAN = /second|minute|hour|day|month|\d+/
const LONGEST_NAME = 64

/** Upstreams choose the names of their headers: so many are remembered. */
const MOST_PLACES = 500
const places = new Map<string, Place | undefined>()

function placeOf(name: string): Place | undefined {
  if (name.length > LONGEST_NAME) return undefined
  if (places.has(name)) return places.get(name)
  const place = parsedPlace(name)
  if (places.size >= MOST_PLACES) places.clear()
  places.set(name, place)
  return place
}

function parsedPlace(name: string): Place | undefined {
  const [, family = '', before = '', word = '', after = ''] = NAME.exec(name) ?? []
  if (word === '' || !KNOWN.test(before + after)) return undefined
  const [span] = SPAN.exec(before + after) ?? []
  return {
    meter: `${family}${before}-*${after}`,
    word: word as Place['word'],
    counts: /token|bysize/.test(name) ? 'tokens' : 'requests',
    spanMs: span === undefined ? undefined : spanNamed(span),
  }
}

/** Kong names windows of an odd length by their seconds. */
const spanNamed = (span: string): number | undefined => (/\d/.test(span) ? msOf(span) : SPAN_MS[span as Span])

const LONGEST_MS = 31 * SPAN_MS.day
/** The length of a window that is told in seconds; 0 is none. */
const msOf = (seconds: string | undefined): number | undefined =>
  Math.max(0, Math.min(LONGEST_MS, (numberIn(seconds) ?? 0) * SPAN_MS.second)) || undefined

/**
 * Kong tells of its tightest limit twice: by the name of its window, and with a reset. The name stays, since from one
 * answer to the next another limit may be the tightest.
 */
function joinTwins(meters: Map<string, Words>): void {
  for (const words of meters.values()) {
    if (words.reset !== undefined || words.spanMs === undefined) continue
    const limit = numberIn(words.limit)
    const remaining = numberIn(words.remaining)
    for (const other of meters.values()) {
      const isTwin =
        limit !== undefined &&
        other.reset !== undefined &&
        other.spanMs === undefined &&
        other.counts === words.counts &&
        numberIn(other.limit) === limit &&
        numberIn(other.remaining) === remaining
      if (!isTwin) continue
      words.reset = other.reset
      meters.delete(other.meter)
      break
    }
  }
}

/** Of two partitions of one policy the one with less left counts. */
function addServiceLimits(text: string, meters: Map<string, Words>): void {
  for (const words of serviceLimitsIn(text)) {
    const before = numberIn(meters.get(words.meter)?.remaining) ?? Infinity
    if ((numberIn(words.remaining) ?? Infinity) < before) meters.set(words.meter, words)
  }
}

/**
 * The limits in `RateLimit` of the IETF's drafts: `limit=100, remaining=50, reset=5` (7), `"default";r=50;t=30` (8 and
 * later, a list). Partition keys are passed over: the newest word on a policy counts, whatever its partition.
 * @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
 */
function serviceLimitsIn(text: string): Words[] {
  const items = itemsOf(text)
  const all: Item['params'] = Object.assign({}, ...items.map(({ params }) => params))
  const { limit, remaining, reset } = all
  if (remaining !== undefined)
    return [wordsOf({ meter: 'ratelimit', counts: 'requests', limit, remaining, reset })]
  return items.flatMap(({ names: [name = ''], params: { q, r, t } }) => {
    if (r === undefined) return []
    const meter = `ratelimit ${name}`.slice(0, LONGEST_NAME)
    const counts = name.includes('tokens') ? 'tokens' : 'requests'
    return [wordsOf({ meter, name, counts, limit: q, remaining: r, reset: t })]
  })
}

/** An item of a structured list (RFC 9651): what stands alone, and its parameters. */
interface Item {
  readonly names: readonly string[]
  readonly params: Readonly<Partial<Record<string, string>>>
}

/** What stands in quotes may hold commas and semicolons. */
const BETWEEN_COMMAS = /(?:"(?:[^"\\]|\\.)*"|[^",])+/g
const BETWEEN_SEMICOLONS = /(?:"(?:[^"\\]|\\.)*"|[^";])+/g
const PARAMETER = /^\s*([a-z]\w*)\s*=(.*)$/i
const LONGEST_LIST = 1_000

/**
 * The items of a list, read leniently: blanks may stand anywhere, and an item may have several names, as Hugging Face has
 * it (`"fixed window";"api";q=500;w=300`).
 */
function itemsOf(text: string | undefined): Item[] {
  if (text === undefined) return []
  const items = text.slice(0, LONGEST_LIST).match(BETWEEN_COMMAS) ?? []
  return items.map((item) => {
    const names: string[] = []
    const params: Record<string, string> = {}
    for (const part of item.match(BETWEEN_SEMICOLONS) ?? []) {
      const [, key, value = ''] = PARAMETER.exec(part) ?? []
      if (key === undefined) names.push(unquoted(part))
      else params[key.toLowerCase()] = unquoted(value)
    }
    return { names, params }
  })
}

const unquoted = (text: string): string => text.trim().replace(/^"(.*)"$/, '$1')

/** The policy that a limit goes by: the one of its name, the one of its size, or the only one. */
function policyFor({ name, limit }: Words, policies: readonly Item[]): Item | undefined {
  if (name !== undefined) return policies.find(({ names }) => names.includes(name))
  const size = numberIn(limit)
  const ofSize = size && policies.find(({ names }) => numberIn(names[0]) === size)
  return ofSize || (policies.length === 1 ? policies[0] : undefined)
}

/** A limit may be the first of a list, and anything may have parameters behind it. */
const NUMBER = /^\s*(-?\d{1,15}(?:\.\d{1,9})?)\s*(?:$|;)/
const FIRST_NUMBER = /^\s*(-?\d{1,15}(?:\.\d{1,9})?)\s*(?:$|[,;])/
const numberIn = (text: string | undefined, form = FIRST_NUMBER): number | undefined => {
  const [, number] = (text === undefined ? undefined : form.exec(text)) ?? []
  return number === undefined ? undefined : Number(number)
}

const GO_DURATION = /^\s*\d[\d.]*(?:ns|us|µs|ms|s|m|h)/
const MOST_AMOUNT = 1e12

interface Said {
  /** Of `RateLimit-Policy`. */
  readonly policies: readonly Item[]
  readonly scope: Scope
  /** By the vendor's clock. */
  readonly now: number
}

/** −1 left is the sign for "unknown" (Azure); less than that is an overdrawn limit. */
function readingOf(words: Words, { policies, scope, now }: Said): MeterReading | undefined {
  const { meter, spanMs: named, limit: limitText, reset } = words
  const told = numberIn(words.remaining, NUMBER)
  if (told === undefined || told === -1 || told > MOST_AMOUNT) return undefined
  // Drafts to 3, and Envoy: `20, 20;w=60, 1000;w=3600`, the limit and then the policies.
  const listed = limitText?.includes(',') ? itemsOf(limitText).slice(1) : []
  const policy = policyFor(words, /^ratelimit\b/.test(meter) ? [...listed, ...policies] : listed)
  const { q, w, window = w, qu } = policy?.params ?? {}
  const counts = qu === undefined ? words.counts : unitNamed(qu)
  const limit = numberIn(limitText) ?? numberIn(q ?? policy?.names[0])
  const isNoLimit = limit === undefined ? limitText !== undefined : limit < 1 || limit > MOST_AMOUNT
  if (isNoLimit || counts === undefined) return undefined
  const spanMs = msOf(window) ?? named
  const until = reset === undefined ? undefined : resetMs(reset, now)
  return {
    meter,
    counts,
    scope,
    limit: limit && Math.floor(limit),
    remaining: Math.max(0, Math.floor(told)),
    // Nothing is whole later than twice its span from now, however overdrawn.
    resetMs: until ? Math.min(LONGEST_MS, 2 * (spanMs ?? Infinity), until) : turnMs(named, now),
    spanMs,
    isDuration: reset !== undefined && GO_DURATION.test(reset),
  }
}

/** Of the units in the IETF's registry what a gateway can count, and tokens; others are bytes and what is under way. */
const unitNamed = (unit: string): MeterReading['counts'] | undefined =>
  /^(?:requests?|tokens?)$/.test(unit) ? (unit.startsWith('r') ? 'requests' : 'tokens') : undefined

/** Ms until the vendor's clock has a new minute (hour, day), as the name of a header without a reset says. */
function turnMs(spanMs: number | undefined, now: number): number | undefined {
  if (spanMs !== SPAN_MS.month) return spanMs && spanMs - (now % spanMs)
  const date = new Date(now)
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1) - now
}
