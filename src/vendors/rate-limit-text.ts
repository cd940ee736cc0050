import { midnightAfter } from '../lib/time.ts'
import { type Scope, SPAN_MS, type Span, type ToldLimit } from '../pool/outcome.ts'
import type { UpstreamErrorText } from './error-body.ts'

/** A limit that an error names. */
export interface NamedLimit extends Omit<ToldLimit, 'limit'> {
  readonly limit?: number | undefined
  /** The error says that nothing of it is left. */
  readonly isSpent: boolean
  /** Ms until it is whole again. */
  readonly resetMs?: number | undefined
  /** That time is what we know of the vendor's days, not what it said. */
  readonly isInferred?: true | undefined
}

/** What a vendor's name of a limit says that it counts. */
const countsOf = (name: string): ToldLimit['counts'] => (/token/i.test(name) ? 'tokens' : 'requests')

/** Gemini's days end at midnight in California. */
const pacific = 'America/Los_Angeles'

const metered = /\b(token|request)s? per (second|min(?:ute)?|hour|day|month)\b/i
/** `20 API calls / minute`, `60 queries per minute`, `100 requests per 5 minutes`. */
const metersPlainly =
  /\b(\d[\d,]{0,20}) (?:API )?(token|request|call|quer)(?:s|y|ies)? ?(?:per|every|\/) ?(?:(\d{1,4})[ -]?)?(second|min(?:ute)?|hour|day|month)s?\b/i
const ofGitHub = /Rate limit of (\d+) per (\d+)s exceeded for (\w+)/
const limitSaid = /\blimit:? ([\d,]+)/i
const usedSaid = /\bused:? ([\d,]+)/i
const requestedSaid = /\brequested:? ([\d,]+)/i
const maxSaid = /max(?:imum)? size:? ([\d,]+) tokens/i

/** What the text of a refusal says about counted limits. */
export function limitsInText(text: UpstreamErrorText, wallNow: number): NamedLimit[] {
  const said = inGitHubsWords(text) ?? inOpenAisWords(text) ?? inPlainWords(text)
  const limits = [...ofGemini(text, wallNow), ...said]
  return isOfModel(text) ? limits.map((limit) => ({ ...limit, scope: 'upstream' })) : limits
}

/** How vendors say that a limit is that of one model. */
const modelNamed: readonly RegExp[] = [
  // "Rate limit reached for gpt-4o (for limit gpt-4o) in organization org-1" (OpenAI), "for model `x`" (Groq), "specific to
  // this model" (Together).
  /\b(?:reached|exceeded|exhausted|hit|limits?|limited|quotas?|specific|too large) (?:for|on|to|of) (?:the |this |your )?(?:model\b(?! (?:access|api|calls?|inference|quotas?|requests?|usage)\b)|(?!requests\b|tokens\b)[\w.:/-]{1,100}(?: \(for limit [\w.:/-]{1,100}\))? in (?:organization|project)\b)/i,
  // "(org: o, model: claude-x)" (Anthropic), "limit: 20, model: gemini-x", "base model: gemini-x" (Google).
  /\bmodel: ?['"`]?[a-z\d]/i,
  // "requests per minute for model x", "20 requests/minute for this model".
  /(?:\bper |\/ ?)(?:second|min(?:ute)?|hour|day|month)(?: \([RT]P[SMHD]\))? (?:for|on|of|to) (?:the |this )?model\b/i,
  // "This model is limited to 5 requests", "model `x` has reached its rate limit".
  /\bmodel(?: ['"`]?[\w.:/-]{1,100}['"`]?)? (?:is (?:temporarily )?(?:rate[- ])?limited|has (?:reached|exceeded|hit) (?:its|the))\b/i,
  // "Too many requests for team t and model x" (xAI), "Your requests to gpt-x for gpt-x in East US have exceeded" (Azure).
  /^Too many requests for team .{1,100} and model\b|^Your requests to \S{1,100} for \S{1,100} in .{1,60} have exceeded\b/i,
]

/** Whether the limit is one model's: by the names of the quotas that it calls spent, else by its words. */
export function isOfModel({ message, spent }: UpstreamErrorText): boolean {
  if (spent.length > 0) return spent.every(({ id }) => id.includes('PerModel'))
  return modelNamed.some((words) => words.test(message))
}

/**
 * The largest request that the vendor takes, in tokens, where the text says that this one was larger: "Request too
 * large … (TPM): Limit 6000, Requested 12328" (OpenAI with 429, Groq with 413), "Max size: 8000 tokens" (GitHub Models).
 */
export function maxTokensIn(message: string): number | undefined {
  const limit = amountIn(limitSaid, message)
  const requested = amountIn(requestedSaid, message)
  if (limit !== undefined && requested !== undefined) return requested > limit ? limit : undefined
  return amountIn(maxSaid, message)
}

function ofGemini({ spent, retryMs }: UpstreamErrorText, wallNow: number): NamedLimit[] {
  return spent.flatMap(({ id, limit }) => {
    const isDay = id.includes('PerDay')
    if (!isDay && !id.includes('PerMinute')) return []
    // Its retryDelay is that of a minute even where the day is spent.
    const resetMs = isDay ? midnightAfter(pacific, wallNow) - wallNow : retryMs
    const spanMs = isDay ? SPAN_MS.day : SPAN_MS.minute
    const said = { counts: countsOf(id), spanMs, scope: 'quota', limit: positive(limit) } as const
    return [{ ...said, isSpent: true, resetMs, ...(isDay && { isInferred: true as const }) }]
  })
}

function inGitHubsWords({ message, retryMs }: UpstreamErrorText): NamedLimit[] | undefined {
  const [, limit, seconds, type = ''] = ofGitHub.exec(message) ?? []
  if (limit === undefined) return undefined
  const spanMs = Number(seconds) * SPAN_MS.second
  if (spanMs === 0) return []
  const scope: Scope = type.includes('ByModel') ? 'upstream' : 'key'
  const isSpent = retryMs !== undefined
  return [
    { counts: countsOf(type), spanMs, scope, limit: positive(Number(limit)), isSpent, resetMs: retryMs },
  ]
}

function inOpenAisWords({ message }: UpstreamErrorText): NamedLimit[] | undefined {
  const [, what = '', span] = metered.exec(message) ?? []
  const limit = amountIn(limitSaid, message)
  if (span === undefined || limit === undefined) return undefined
  const isSpent = (amountIn(usedSaid, message) ?? 0) >= limit
  return [{ counts: countsOf(what), spanMs: spanNamed(span), scope: 'quota', limit, isSpent }]
}

function inPlainWords({ message }: UpstreamErrorText): NamedLimit[] {
  const [, digits = '', what = '', times = '1', span] = metersPlainly.exec(message) ?? []
  const spanMs = Number(times) * (span === undefined ? 0 : spanNamed(span))
  if (spanMs === 0) return []
  const limit = positive(parsedAmount(digits))
  return [{ counts: countsOf(what), spanMs, scope: 'key', limit, isSpent: false }]
}

const spanNamed = (word: string): number =>
  SPAN_MS[word.toLowerCase() === 'min' ? 'minute' : (word.toLowerCase() as Span)]

const parsedAmount = (digits: string): number => Number(digits.replaceAll(',', ''))

const positive = (amount: number | undefined): number | undefined =>
  amount !== undefined && amount >= 1 && amount <= 1e12 ? amount : undefined

function amountIn(pattern: RegExp, message: string): number | undefined {
  const [, digits = ''] = pattern.exec(message) ?? []
  return positive(parsedAmount(digits))
}
