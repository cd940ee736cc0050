import type { Failure } from '../pool/outcome.ts'

/** What only the numbers of an answer tell; see `classify.ts`. */
export type Fact = 'names-largest-request' | 'long-window-spent' | 'bare-problem' | 'no-words'

/** What else than its status may tell of an answer. */
export interface Signs {
  /** The error's code or its type, as a whole. */
  readonly code?: RegExp
  /** The same, word by word: `CreditsExhausted` is `credits exhausted`. */
  readonly spelt?: RegExp
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

/** One pattern out of several, which are tried in turn. Everything in them is bounded: bodies are hostile. */
const anyOf = (...patterns: readonly RegExp[]): RegExp =>
  new RegExp(patterns.map(({ source }) => source).join('|'), 'i')

/** A code as words in lower case: those of `quota_not_enough`, `RequestBurstTooFast`, `Throttling.RateQuota`. */
export const speltOut = (code: string): string =>
  code
    .replaceAll(/([a-z\d])(?=[A-Z])|([A-Z])(?=[A-Z][a-z])/g, '$1$2 ')
    .replaceAll(/[^\p{L}\d]+/gu, ' ')
    .toLowerCase()

/**
 * What gateways put in front of a vendor's words: `Error: `, `litellm.RateLimitError: `, `<429> `, `[req-1] `,
 * `Error code: 400 - `, AWS's name of what was called. Behind `ValueError: ` and its kind stands what the client sent.
 */
export const lead =
  /^(?:(?:<\d{3}>|\[[^\]'"`\n]{1,64}\]|error code: \d{3} ?[:-]|\d{3} status code:|an error occurred \(\w{1,60}\) when calling the \w{1,60} operation:) ?|(?![\w. ]{0,30}(?:valid|value|keyerr|type|pars|templ|syntax|schema))[\w. ]{0,40}(?:error|exception)\b ?[:-]{1,2} ?){0,3}/
/**
 * Words with which a message begins. Only such words may make something rest: further in, and in quotes, a vendor
 * repeats what the client sent, who could otherwise talk an upstream out of the pool.
 */
const begins = (...patterns: readonly RegExp[]): RegExp =>
  new RegExp(`${lead.source}(?:${anyOf(...patterns).source})`, 'i')

const bad = [400, 413, 415, 422]
const busy = [503, 529]
/** Statuses by which a vendor may mean anything. */
const anyRefusal = Array.from({ length: 100 }, (_, at) => 400 + at).filter(
  (status) => ![401, 402, 404, 405, 408, 410, 429].includes(status),
)
/** Gateways and own servers that know no other status for an error of theirs or of others. */
const broken = [500, 502]
const concurrencyCode = /^(queue_exceeded|\w*concurren\w*|engine_overloaded_error)$/i
const concurrencyWords =
  /concurren|\bqueued?\b|pending requests|\bparallel\b|simultaneous|\bin[- ]?flight\b|并发|排队|並列|同時/i

/** The whole of a plain text in which a proxy repeats its status: no word about the request. */
export const statusPhrase =
  /^(http\/1\.1 )?(\d{3}:? ?)?(bad request|(request entity|payload|content) too large|unsupported media type|unprocessable (entity|content)|error code: \d{3,4})?[.!]?$/i

/**
 * The same in other languages: what is measured and that it is too much, near each other, but where it is so much a
 * minute.
 */
const measured = String.raw`(?:context[eo]|contesto|kontext|контекст|コンテキスト|컨텍스트|\btokens?\b|токен|トークン|토큰|\bprompt)`
const surpassed = String.raw`(?:dépass|excède|excede|super[ai]|überschr|превы|超え|超過|초과)`
const foreignLength = new RegExp(
  String.raw`(?:${measured}[^]{0,60}${surpassed}|${surpassed}[^]{0,60}${measured})(?![^]*(?:minut|минут|分|분))`,
)

/** A limit of the input, or of input and output together, in any words. */
const tooLongWords = anyOf(
  /context[ _-]?(length|window|size|limit|overflow)|max(imum)? context\b|max(imum)? (number of )?(allowed tokens|token limit)/,
  /max(imum)? (allowed |total )?(context|prompt|input|sequence|model|message) ?(length|size|tokens?|characters|len|limit)/,
  /max_(model_|seq_|input_)?len|max_num_tokens|\bn_ctx\b|exceeds? .{0,20}model'?s? (\w+ )?limit|exceed\w{0,4} .{0,20}character limit/,
  /\b(prompt|inputs?|request|messages?|conversation|history|text|context)\b(?!.{0,40}\b(image|audio|video|file|array|string|name|url)).{0,40}\btoo (long|large|big|many tokens)/,
  /too many (input |prompt |total )?tokens/,
  /range of (input|prompt).{0,20}(should|must)/,
  /\b(token count|tokens?|(?<!number of )inputs?|prompt|sequence)\b(?!.{0,40}\b(image|audio|video|file)).{0,80}(exceed|only supports? up to|must have less|longer than|(greater|more) than (the )?(max|limit|allowed)|more than the \d|limit exceeded: \d+ > \d)/,
  /(\btokens?|_tokens?|length)\b.{0,80}(<=|≤|must be less)/,
  /exceed(?!.{0,60}(quota|\brate\b|per (second|min|hour|day))).{0,40}(context|token|max(imum)? length|max_)/,
  /reduce (the length|your (prompt|input)|the (number of )?(tokens|messages))/,
  /max(imum)? length of (the )?(input|prompt|context|message)/,
  /\b(message|prompt|context|input|conversation|content|text)s?[ _](size|length)(?![a-z]).{0,30}exceed|max_(total|input|prompt)_tokens (is |was )?exceeded/,
  foreignLength,
  /上下文|超长|太长|(输入|提示|文本|内容|长度|tokens?).{0,12}(过长|超出|超过|超限)|(超出|超过).{0,16}(长度|字数|tokens?)/,
)
/** A limit of the output. A floor (`at least 1`) is none. */
const outputWords = anyOf(
  /(max_?(completion|new|output)?_?tokens|(completion|output) (tokens|length)|max_output|n(um)?_predict).{0,100}(too (large|high|big|many)|at most|less than|no more than|not (be )?(exceed|greater|larger|more)|cannot be|can't exceed|exceed|maximum|<=|≤|should be in|\[\d|\bbetween|range|(?<!rate )limit (for|is|of)|超|过大)/,
  /range of max_\w*tokens|supports at most \d+ (completion|output)/,
)
/** A vendor counts the longest answer that it is paid for (OpenRouter); one of nothing is no offer. */
const affordableWords =
  /can only afford [1-9]|fewer max_tokens(?!.{0,200}can only afford 0\b)|tokens limit exceeded: \d+ > \d/i
/** Input and output together, whatever else is said. */
const bothWords =
  /context[ _-]?(length|window|size|limit)\b(?! for)\W{0,3}(of|is|:|=|\(|exceed)|exceed\w{0,3} .{0,30}context|tokens?`?\W{0,3}\+|input.{0,20}(length|tokens?) and|\binputs?\b.{0,20}\band\b.{0,20}(output|completion)/i

const tooLongCode =
  /^(context_?(length|window)\w*exceeded\w*|exceed_context_size_error|out_?of_?context\w*|(prompt|input|request|context|tokens?|messages?)_?(is_)?too_?(long|large)|max_?tokens_exceeded|token_?limit_?exceeded|content_length_exceed\w*)$/i
/** A body of so many bytes, which is no matter of tokens. */
const bodyWords = /^(?![^]*token)[^]*\b(body|entity|payload|bytes)\b/i

/** What was asked is refused for what it says, by whoever filters it: of a code, and of words. */
const contentCode =
  /moderat|flagged|safety|content_?(filter|policy|risk|management|blocked)|policy_?violation|data_?inspection|sensitive|censor|(prompt|content)_?blocked|harmful|guardrail|jailbreak/i
const contentWords = anyOf(
  /moderation|flagged|\bsafety\b|content[ _-]?(management|policy|filter|risk|exists risk)|usage polic|policy violation|violat\w{0,5} .{0,40}(polic|guideline|terms)/,
  /data_?inspection|inappropriate|(?<!case.)sensitive (content|information|words?|data)|may contain sensitive|unsafe|harmful|high risk|prohibited content|censor|\bnsfw\b|guardrail|jailbreak|prompt injection|content (is |was )?not allowed/,
  /(prompt|content|input|output|response)s? .{0,30}\bblocked/,
  /acceptable use|disallowed content|\b(sexual|violent|hateful|explicit) content|hate speech|self[- ]harm|\bPII\b|content .{0,60}\bblocked/,
  /敏感|违规|不合规|审核|不安全|违法|违反.{0,10}法|ポリシー|不適切/,
)
/** Credit, rate, capacity: of a code or a type anywhere, of words only where they begin the message. */
const accountCode =
  /arrear|insufficient_?(user_|account_)?(quota|balance|credit|fund)|(?<!load_?)balance|billing|payment|\bcredits?\b|quota_?exceed|exceeded_?(current_)?quota|(user|token)_?quota|spend(ing)?_?limit|budget_?exceed|exceeded_?budget|suspend|deactivat|overdue|freetier|pack_?exhausted|invalid_?subscription|account_?(disabled|closed|blocked|frozen|locked)/i
/** Money, in the words of a code, and a plan that it buys. */
const money = String.raw`credits?|(?<!load )balance|wallet|billing|(?:pre)?payment|funds|subscription`
const gone = String.raw`exhausted|expired?|empty|reached|exceeded|insufficient|depleted|required|inactive|overdue|low|ended|failed|out|not enough|used up`
const lacking = (what: string): RegExp =>
  new RegExp(
    String.raw`\b(?:${what}) (?:\w+ )?(?:${gone})\b|\b(?:no|not enough|out of|over|low|insufficient|exceeded) (?:\w+ )?(?:${what})\b`,
  )
const moneySpelt = lacking(money)
const accountSpelt = lacking(`${money}|quota|plan|trial`)
const depletedWords = /(your )?(prepa(id|yment) )?credits? (balance )?(is |are |have been )?depleted/
const accountWords = begins(
  depletedWords,
  /you (have |'ve )?(reached|exceeded|hit) your specified (api )?usage limits?/,
  /access denied, ple\w{2,6} make sure your account/,
  /(your |the |this |api key'?s? )?(account|team|workspace|organi[sz]ation)\b[^'"`]{0,80}(suspend|arrear|overdue|disabled|deactivat|insufficient|balance|(not |in)active|frozen|locked|past due|credits?\b|exhausted|subscription|spending limit)/,
  /(sorry, )?(your |the |user'?s? )?((account|credit|user|token) )?(balance|credits?|quota|credit limit) (is |are )?(insufficient|too low|not enough|exhausted|used up)/,
  /your (account|credit) balance/,
  /(insufficient|not enough) (account |user |credit |token )?(balance|credits?|funds|quota)/,
  /(you (have |'ve |do not have |don't have )?)?(run out of|out of|no|exhausted|used up|exceeded|enough|insufficient) (more |your |the |available |current |monthly |included ){0,3}(credits?|balance|quota)\b/,
  /(your |the )?free[ -](tier|trial|quota|credits?)[^'"`]{0,60}(exhausted|expired|used up|ended|exceeded)/,
  /key limit exceeded|payment required|billing hard limit|(your )?(monthly |total )?(spend(ing)?|budget) (hard )?(limit|cap)|(exceeded ?budget|budget has been exceeded)/,
  /[^'"`“「:：]{0,16}(余额.{0,4}(不足|用完|用尽|耗尽)|欠费|(额度|配额|资源包).{0,8}(不足|用尽|用完|耗尽|失败)|账户.{0,6}(冻结|停用))/,
)
const rateCode =
  /rate_?_?limit|throttl|too_?many_?req|(?<![\w.])(frequency|request_frequency)\w*(limit|exceed)|\bqps\b|[rt]p[md]_?(limit|exceed)|(^|\.|\b|request|rate|server|set|usage|concurrency)_?limit_?(exceeded|reached)|(request|token)s?_?limit_?reached|limit_?requests|limit_?burst/i
const rateSpelt = /\b(burst|throttled|hourly|daily|[rt]p[md]|resources? exhausted|(requests?|rate) limit)\b/
const rateWords = begins(
  /(maximum )?(number of )?concurrent (requests?|connections)\b[^'"`]{0,20}(exceed|reach)/,
  /detected high.frequency|(api |request )?rate.?limit|(your )?requests? (rate|frequency|throttl|was rejected due to rate)|too many (concurrent )?requests|throttl/,
  /(requests?|calls?) (are )?(being sent )?too (frequent|fast|many)|allocated quota exceeded/,
  /(you have |you've |you )?(exceeded|reached|hit) (the|your) (current |api )?(rate|request|usage|hourly|daily|minute|concurren)|slow down|concurren\w{1,6} (request |call )?limit/,
  /(\w{1,20} )?(quota|usage limit) (has been |is |was )?(exceeded|reached)/,
  /(open api )?[^'"`]{0,8}\b(qps|qpm|tpm|rpm|daily|concurrency)\b[^'"`]{0,30}(limit|exceed|reach)/,
  /[^'"`“「:：]{0,16}(过于频繁|频率|限流|请求过多|并发|(qps|rpm|tpm).{0,6}(超|上限))/,
)
const capacityCode =
  /overload|capacity|unavailable|\bbusy\b|engine_|upstream|no_available|get_channel_failed|(internal|server)_?(server_?)?error(?!\.[\w.]{0,40}(invalid|inspection))|provider_?error|bad_?gateway|bad_response|timeout|timed_?out|model_?loading/i
const capacitySpelt =
  /\b(not ready|internal (server )?exception|do request failed|no available|oom|warming|cold start)\b|^channel\b/
const capacityWords = begins(
  /do request failed|cuda (error|out of memory)|(the |this )?(service|server|system|model) is (currently )?(under|in|down for) maintenance/,
  /(the |this |our )?(upstream|provider|engine|server|service|system|backend|cluster|model)\b[^'"`]{0,60}(overload|busy|unavailable|capacity|\bloading|try again|no healthy)/,
  /(temporarily )?overloaded|internal (server )?error\b(?!\.[\w.]{0,40}(invalid|inspection))|server error|service (temporarily )?unavailable|[^'"`]{0,20}\bcapacity (temporarily )?exceeded/,
  /(bad )?gateway\b.{0,5}(time|$)|bad gateway|(request )?(timed out|timeout)\b|upstream (connect|request|service|server|unavailable|timed|timeout)|no (available|healthy|capacity)\b/,
  /[^'"`“「:：]{0,30}(繁忙|过载|饱和|负载.{0,8}(上限|过高)|无可用渠道|系统(错误|异常)|服务(不可用|异常))/,
)
const wrongKeyWords = begins(
  /api.key (not valid|expired|not found|is invalid)|(incorrect|invalid|missing|no) (api.?key|authentication|token( provided)?\.?$)|unauthori[sz]ed|authentication (fail|error)|access token (invalid|expired)/,
)
const noModelWords = begins(
  /(the )?(requested |provided )?model\b.{0,200}(not exist|not found|decommissioned|deprecated|not supported by any|does not support the coding plan)/,
  /(the )?(requested )?model:? ?['"`]?[\w./:@-]{0,100}['"`]? is (currently )?not (available|supported|enabled)( in your| here|\.|,|$)/,
  /(invalid|unknown|unsupported|no such) model\b|unable to access model|no endpoints found for/,
)

/** That the model takes no tools, images and the like: of it and not of an endpoint, whatever the status says. */
const lackWords =
  /n[o']t support (?:the )?(?:use of )?(?:tools?\b|function.call|images? inputs?|vision\b|multi-?modal|audio inputs?|response_format|json (?:mode|schema)|structured outputs?)|\b(?:tools?|tool (?:use|calls?|calling)|function calling|(?:image|audio|vision|multi-?modal) inputs?|json mode|structured outputs?) (?:is |are )?not (?:supported|implemented|enabled)|不支持.{0,6}(?:工具|函数调用)/i

/**
 * The first row that fits decides. Status codes without a row fall to `verdictByRange`.
 *
 * Whose words choose between classes that rest nobody may stand anywhere in a message, those that make something rest
 * only at its beginning; a code and a type are the vendor's own.
 */
export const failureRules = [
  // A page of a proxy, or nothing.
  on(bad, 'pageOrNothing', { fact: 'no-words' }),
  // Something that another account made and keeps: who made it can read it.
  on([400, 403, 404, 409, 422], 'otherAccounts', {
    code: /^(invalid_encrypted_content|(previous_)?(response|conversation|file|prompt|item|container)_not_found)$/i,
    says: /encrypted[_ ]content.{0,120}(could not|cannot|can't|fail|invalid|verif|decrypt)|invalid .{0,20}encrypted|(invalid|bad) .{0,4}signature.{0,4} in .{0,4}thinking|\b(resp|conv|file|vs|pmpt|batch|rs|msg|item|cntr)[_-]\w{4,}\W.{0,40}not found/i,
  }),
  // Credit for a shorter answer is there (OpenRouter).
  on([402, 403, 429], 'tooLong', { says: affordableWords }),

  // One request larger than the limit. Groq says it with 413, OpenAI with 429, GitHub Models in other words.
  on([429], 'tooLarge', { fact: 'names-largest-request' }),
  on([413], 'tooLarge', {
    code: /rate_?limit|tokens_limit/i,
    says: begins(/rate.?limit|request too large.{0,200}(per min|\bTPM\b)/),
  }),
  on([413], 'refusedBody', { says: bodyWords }),

  // Credit. 1113 is Zhipu's, 30001 SiliconFlow's, 1008 MiniMax's.
  on([429], 'unpaid', {
    code: /^(insufficient_(user_)?(quota|balance|credits?)\w*|billing_\w+|budget_exceeded|exceeded_current_quota_error|1113|30001|1008)$/i,
    spelt: moneySpelt,
    says: begins(
      depletedWords,
      /(sorry, )?(your |the )?((account|credit) )?balance is (insufficient|too low)|your credit balance|insufficient (balance|credits?|funds)|key limit exceeded/,
    ),
  }),
  on([402], 'unpaid'),

  // The key. Gemini and xAI say it with 400.
  on([401], 'noKey'),
  on([400], 'noKey', {
    code: /^(API_KEY_INVALID|invalid_?api_?key|authentication_error)$/i,
    says: wrongKeyWords,
  }),
  on([400], 'noKey', { says: begins(/user location is not supported/) }),

  // The model: its name comes from the configuration, so that it is never the client's fault.
  // 1211 Zhipu, 1500 Mistral, 5007 and 3042 Cloudflare, 20012 SiliconFlow.
  on([400, 422], 'noModel', {
    code: /^(model_?(not_?found|not_supported|decommissioned|not_exist|not_?open)|invalid_model|(unknown|unavailable)_model|1211|1500|3042|5007|20012)$/i,
    says: noModelWords,
  }),
  on([400], 'noModel', { says: /^[\w./:@-]{1,200} is not a valid model ID$/i }),
  // OpenRouter has the model, and nobody who serves it with what the request asks for.
  on([404], 'refusedBody', { says: /^no endpoints found that (can |support)/i }),
  on([404, 405, 501], 'refusedBody', { says: lackWords }),
  on([404], 'noModel', {
    code: /model|deployment/i,
    says: /\bmodels?\b(?!s?\/)|^function .{0,80}not found|^no endpoints found for/i,
  }),
  on([404, 405, 501], 'noEndpoint'),
  on([410], 'goneModel'),

  // NVIDIA's function is out of order, whatever was asked of it.
  on([400], 'failedUndone', { says: /^(function id .{0,100})?degraded function cannot be invoked/i }),

  // A content filter by its code. 1301 Zhipu, 1026 and 1027 MiniMax, 10013, 10014 and 10019 Spark.
  on(anyRefusal, 'refusedBody', { code: contentCode }),
  on(anyRefusal, 'refusedBody', { code: /^(1301|102[67]|1001[349])$/ }),
  // Too long for this one by its code. 1261 Zhipu, 3051 Mistral, 1039 MiniMax, 10907 Spark, 336007 and 336103 Baidu.
  on([...anyRefusal, ...broken], 'tooLong', { code: tooLongCode }),
  on([...anyRefusal, ...broken], 'tooLong', { code: /^(1261|3051|1039|10907|336007|336103)$/ }),
  // The account and the rate, under whatever status; 1008 is MiniMax's balance, 1302 and 1303 Zhipu's concurrency.
  on([...anyRefusal, ...broken, 503], 'unpaid', {
    code: accountCode,
    spelt: accountSpelt,
    says: accountWords,
  }),
  on(anyRefusal, 'limited', { code: rateCode, spelt: rateSpelt, says: rateWords }),
  // Too long in any words, also those of servers that answer 500.
  on([...anyRefusal, ...broken], 'tooLong', { says: tooLongWords }),
  on([...anyRefusal, ...broken], 'tooLong', { says: outputWords }),
  // The vendor's own trouble, and a filter by its words.
  on(anyRefusal, 'refusedBody', { says: lackWords }),
  on(anyRefusal, 'overloaded', { code: capacityCode, spelt: capacitySpelt, says: capacityWords }),
  on(anyRefusal, 'refusedBody', { says: contentWords }),
  // The vendor's API failed, in a type that some servers give to every refusal: nobody rests for it.
  on(bad, 'pageOrNothing', { spelt: /^api error$/ }),
  on([403], 'noEntry'),
  on(bad, 'refusedBody'),

  // Too many at once. 1302 and 1303 are Zhipu's account; GitHub's word is UserConcurrentRequests.
  on([429], 'accountConcurrencyLimited', { code: /^130[23]$/ }),
  on([429], 'concurrencyLimited', { limitType: /Concurrent/ }),
  on([429], 'concurrencyLimited', { code: concurrencyCode, says: concurrencyWords }),
  on(busy, 'concurrencyOverloaded', { code: concurrencyCode, says: concurrencyWords }),

  // A day, a week, a month. 4006 and 3036 are Cloudflare's neurons, 1304…1321 Zhipu's plans, 17 is Baidu's day.
  on([429], 'pacificDayIsSpent', { spent: /PerDay/ }),
  on([429], 'utcDayIsSpent', { code: /^(4006|3036)$/, says: /daily free allocation/i }),
  on([429], 'dayIsSpent', { code: /^(13(04|08|10|1[6-9]|2[01])|17|11201)$/ }),
  on([429], 'modelsDayIsSpent', { limitType: /ByModelByDay/ }),
  on([429], 'keysDayIsSpent', { limitType: /ByDay/ }),
  on([429], 'modelsDayIsSpent', { says: /ByModelByDay/ }),
  on([429], 'keysDayIsSpent', { says: /ByDay|trial key.{0,60}month/i }),
  on([429], 'accountLimited', { says: /free-models-per-min/ }),
  on([429], 'dayIsSpent', {
    says: /per[ -]day\b|\/ ?day\b|\b24[ -]?h(ours?)?\b|今日|当日|当天|本日|每[日天]|일일|\bdaily\b|\b[RT]PD\b|per 86400s|\bweekly\b|\bmonthly\b|(per|\/) month\b|usage limit/i,
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

/** The HTTP status that an error inside a success would have had, by its code or its type; the first row decides. */
export const statusOfCode: readonly (readonly [code: RegExp, status: number])[] = [
  [/api_?key|authenticat|unauthorized|auth_?fail|un_?auth|access_token/i, 401],
  [tooLongCode, 400],
  [contentCode, 400],
  [moneySpelt, 402],
  [/insufficient|payment|billing|arrear|(?<!load_?)balance|overdue|pack_?exhausted/i, 402],
  [
    /rate_?limit|too_?many|throttl|exhausted|quota|queue_exceeded|limit_?(exceeded|reached|requests|burst)|concurren/i,
    429,
  ],
  [
    /^(unsupported|unknown_(parameter|field|argument))|image|encrypted_content|^validation|^(value|type)_error|^(missing|extra_forbidden|literal_error)$|^(string|int|float|bool|list|dict)_(type|parsing)$/i,
    400,
  ],
  [/not_?found|model_not_open/i, 404],
  [/invalid_(?!model)|invalid(parameter|argument|request)|bad_?request|missing_?param|unprocessable/i, 400],
  [/permission|forbidden|access_?denied/i, 403],
  [/overload|unavailable|capacity|\bbusy\b|engine_?request/i, 503],
  // MiniMax: 1008 balance, 1002 and 1041 rate, 2045 and 2056 quota, 1004 and 2049 key. Zhipu 1113, SiliconFlow 30001.
  [/^(1008|1113|30001)$/, 402],
  [/^(1002|1041|2045|2056|130[02-9]|131\d|132[01]|3505)$/, 429],
  [/^(1004|2049)$/, 401],
  // Filters, what is too long, what is wrong: MiniMax, Zhipu, Mistral, Spark, Baidu, Cloudflare.
  [
    /^(102[67]|1039|2013|121[0345]|1261|1301|3051|1001[349]|10163|10907|33600[1-7]|336103|500[456]|5021)$/,
    400,
  ],
  [/^(1211|1500|3042|5007|20012)$/, 404],
  // Cloudflare's neurons and capacity; Baidu's cluster, day, second, total and minutes; Spark's day, second, concurrency.
  [/^(4006|3036|3040|4|17|18|19|33650[12]|11201|11202|11203)$/, 429],
  // Baidu and Spark: the key, the right to the service, the service itself.
  [/^(13|14|100|110|111|1000[01]|10016)$/, 401],
  [/^(6|11200|10015)$/, 403],
  [/^(2|336100|100(08|10)|10110)$/, 503],
]

/** The same by its words, for those that have no other. What makes something rest stands at the beginning, as above. */
export const statusOfWords: readonly (readonly [words: RegExp, status: number])[] = [
  [affordableWords, 402],
  [accountWords, 402],
  [rateWords, 429],
  [wrongKeyWords, 401],
  [noModelWords, 404],
  [tooLongWords, 400],
  [outputWords, 400],
  [begins(/(internal|unknown|unexpected) (server )?error|(the )?server (had an )?error/), 500],
  [capacityWords, 503],
  [contentWords, 400],
  [
    begins(/invalid|missing|bad request|unknown (field|parameter)|input validation|failed to deserialize/),
    400,
  ],
  [/(not|n't) (be )?support|unsupported|not implemented|不支持|only supported by/i, 400],
]

/** Whether a limit that a refusal names is that of the output alone. */
export const isAboutOutput = (message: string): boolean =>
  outputWords.test(message) && !bothWords.test(message)

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
  proxy: { ...failed, class: 'not-sent', scope: 'proxy', code: 'upstream_unavailable' },
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
