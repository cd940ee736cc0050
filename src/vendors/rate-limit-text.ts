import { midnightAfter } from '../lib/time.ts'
import { type QuotaSignal, SPAN_MS } from '../pool/outcome.ts'
import type { SpentQuota, UpstreamErrorText } from './error-body.ts'
import { countsOf, nearestSpan, signalsOf, type WindowSpan } from './rate-limit-headers.ts'

/** Gemini's days end at midnight in California. */
const pacific = 'America/Los_Angeles'

const metered = /\b(token|request)s? per (second|min(?:ute)?|hour|day|month)\b/i
const metersPlainly =
  /\b(\d[\d,]{0,20}) (?:API )?(token|request|call|quer)(?:s|y|ies)? ?(?:per|\/) ?(second|minute|hour|day|month)\b/i
const ofGitHub = /Rate limit of (\d+) per (\d+)s exceeded for (\w+)/
const limitSaid = /\blimit:? ([\d,]+)/i
const usedSaid = /\bused:? ([\d,]+)/i
const requestedSaid = /\brequested:? ([\d,]+)/i
const maxSaid = /max(?:imum)? size:? ([\d,]+) tokens/i

/**
 * What the text of a refusal says about counted limits. Only with a reset is a limit taken as spent: without
 * one, its size is all that is learned.
 */
export function signalsInText(text: UpstreamErrorText, wallNow: number): QuotaSignal[] {
  return [
    ...text.spent.flatMap((quota) => ofGemini(quota, text, wallNow)),
    ...(inGitHubsWords(text) ?? inOpenAisWords(text) ?? inPlainWords(text)),
  ]
}

/**
 * The largest request that the vendor takes, in tokens, where the text says that this one was larger; undefined
 * where it was refused for another reason.
 *
 * "Request too large … (TPM): Limit 6000, Requested 12328" (OpenAI with 429, Groq with 413), "Max size: 8000
 * tokens" (GitHub Models).
 */
export function maxTokensIn(message: string): number | undefined {
  const limit = amountIn(limitSaid, message)
  const requested = amountIn(requestedSaid, message)
  if (limit !== undefined && requested !== undefined) return requested > limit ? limit : undefined
  return amountIn(maxSaid, message)
}

function ofGemini({ id, limit }: SpentQuota, text: UpstreamErrorText, wallNow: number): QuotaSignal[] {
  const window = id.includes('PerDay') ? 'day' : 'minute'
  if (window === 'minute' && !id.includes('PerMinute')) return []
  // Its retryDelay is that of a minute even where the day is spent.
  const resetMs = window === 'day' ? midnightAfter(pacific, wallNow) - wallNow : text.retryMs
  return signalsOf({ counts: countsOf(id), window, scope: 'quota', limit, remaining: 0, resetMs })
}

function inGitHubsWords({ message, retryMs }: UpstreamErrorText): QuotaSignal[] | undefined {
  const [, limit, seconds, type = ''] = ofGitHub.exec(message) ?? []
  if (limit === undefined) return undefined
  if (Number(seconds) === 0) return []
  return signalsOf({
    counts: countsOf(type),
    window: nearestSpan(Number(seconds) * SPAN_MS.second),
    scope: type.includes('ByModel') ? 'upstream' : 'key',
    limit: Number(limit),
    ...(retryMs !== undefined && { remaining: 0, resetMs: retryMs }),
  })
}

function inOpenAisWords({ message }: UpstreamErrorText): QuotaSignal[] | undefined {
  const [, what = '', span] = metered.exec(message) ?? []
  const limit = amountIn(limitSaid, message)
  if (span === undefined || limit === undefined) return undefined
  const used = amountIn(usedSaid, message)
  const remaining = used && Math.max(0, limit - used)
  return signalsOf({ counts: countsOf(what), window: spanNamed(span), scope: 'quota', limit, remaining })
}

function inPlainWords({ message }: UpstreamErrorText): QuotaSignal[] {
  const [, limit = '', what = '', span] = metersPlainly.exec(message) ?? []
  if (span === undefined) return []
  return signalsOf({
    counts: countsOf(what),
    window: spanNamed(span),
    scope: 'key',
    limit: parsedAmount(limit),
  })
}

const spanNamed = (word: string): WindowSpan =>
  word.toLowerCase() === 'min' ? 'minute' : (word.toLowerCase() as WindowSpan)

const parsedAmount = (digits: string): number => Number(digits.replaceAll(',', ''))

function amountIn(pattern: RegExp, message: string): number | undefined {
  const [, digits = ''] = pattern.exec(message) ?? []
  const amount = parsedAmount(digits)
  return amount >= 1 && amount <= 1e12 ? amount : undefined
}
