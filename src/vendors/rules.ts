import type { Failure } from '../pool/outcome.ts'

/** What only the numbers of an answer tell; see `classify.ts`. */
export type Fact = 'names-largest-request' | 'long-window-spent' | 'bare-problem' | 'no-words'

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

const bad = [400, 413, 415, 422]
const busy = [503, 529]
/** Statuses by which a vendor may mean anything. */
const anyRefusal = Array.from({ length: 100 }, (_, at) => 400 + at).filter(
  (status) => ![401, 402, 404, 405, 408, 410, 429].includes(status),
)
const concurrencyCode = /^(queue_exceeded|\w*concurren\w*|engine_overloaded_error)$/i
const concurrencyWords = /concurren|\bqueued?\b|pending requests/i

/** A context or an output limit, in the words of all those who have one; the second is that of the output. */
export const tooLongWords =
  /context[ _-]?(length|window|size|limit)|max(imum)? (context|prompt|input|sequence|model) ?(length|size|tokens?|len)\b|max_model_len|(prompt|input|request|messages?|conversation|text|context)\b.{0,40}\btoo (long|large|many tokens)|too many (input |prompt )?tokens|range of (input|prompt).{0,20}(should|must)|(token count|tokens|input|inputs|prompt).{0,80}(exceeds?|<=|≤|must be less|longer than|(greater|more) than (the )?(max|limit|allowed))|exceed.{0,40}(context|token|length|max_)|reduce (the length|your prompt|the number of)|input (length|tokens?).{0,40}(exceed|limit)|上下文|(输入|提示|文本|内容|长度|tokens?).{0,12}(过长|超出|超过|超限)|(超出|超过).{0,16}(长度|限制|上限|tokens?)/i
