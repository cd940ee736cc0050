import type { Failure } from '../pool/outcome.ts'

/**
 * One row: the verdict on an answer with one of its statuses. Where the row names more, one thing of that is true too.
 *
 * Texts of a 400 that make something rest are matched from their first word on: further in, a vendor quotes the
 * client, who could otherwise talk an upstream out of the pool.
 */
export interface FailureRule {
  readonly status: readonly number[]
  /** The error's code or its type, as a whole. */
  readonly code?: RegExp
  readonly says?: RegExp
  /** A fact that the numbers of the answer tell; see `classify.ts`. */
  readonly fact?: 'names-largest-request' | 'long-window-spent' | 'bare-problem'
  /** The id of a quota that Gemini calls spent. */
  readonly spent?: RegExp
  /** GitHub's `x-ratelimit-type`. */
  readonly limitType?: RegExp
  readonly verdict: VerdictName
}

const bad = [400, 413, 422]
const busy = [503, 529]
const concurrencyCode = /^(queue_exceeded|\w*concurren\w*|engine_overloaded_error)$/i
const concurrencyWords = /concurren|\bqueued?\b|pending requests/i

/** The first row that fits decides. Status codes without a row fall to `verdictByRange`. */
export const failureRules: readonly FailureRule[] = [
  // One request larger than the limit. Groq says it with 413, OpenAI with 429, GitHub Models in other words.
  { status: [413, 429], fact: 'names-largest-request', verdict: 'tooLarge' },
  {
    status: [413],
    code: /rate_?limit|tokens_limit/i,
    says: /rate limit|tokens per min/i,
    verdict: 'tooLarge',
  },

  // Credit. 1113 is Zhipu's, 30001 SiliconFlow's, exceeded_current_quota_error Moonshot's.
  {
    status: [400, 403, 429],
    code: /^(insufficient_(user_)?(quota|balance|credits?)|billing_\w+|exceeded_current_quota_error|1113|30001)$/i,
    says: /^((sorry, )?(your |the )?((account|credit) )?balance is (insufficient|too low)|your credit balance|insufficient (balance|credits?|funds)|key limit exceeded)/i,
    verdict: 'unpaid',
  },
  { status: [402], verdict: 'unpaid' },

  // Refused by a filter, not for the key (OpenRouter).
  { status: [403], says: /requires moderation|was flagged/i, verdict: 'ofTheModel' },

  // The key. Gemini and xAI say it with 400.
  { status: [401], verdict: 'noKey' },
  { status: [400], code: /^(API_KEY_INVALID|invalid_api_key|authentication_error)$/i, verdict: 'noKey' },
  {
    status: [400],
    says: /^(api key (not valid|expired|not found)|(incorrect|invalid) api key|user location is not supported)/i,
    verdict: 'noKey',
  },
  { status: [403], code: /^(rate_?limit\w*|too_many_requests)$/i, verdict: 'limited' },
  { status: [403], verdict: 'noEntry' },

  // The model: its name comes from the configuration, so that it is never the client's fault.
  // 1211 Zhipu, 1500 Mistral, 5007 Cloudflare, 20012 SiliconFlow.
  {
    status: [400, 422],
    code: /^(model_(not_found|not_supported|decommissioned|not_exist)|invalid_model|(unknown|unavailable)_model|1211|1500|5007|20012)$/i,
    verdict: 'noModel',
  },
  {
    status: [400],
    says: /^((the )?(requested )?model .{0,200}(not exist|not found|decommissioned|deprecated|not supported by any)|(invalid|unknown|no such) model)/i,
    verdict: 'noModel',
  },
  { status: [400], says: /^[\w./:@-]{1,200} is not a valid model ID$/i, verdict: 'noModel' },
  // OpenRouter has the model, and nobody who serves it with what the request asks for.
  { status: [404], says: /^no endpoints found that (can |support)/i, verdict: 'ofTheModel' },
  // Something of an account that the request names: a response, a conversation, a file.
  {
    status: [404],
    code: /^(previous_)?(response|conversation|file|prompt)_not_found$/i,
    verdict: 'ofTheRequest',
  },
  { status: [404], says: /\b(resp|conv|file|vs|pmpt|batch)[_-]\w{4,}\W+not found/i, verdict: 'ofTheRequest' },
  { status: [404, 405], verdict: 'noModel' },
  { status: [410], verdict: 'goneModel' },

  // NVIDIA's function is out of order, whatever was asked of it.
  {
    status: [400],
    says: /^(function id .{0,100})?degraded function cannot be invoked/i,
    verdict: 'failedUndone',
  },

  // What another model may accept. 1261 and 1301 Zhipu, 3051 Mistral.
  {
    status: bad,
    code: /^(context_length_exceeded|string_above_max_length|exceed_context_size_error|1261|3051|unsupported_(parameter|value)|unknown_parameter|extra_forbidden|content_(filter|policy_violation)|data_inspection_failed|1301|tool_use_failed|json_validate_failed)$/i,
    says: /maximum context length|context (length|window|size)|prompt (is )?too long|(token count|input|prompt).{0,60}exceeds? the (maximum|limit)|reduce the length of/i,
    verdict: 'ofTheModel',
  },
  {
    status: bad,
    says: /^(unsupported (parameter|value)|unknown parameter|unrecognized request argument|extra inputs are not permitted|content exists risk)|does not support (image|audio|tool|function|system|stream|json|response_format|reasoning)|is not supported (with|by|for) this model/i,
    verdict: 'ofTheModel',
  },

  // Too many at once. 1302 and 1303 are Zhipu's account; GitHub's word is UserConcurrentRequests.
  { status: [429], code: /^130[23]$/, verdict: 'accountConcurrencyLimited' },
  { status: [429], limitType: /Concurrent/, verdict: 'concurrencyLimited' },
  { status: [429], code: concurrencyCode, says: concurrencyWords, verdict: 'concurrencyLimited' },
  { status: busy, code: concurrencyCode, says: concurrencyWords, verdict: 'concurrencyOverloaded' },

  // A day, a week, a month. 4006 and 3036 are Cloudflare's neurons, 1304…1321 Zhipu's plans.
  { status: [429], spent: /PerDay/, verdict: 'pacificDayIsSpent' },
  { status: [429], code: /^(4006|3036)$/, says: /daily free allocation/i, verdict: 'utcDayIsSpent' },
  { status: [429], code: /^13(04|08|10|1[6-9]|2[01])$/, verdict: 'dayIsSpent' },
  { status: [429], limitType: /ByModelByDay/, verdict: 'modelsDayIsSpent' },
  { status: [429], limitType: /ByDay/, verdict: 'keysDayIsSpent' },
  { status: [429], says: /ByModelByDay/, verdict: 'modelsDayIsSpent' },
  { status: [429], says: /ByDay|trial key.{0,60}month/i, verdict: 'keysDayIsSpent' },
  { status: [429], says: /free-models-per-min/, verdict: 'accountLimited' },
  {
    status: [429],
    says: /per[ -]day\b|\bdaily\b|\b[RT]PD\b|per 86400s|\bweekly\b|\bmonthly\b|(per|\/) month\b|usage limit/i,
    verdict: 'dayIsSpent',
  },
  { status: [429], fact: 'long-window-spent', verdict: 'modelsDayIsSpent' },

  // Minutes. Whose they are is told by the words, or by the form (NVIDIA's is the account's).
  { status: [429], says: /trial key/i, limitType: /^User(?!ByModel)/, verdict: 'keyLimited' },
  {
    status: [429],
    spent: /PerMinute/,
    code: /^(token|request)_quota_exceeded$/,
    says: /\bin (organization|project)\b|\baccount\b|\b[RT]PM limit reached/i,
    fact: 'bare-problem',
    verdict: 'accountLimited',
  },
  { status: [429], verdict: 'limited' },

  { status: busy, verdict: 'overloaded' },
  { status: [408], verdict: 'failedUndone' },
  // Cloudflare never got through to the vendor: refused, unreachable, TLS.
  { status: [521, 523, 525, 526], verdict: 'failedUndone' },
]

