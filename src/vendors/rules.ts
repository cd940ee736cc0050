import type { Failure } from '../pool/outcome.ts'

/** What only the numbers of an answer tell; see `classify.ts`. */
export type Fact = 'names-largest-request' | 'long-window-spent' | 'bare-problem'

/** What else than its status may tell of an answer. */
export interface Signs {
  /** The error's code or its type, as a whole. */
  readonly code?: RegExp
  readonly says?: RegExp
  readonly fact?: Fact
  /** The id of a quota that Gemini calls spent. */
  readonly spent?: RegExp
  /** GitHub's `x-ratelimit-type`. */
  readonly limitType?: RegExp
}

/** The verdict on an answer with one of these statuses and, where the row names signs, with one of them. */
const on = (status: readonly number[], verdict: VerdictName, signs: Signs = {}) => ({
  status,
  verdict,
  signs,
})

const bad = [400, 413, 422]
const busy = [503, 529]
const concurrencyCode = /^(queue_exceeded|\w*concurren\w*|engine_overloaded_error)$/i
const concurrencyWords = /concurren|\bqueued?\b|pending requests/i

/**
 * The first row that fits decides. Status codes without a row fall to `verdictByRange`.
 *
 * Texts of a 400 that make something rest are matched from their first word on: further in, a vendor quotes the
 * client, who could otherwise talk an upstream out of the pool.
 */