export const outputWords =
  /(max[_ ]?(completion|new|output)?[_ ]?tokens|completion tokens|output tokens|max_output).{0,100}(too (large|high|big|many)|at most|less than|no more than|not (be )?(exceed|greater|larger|more)|cannot (be|exceed)|can't exceed|exceed|maximum|<=|≤|should be in|\[\d|between|out of range|超)|range of max_\w*tokens|supports at most \d+ (completion|output)|fewer max_tokens|can only afford/i
/** What was asked is refused for what it says, by whoever filters it. */
const contentWords =
  /moderat|flagged|\bsafety\b|content[ _-]?(management|policy|filter|risk|exists risk)|usage polic|data_?inspection|inappropriate|sensitive|prohibited content|敏感|违规|不合规|审核/i
/** Credit, rate, capacity: of a code or a type anywhere, of words only at their beginning. */
const accountCode =
  /arrear|insufficient_?(user_)?(quota|balance|credit|fund)|balance|billing|payment|\bcredits?\b|quota_?exceed|exceeded_?quota|suspend|deactivat|overdue|account_?(disabled|closed|blocked|frozen)/i
const accountWords =
  /^(access denied, please make sure your account|(your |the )?account\b.{0,60}(suspend|arrear|overdue|disabled|deactivat|insufficient|balance|not active|frozen)|insufficient|.{0,12}(余额不足|欠费))/i
const rateCode =
  /rate_?_?limit|throttl|too_?many_?req|frequency|\bqps\b|(request|token)s?_?limit_?(reached|exceeded)|limit_?requests|limit_?burst/i
const rateWords =
  /^(detected high.frequency|(api |request |your )?rate.?limit|too many requests|requests? (rate|frequency)|throttl|(requests?|calls?) (are )?too (frequent|fast|many)|(you have |you've )?(exceeded|reached|hit) (the|your) (rate|request|current)|.{0,8}(qps|qpm|tpm|rpm).{0,30}(limit|exceed|reach)|.{0,12}(过于频繁|频率|限流|请求过多|并发))/i
const capacityCode =
  /overload|capacity|unavailable|\bbusy\b|engine_|upstream|(internal|server)_?(server_?)?error|internalerror|provider_?error|bad_?gateway|timeout|timed_?out|model_?loading/i
const capacityWords =
  /^((the |this )?(upstream|provider|engine|server|service|system|model)\b.{0,60}(overload|busy|unavailable|fail|error|capacity|loading|try again)|overloaded|server (is )?busy|internal (server )?error|upstream|service (temporarily )?unavailable|.{0,12}(繁忙|过载|系统(错误|异常)|服务(不可用|异常)))/i

/**
 * The first row that fits decides. Status codes without a row fall to `verdictByRange`.
 *
 * Texts of a 400 that make something rest are matched from their first word on: further in, a vendor quotes the
 * client, who could otherwise talk an upstream out of the pool.
 */
export const failureRules = [
  // Something that another account made and keeps: who made it can read it.
  on([400, 403, 404, 409, 422], 'otherAccounts', {
    code: /^(invalid_encrypted_content|(previous_)?(response|conversation|file|prompt|item|container)_not_found)$/i,
    says: /encrypted[_ ]content.{0,120}(could not|cannot|can't|fail|invalid|verif|decrypt)|invalid .{0,20}encrypted|(invalid|bad) .{0,4}signature.{0,4} in .{0,4}thinking|\b(resp|conv|file|vs|pmpt|batch|rs|msg|item|cntr)[_-]\w{4,}\W.{0,40}not found/i,
  }),
  // Credit for a shorter answer is there (OpenRouter).
  on([402, 403, 429], 'tooLong', { says: /fewer max_tokens|can only afford \d/i }),

  // One request larger than the limit. Groq says it with 413, OpenAI with 429, GitHub Models in other words.
  on([413, 429], 'tooLarge', { fact: 'names-largest-request' }),
  on([413], 'tooLarge', { code: /rate_?limit|tokens_limit/i, says: /rate limit|tokens per min/i }),

  // Credit. 1113 is Zhipu's, 30001 SiliconFlow's, exceeded_current_quota_error Moonshot's.
  on([400, 403, 429], 'unpaid', {
    code: /^(insufficient_(user_)?(quota|balance|credits?)|billing_\w+|exceeded_current_quota_error|1113|30001)$/i,
    says: /^((sorry, )?(your |the )?((account|credit) )?balance is (insufficient|too low)|your credit balance|insufficient (balance|credits?|funds)|key limit exceeded)/i,
  }),
  on([402], 'unpaid'),

  // The key. Gemini and xAI say it with 400.
  on([401], 'noKey'),
  on([400], 'noKey', { code: /^(API_KEY_INVALID|invalid_api_key|authentication_error)$/i }),
  on([400], 'noKey', {
    says: /^(api key (not valid|expired|not found)|(incorrect|invalid) api key|user location is not supported)/i,
  }),
  on([403], 'unpaid', { code: accountCode, says: accountWords }),
  on([403], 'limited', { code: rateCode, says: rateWords }),
  on([403], 'overloaded', { code: /overload|capacity|unavailable/i }),
  on([403], 'refusedBody', { code: contentWords, says: contentWords }),
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
  on([404], 'refusedBody', { says: /^no endpoints found that (can |support)/i }),
  on([404], 'noModel', { code: /model/i, says: /\bmodels?\b(?!s?\/)|^function .{0,80}not found/i }),
  on([404, 405, 501], 'noEndpoint'),
  on([410], 'goneModel'),

  // NVIDIA's function is out of order, whatever was asked of it.
  on([400], 'failedUndone', { says: /^(function id .{0,100})?degraded function cannot be invoked/i }),

  // Too long for this one, in any words. 1261 Zhipu, 3051 Mistral, 1039 MiniMax.
  on([...bad, 403, 406, 409], 'tooLong', {
    code: /^(context_length_exceeded|string_above_max_length|exceed_context_size_error|(prompt|input|request|context)_?too_?(long|large)|max_tokens_exceeded|1261|3051|1039)$/i,
    says: tooLongWords,
  }),
  on([...bad, 403, 406, 409], 'tooLong', { says: outputWords }),

  // A page of a proxy, or nothing.
  on([400, 413, 415, 422], 'pageOrNothing', { fact: 'no-words' }),

  // The account, the rate, the vendor's own trouble, under whatever status.
  on(anyRefusal, 'unpaid', { code: accountCode, says: accountWords }),
  on(anyRefusal, 'limited', { code: rateCode, says: rateWords }),
  on(anyRefusal, 'overloaded', { code: capacityCode, says: capacityWords }),
  // 1301 Zhipu, 1026 and 1027 MiniMax.
  on(anyRefusal, 'refusedBody', { code: contentWords, says: contentWords }),
  on(anyRefusal, 'refusedBody', { code: /^(1301|102[67])$/ }),
  on(bad, 'refusedBody'),

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

/** A status without a row: 4xx is this upstream's own refusal, 5xx unknown trouble, and no other one is an answer. */
export function verdictByRange(status: number): VerdictName {
  if (status >= 400 && status <= 499) return 'oddRefusal'
  return status >= 500 && status <= 599 ? 'failed' : 'badAnswer'
}

/** The HTTP status that an error inside a 200 would have had, by its code or its type; the first row decides. */
export const statusOfCode: readonly (readonly [code: RegExp, status: number])[] = [
  [/insufficient|payment|billing|arrear|balance/i, 402],
  [/rate_?limit|too_?many|throttl|exhausted|quota|queue_exceeded/i, 429],
  // Zhipu, Cloudflare, MiniMax, Baidu.
  [/^(130[2-9]|131\d|132[01]|4006|3036|3040|1002|1008|2045|2056|4|17|18|19|336501|336502)$/, 429],
  [/^(1004|2049)$/, 401],
  [/context_length|too_?(long|large)|unsupported|unknown_parameter|content_?filter|encrypted_content/i, 400],
  [
    /invalid_(request|prompt|argument|parameter|value)|bad_?request|moderation|^(1026|1027|1039|1261|1301|2013|3051)$/i,
    400,
  ],
  [/api_?key|authenticat|unauthorized/i, 401],
  [/permission|forbidden/i, 403],
  [/not_?found/i, 404],
  [/overloaded|unavailable|capacity|\bbusy\b/i, 503],
]

/** The same by its words, for those that have no other. */
export const statusOfWords: readonly (readonly [words: RegExp, status: number])[] = [
  [/fewer max_tokens|can only afford/i, 402],
  [tooLongWords, 400],
  [outputWords, 400],
  [/insufficient (balance|credits?|funds|quota)|余额不足|欠费/i, 402],
  [/rate.?limit|too many requests|quota|throttl|\b(qps|rpm|tpm|rpd)\b|too frequent|频繁|限流/i, 429],
  [/overload|unavailable|\bbusy\b|at capacity|try again later|no route matched|繁忙|过载/i, 503],
  [/(invalid|incorrect|missing) (api )?key|unauthorized|authenticat/i, 401],
  [contentWords, 400],
]

/** What a kind of failure means, before the numbers of the single answer are added. */
export interface Verdict extends Pick<
  Failure,
  'class' | 'scope' | 'cause' | 'code' | 'isForClient' | 'lesson'
> {
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
const ofTheRequest: Verdict = { ...failed, class: 'refused-body', scope: 'none', isForClient: true }

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
  noEndpoint: { ...goneModel, scope: 'endpoint', code: 'unsupported_endpoint' },
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
  /** A limit of this model: others may have a wider one. */
  tooLong: { ...ofTheRequest, class: 'too-long' },
  /** One vendor's opinion of a body that is sound. */
  refusedBody: ofTheRequest,
  /** A 4xx that says nothing of the request: not here, or not now. */
  oddRefusal: { ...failed, class: 'refused', isForClient: true },
  pageOrNothing: { ...failed, class: 'refused', scope: 'none', isForClient: true },
  otherAccounts: { ...failed, class: 'refused', scope: 'none', isForClient: true },
  /** A 200 without a word in it, or as JSON where a stream was asked, or the other way round. */
  empty: { ...failed, class: 'unfit', scope: 'none', code: 'upstream_bad_response' },
  otherForm: {
    ...failed,
    class: 'unfit',
    scope: 'none',
    code: 'upstream_bad_response',
    lesson: { about: 'stream' },
  },
} as const satisfies Record<string, Verdict>

export type VerdictName = keyof typeof verdicts