/** A status without a row: 4xx speaks of the request, 5xx of unknown trouble, and no other one is an answer. */
export function verdictByRange(status: number): VerdictName {
  if (status >= 400 && status <= 499) return 'ofTheRequest'
  return status >= 500 && status <= 599 ? 'failed' : 'badAnswer'
}

/** The HTTP status that an error inside a 200 would have had, by its code or its type; the first row decides. */
export const statusOfCode: readonly (readonly [code: RegExp, status: number])[] = [
  [/insufficient|payment|billing/i, 402],
  [/rate_?limit|too_?many|throttl|exhausted|quota|queue_exceeded/i, 429],
  [/^(130[2-9]|131\d|132[01]|4006|3036|3040)$/, 429],
  [/context_length|unsupported|unknown_parameter|content_filter/i, 400],
  [/invalid_(request|prompt|argument)|bad_?request/i, 400],
  [/api_?key|authenticat|unauthorized/i, 401],
  [/permission|forbidden/i, 403],
  [/not_?found/i, 404],
  [/overloaded|unavailable/i, 503],
]

/** What a kind of failure means, before the numbers of the single answer are added. */
export interface Verdict extends Pick<Failure, 'class' | 'scope' | 'cause' | 'code'> {
  /**
   * Where the time to stay away comes from. `minutes`: what was asked for, 1 s to 1 h. `days`: the same, up to
   * 31 days. A zone: the next midnight there, whatever was asked for. Absent: nothing is believed.
   */
  readonly hint?: 'minutes' | 'days' | 'UTC' | 'America/Los_Angeles'
}