export const failureRules = [
  // One request larger than the limit. Groq says it with 413, OpenAI with 429, GitHub Models in other words.
  on([413, 429], 'tooLarge', { fact: 'names-largest-request' }),
  on([413], 'tooLarge', { code: /rate_?limit|tokens_limit/i, says: /rate limit|tokens per min/i }),

  // Credit. 1113 is Zhipu's, 30001 SiliconFlow's, exceeded_current_quota_error Moonshot's.
  on([400, 403, 429], 'unpaid', {
    code: /^(insufficient_(user_)?(quota|balance|credits?)|billing_\w+|exceeded_current_quota_error|1113|30001)$/i,
    says: /^((sorry, )?(your |the )?((account|credit) )?balance is (insufficient|too low)|your credit balance|insufficient (balance|credits?|funds)|key limit exceeded)/i,
  }),
  on([402], 'unpaid'),

  // Refused by a filter, not for the key (OpenRouter).
  on([403], 'ofTheModel', { says: /requires moderation|was flagged/i }),

  // The key. Gemini and xAI say it with 400.
  on([401], 'noKey'),
  on([400], 'noKey', { code: /^(API_KEY_INVALID|invalid_api_key|authentication_error)$/i }),
  on([400], 'noKey', {
    says: /^(api key (not valid|expired|not found)|(incorrect|invalid) api key|user location is not supported)/i,
  }),
  on([403], 'limited', { code: /^(rate_?limit\w*|too_many_requests)$/i }),
  on([403], 'noEntry'),

  // The model: its name comes from the configuration, so that it is never the client's fault.
  // 1211 Zhipu, 1500 Mistral, 5007 Cloudflare, 20012 SiliconFlow.
  on([400, 422], 'noModel', {
    code: /^(model_(not_found|not_supported|decommissioned|not_exist)|invalid_model|(unknown|unavailable)_model|1211|1500|5007|20012)$/i,
  }),
  on([400], 'noModel', {
    says: /^((the )?(requested )?model .{0,200}(not exist|not found|decommissioned|deprecated|not supported by any)|(invalid|unknown|no such) model)/i,
  }),
  on([400], 'noModel', { says: /^[\w./:@-]{1,200} is not a valid model ID$/i }),
  // OpenRouter has the model, and nobody who serves it with what the request asks for.
  on([404], 'ofTheModel', { says: /^no endpoints found that (can |support)/i }),
  // Something of an account that the request names: a response, a conversation, a file.
  on([404], 'ofTheRequest', { code: /^(previous_)?(response|conversation|file|prompt)_not_found$/i }),
  on([404], 'ofTheRequest', { says: /\b(resp|conv|file|vs|pmpt|batch)[_-]\w{4,}\W+not found/i }),
  on([404, 405], 'noModel'),
  on([410], 'goneModel'),

  // NVIDIA's function is out of order, whatever was asked of it.
  on([400], 'failedUndone', { says: /^(function id .{0,100})?degraded function cannot be invoked/i }),

  // What another model may accept. 1261 and 1301 Zhipu, 3051 Mistral.
  on(bad, 'ofTheModel', {
    code: /^(context_length_exceeded|string_above_max_length|exceed_context_size_error|1261|3051|unsupported_(parameter|value)|unknown_parameter|extra_forbidden|content_(filter|policy_violation)|data_inspection_failed|1301|tool_use_failed|json_validate_failed)$/i,
    says: /maximum context length|context (length|window|size)|prompt (is )?too long|(token count|input|prompt).{0,60}exceeds? the (maximum|limit)|reduce the length of/i,
  }),
  on(bad, 'ofTheModel', {
    says: /^(unsupported (parameter|value)|unknown parameter|unrecognized request argument|extra inputs are not permitted|content exists risk)|does not support (image|audio|tool|function|system|stream|json|response_format|reasoning)|is not supported (with|by|for) this model/i,
  }),

  // Too many at once. 1302 and 1303 are Zhipu's account; GitHub's word is UserConcurrentRequests.
  on([429], 'accountConcurrencyLimited', { code: /^130[23]$/ }),
  on([429], 'concurrencyLimited', { limitType: /Concurrent/ }),
  on([429], 'concurrencyLimited', { code: concurrencyCode, says: concurrencyWords }),
  on(busy, 'concurrencyOverloaded', { code: concurrencyCode, says: concurrencyWords }),

  // A day, a week, a month. 4006 and 3036 are Cloudflare's neurons, 1304…1321 Zhipu's plans.
  on([429], 'pacificDayIsSpent', { spent: /PerDay/ }),
  on([429], 'utcDayIsSpent', { code: /^(4006|3036)$/, says: /daily free allocation/i }),
  on([429], 'dayIsSpent', { code: /^13(04|08|10|1[6-9]|2[01])$/ }),
  on([429], 'modelsDayIsSpent', { limitType: /ByModelByDay/ }),
  on([429], 'keysDayIsSpent', { limitType: /ByDay/ }),
  on([429], 'modelsDayIsSpent', { says: /ByModelByDay/ }),
  on([429], 'keysDayIsSpent', { says: /ByDay|trial key.{0,60}month/i }),
  on([429], 'accountLimited', { says: /free-models-per-min/ }),
  on([429], 'dayIsSpent', {
    says: /per[ -]day\b|\bdaily\b|\b[RT]PD\b|per 86400s|\bweekly\b|\bmonthly\b|(per|\/) month\b|usage limit/i,
  }),
  on([429], 'modelsDayIsSpent', { fact: 'long-window-spent' }),

  // Minutes. Whose they are is told by the words, or by the form (NVIDIA's is the account's).
  on([429], 'keyLimited', { says: /trial key/i, limitType: /^User(?!ByModel)/ }),
  on([429], 'accountLimited', {
    spent: /PerMinute/,
    code: /^(token|request)_quota_exceeded$/,
    says: /\bin (organization|project)\b|\baccount\b|\b[RT]PM limit reached/i,
    fact: 'bare-problem',
  }),
  on([429], 'limited'),

  on(busy, 'overloaded'),
  on([408], 'failedUndone'),
  // Cloudflare never got through to the vendor: refused, unreachable, TLS.
  on([521, 523, 525, 526], 'failedUndone'),
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
  /** The failures of a transport, by its names. */
  'not-sent': { ...failed, class: 'not-sent', code: 'upstream_unavailable' },
  'connect-timeout': { ...failed, class: 'not-sent', code: 'upstream_timeout' },
  timeout: { ...failed, code: 'upstream_timeout' },
  broken: { ...failed, code: 'upstream_unavailable' },
  undecodable: { ...failed, code: 'upstream_bad_response' },
  ofTheModel: { ...ofTheRequest, class: 'other-model' },
  ofTheRequest,
} as const satisfies Record<string, Verdict>

export type VerdictName = keyof typeof verdicts