const refused = { class: 'refused', scope: 'upstream' } as const
const limited: Verdict = { ...refused, cause: 'rate-limited', code: 'rate_limit_exceeded', hint: 'minutes' }
const dayIsSpent: Verdict = { ...limited, scope: 'quota', cause: 'quota', hint: 'days' }
const concurrencyLimited: Verdict = { ...limited, cause: 'overloaded' }
const failed: Verdict = { class: 'ambiguous', scope: 'upstream', cause: 'failure', code: 'upstream_error' }
const goneModel: Verdict = { ...refused, cause: 'not-found', code: 'upstream_model_not_found' }
const noEntry: Verdict = { ...refused, cause: 'auth', code: 'upstream_auth_failed' }
const ofTheRequest: Verdict = { ...failed, class: 'client', scope: 'none' }

/** Every kind of failure there is, by name. */
export const verdicts = {
  /** A limit that reopens soon, on this key with this model. */
  limited,
  /** The same limit on everything of the key, or of the account. */
  keyLimited: { ...limited, scope: 'key' },
  accountLimited: { ...limited, scope: 'quota' },
  /** One request above a limit: it is the only one that has to go elsewhere. */
  tooLarge: { ...limited, scope: 'none' },
  /** A quota of hours, days or months, of the account unless the answer tells otherwise. */
  dayIsSpent,
  modelsDayIsSpent: { ...dayIsSpent, scope: 'upstream' },
  keysDayIsSpent: { ...dayIsSpent, scope: 'key' },
  utcDayIsSpent: { ...dayIsSpent, hint: 'UTC' },
  pacificDayIsSpent: { ...dayIsSpent, hint: 'America/Los_Angeles' },
  /** Somebody has to pay. */
  unpaid: { ...dayIsSpent, scope: 'key', code: 'insufficient_quota' },
  /** Too many at once, told as a limit (429) or as trouble of the vendor's (503). */
  concurrencyLimited,
  concurrencyOverloaded: { ...concurrencyLimited, code: 'upstream_overloaded' },
  accountConcurrencyLimited: { ...concurrencyLimited, scope: 'quota' },
  noKey: { ...noEntry, scope: 'key' },
  /** The key is known, but not allowed to use this model. */
  noEntry,
  noModel: { ...goneModel, scope: 'endpoint' },
  /** Withdrawn for good, on every endpoint. */
  goneModel,
  failed,
  failedUndone: { ...failed, class: 'refused' },
  overloaded: { ...failed, class: 'refused', code: 'upstream_overloaded', hint: 'minutes' },
  /** It was no answer at all; or it was cut, so that nobody knows whether the work was done. */
  badAnswer: { ...failed, class: 'refused', code: 'upstream_bad_response' },
  brokenAnswer: { ...failed, code: 'upstream_bad_response' },
  unreachable: { ...failed, class: 'not-sent', code: 'upstream_unavailable' },
  unreachableInTime: { ...failed, class: 'not-sent', code: 'upstream_timeout' },
  silent: { ...failed, code: 'upstream_timeout' },
  disconnected: { ...failed, code: 'upstream_unavailable' },
  ofTheModel: { ...ofTheRequest, class: 'other-model' },
  ofTheRequest,
} as const satisfies Record<string, Verdict>

export type VerdictName = keyof typeof verdicts
