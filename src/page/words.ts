import type { LimitStatus } from '../telemetry/status.ts'
import { amountText } from './format.ts'

/* What the page says, in English and in Chinese. `{name}` is filled in. */

/** As `<html lang>` has it. */
export type Lang = 'en' | 'zh-CN'

/** Each with its English and its Chinese. */
export const WORDS = {
  // Signing in, and what stands on every view.
  token: ['Token', '令牌'],
  signIn: ['Sign in', '登录'],
  signInHint: [
    'The token of your clients: aiload token --show prints it. It stays in this tab.',
    '就是客户端用的令牌：aiload token --show 会显示它。令牌只保存在这个标签页里。',
  ],
  signingIn: ['Asking…', '正在验证…'],
  tokenWrong: ['This token is wrong.', '令牌不对。'],
  tokenNoAdmin: [
    'This token is for requests only. The page wants one with "admin": true.',
    '这个令牌只能发请求。管理页面需要带 "admin": true 的令牌。',
  ],
  signOut: ['Sign out', '退出'],
  views: ['Views', '页面'],
  overview: ['Overview', '概览'],
  requests: ['Requests', '请求'],
  playground: ['Playground', '试一试'],
  configuration: ['Configuration', '配置'],
  tokens: ['Tokens', '令牌'],
  language: ['中文', 'English'],
  languageLabel: ['Show this page in Chinese', '用英文显示本页'],
  themeAuto: ['Theme: as the system', '主题：跟随系统'],
  themeLight: ['Theme: light', '主题：浅色'],
  themeDark: ['Theme: dark', '主题：深色'],
  live: ['live', '实时'],
  polling: ['every few seconds', '每几秒更新'],
  paused: ['resting, this tab is hidden', '标签页不可见，已暂停更新'],
  offline: ['no connection, trying again', '连接已断开，正在重试'],
  connecting: ['connecting', '正在连接'],
  skip: ['To the content', '跳到正文'],
  loading: ['Loading…', '正在加载…'],
  failed: ['The gateway answers {status}.', '网关返回 {status}。'],
  unreachable: ['The gateway cannot be reached.', '无法连接网关。'],
  up: ['up {span}', '已运行 {span}'],

  // The overview.
  canAnswer: ['Requests can be answered now', '现在可以处理请求'],
  cannotAnswer: ['No request can be answered now', '现在无法处理请求'],
  draining: [
    'Stopping: open answers finish, new requests are refused',
    '正在停止：已有的回答会完成，新请求会被拒绝',
  ],
  upstreamsAvailable: ['{free} of {all} upstreams available', '{all} 个上游中 {free} 个可用'],
  waiting: ['{count} waiting', '{count} 个排队'],
  lastHour: ['Requests, last hour', '最近一小时请求'],
  answered: ['Answered', '成功率'],
  firstWord: ['First word, median', '首字时间（中位数）'],
  firstWordSlow: ['First word, p95', '首字时间（p95）'],
  needsYou: ['Needs you', '需要处理'],
  need_key_refused: [
    'the key of {names} is refused; write another one into the configuration',
    '{names} 的密钥被拒绝：请在配置里换一个有效的密钥',
  ],
  need_not_found: [
    'the model or the endpoint of {names} was not found; correct it in the configuration',
    '找不到 {names} 的模型或接口：请在配置里更正',
  ],
  need_no_credits: [
    'the account of {names} has no credit left',
    '{names} 的账户余额不足：充值后手动结束冷却',
  ],
  need_reload_refused: [
    'the changed configuration is refused; the last good one is in use',
    '改动后的配置被拒绝，仍在使用上一份有效的配置',
  ],
  need_config_warning: ['the configuration has a warning: {text}', '配置警告：{text}'],
  need_state_not_kept: ['the state is not kept: {text}', '状态无法保存：{text}'],
  since: ['since {time}', '自 {time} 起'],
  seeConfiguration: ['See the configuration', '查看配置'],
  upstreams: ['Upstreams', '上游'],
  noUpstreams: ['No upstream yet.', '还没有上游。'],
  keyAt: ['key {position}', '密钥 {position}'],
  works: ['works', '正常'],
  untried: ['not asked yet', '还没有请求过'],
  disabled: ['switched off in the configuration', '已在配置中停用'],
  pausedByYou: ['paused', '已暂停'],
  untilTime: ['{why}, until {time} ({span})', '{why}，{time} 恢复（还有 {span}）'],
  sharedCause: ['{why} (all with {scope})', '{why}（{scope}相同的都受影响）'],
  scope_key: ['its key', '密钥'],
  scope_origin: ['its host', '主机'],
  scope_proxy: ['its proxy', '代理'],
  noLimits: ['no limit known', '没有已知限额'],
  limit_requests: ['requests', '请求'],
  limit_tokens: ['tokens', 'token'],
  limit_input_tokens: ['input tokens', '输入 token'],
  limit_output_tokens: ['output tokens', '输出 token'],
  window_second: ['second', '秒'],
  window_minute: ['minute', '分钟'],
  window_hour: ['hour', '小时'],
  window_day: ['day', '天'],
  window_month: ['month', '月'],
  perWindow: ['{counts} / {window}', '{counts} / {window}'],
  atOnce: ['requests at once', '同时请求'],
  usedOf: ['{used} used, {left} of {limit} left', '已用 {used}，剩 {left}/{limit}'],
  onlyLeft: ['{left} left', '剩 {left}'],
  source_configured: ['configured', '配置'],
  source_preset: ['preset', '预设'],
  source_learned: ['told by headers', '响应头告知'],
  source_refused: ['told by a refusal', '拒绝时得知'],
  source_cooldown: ['cools down', '冷却中'],
  source_paused: ['paused by hand', '手动暂停'],
  source_request: ['by the request', '由请求决定'],
  source_queue: ['the queue', '排队'],
  source_presumed: ['presumed', '推测'],
  source_pinned: ['bound to one', '绑定上游'],
  source_token: ['the token', '令牌'],
  runsOut: ['runs out at {time}', '按此速度 {time} 用完'],
  reopens: ['one more at {time}', '{time} 可再发'],
  resets: ['whole again at {time}', '{time} 复原'],
  inFlight: ['in flight', '进行中'],
  firstByteOf: ['first byte: median {p50}, p95 {p95}', '首字节：中位数 {p50}，p95 {p95}'],
  lastOutcomes: [
    'Last {count} attempts, the newest at the end: {good} answered, {bad} failed',
    '最近 {count} 次，最新的在末尾：{good} 次成功，{bad} 次失败',
  ],
  noOutcomes: ['No attempt yet', '还没有请求'],
  lastError: ['Last error at {time}: {text}', '最近一次错误（{time}）：{text}'],
  pause: ['Pause', '暂停'],
  resume: ['Resume', '恢复'],
  forget: ['Forget cooldown', '结束冷却'],
  test: ['Test', '测试'],
  testing: ['Testing…', '测试中…'],
  testOk: ['Test answered {status} after {ms}', '测试成功：{status}，用时 {ms}'],
  testFailed: ['Test failed: {why}', '测试失败：{why}'],
  wasPaused: ['{name} takes no new requests', '{name} 不再接收新请求'],
  wasResumed: ['{name} takes requests again', '{name} 重新接收请求'],
  wasForgotten: ['The cooldown of {name} is over', '{name} 的冷却已结束'],
  actionsOf: ['Actions for {name}', '对 {name} 的操作'],

  // Charts.
  charts: ['Traffic', '流量'],
  range: ['Range', '范围'],
  hour: ['Hour', '一小时'],
  day: ['Day', '一天'],
  days: ['90 days', '90 天'],
  chartOutcomes: ['Requests by outcome', '请求结果'],
  chartTokens: ['Tokens', 'Token 用量'],
  chartFirstByte: ['First byte', '首字节时间'],
  answeredCount: ['answered', '成功'],
  refusedCount: ['refused (429)', '被限流 (429)'],
  failedCount: ['failed', '失败'],
  clientCount: ['client’s faults', '客户端错误'],
  leftCount: ['left', '客户端离开'],
  inputTokens: ['input', '输入'],
  outputTokens: ['output', '输出'],
  median: ['median', '中位数'],
  p95: ['p95', 'p95'],
  chartText: ['{title}: {sums}', '{title}：{sums}'],
  noTraffic: ['No requests in this time.', '这段时间没有请求。'],

  // Requests and their explanations.
  lastRequests: ['Last requests', '最近的请求'],
  filterUpstream: ['Upstream', '上游'],
  filterStatus: ['Status', '状态'],
  filterModel: ['Model', '模型'],
  filterToken: ['Token', '令牌'],
  filterText: ['Text', '文字'],
  filterTextHint: ['id, code, …', 'id、代码等'],
  all: ['all', '全部'],
  status_answered: ['answered', '成功'],
  status_client: ['client’s fault (4xx)', '客户端错误 (4xx)'],
  status_refused: ['refused (429)', '被限流 (429)'],
  status_failed: ['failed (5xx)', '失败 (5xx)'],
  status_left: ['left (499)', '客户端离开 (499)'],
  noRequests: ['No request that fits.', '没有符合条件的请求。'],
  olderRequests: ['Older', '更早'],
  showRequest: ['Explain request {id}', '解释请求 {id}'],
  colTime: ['Time', '时间'],
  colModel: ['Model', '模型'],
  colUpstream: ['Upstream', '上游'],
  colStatus: ['Status', '状态'],
  colAttempts: ['Attempts', '尝试'],
  colFirst: ['First byte', '首字节'],
  colTotal: ['Total', '总时长'],
  colTokens: ['Tokens in / out', 'Token 入/出'],
  explanation: ['What happened to request {id}', '请求 {id} 的经过'],
  noExplanation: ['There is no record of this request any more.', '这个请求的记录已经不在了。'],
  several: ['{count} requests bear this id.', '有 {count} 个请求用了这个 id。'],
  arrived: ['arrived at {time}, asked for {model}', '{time} 到达，请求模型 {model}'],
  colon: [': ', '：'],
  decision: ['Choice', '选择'],
  'decision_next in order': ['The next in order', '按顺序取下一个'],
  'decision_last resort': ['Last resort', '最后的办法'],
  'decision_after waiting': ['Choice after waiting', '排队之后选择'],
  choseUpstream: ['{name} was chosen', '选中 {name}'],
  choseNobody: ['nobody could be chosen', '没有可选的上游'],
  candidates: ['Candidates', '候选'],
  rank: ['Rank', '名次'],
  headroom: ['Room left', '余量'],
  latency: ['Latency', '延迟'],
  weight: ['Weight', '权重'],
  priority: ['Priority', '优先级'],
  unavailable: ['Not available', '不可用'],
  until: ['until {time}', '到 {time}'],
  attempt: ['Attempt at {name}', '请求 {name}'],
  attemptTimes: [
    '{outcome}, first byte after {first}, ended after {total}',
    '{outcome}，首字节 {first}，结束 {total}',
  ],
  attemptTime: ['{outcome}, ended after {total}', '{outcome}，结束 {total}'],
  outcome_ok: ['ok', '成功'],
  'outcome_rate-limited': ['rate-limited', '被限流'],
  outcome_overloaded: ['overloaded', '上游过载'],
  outcome_quota: ['quota spent', '额度用完'],
  outcome_auth: ['key refused', '密钥被拒绝'],
  'outcome_not-found': ['not found', '找不到'],
  outcome_failure: ['failed', '失败'],
  outcome_broken: ['broke off', '中途断开'],
  outcome_aborted: ['the client left', '客户端离开'],
  'outcome_client-error': ['refused the request', '请求有误'],
  'outcome_other-model': ['too long for it', '超出模型长度'],
  outcome_unfit: ['without content', '没有内容'],
  ended: ['The client got {status} after {ms}', '客户端得到 {status}，总时长 {ms}'],
  underWay: ['It is under way.', '还在进行中。'],
  remembered: ['{name} served its key before', '{name} 之前服务过同一个亲和键'],
  madeBy: ['{name} made what it builds on', '{name} 生成了它所依赖的内容'],
  exact: ['Recomputed: it is decided the same way again.', '重新计算的结果与当时一致。'],
  notExact: [
    'Recomputed, it would be decided in another way: the record is not complete.',
    '重新计算的结果与当时不同：记录不完整。',
  ],

  // Playground.
  model: ['Model', '模型'],
  stream: ['Stream', '流式'],
  prompt: ['Prompt', '提示词'],
  promptDefault: ['Say hello in five languages.', '用五种语言问好。'],
  send: ['Send', '发送'],
  stop: ['Stop', '停止'],
  answer: ['Answer', '回答'],
  answerHint: ['The answer appears here.', '回答会显示在这里。'],
  answeredBy: ['Answered by', '回答者'],
  attempts: ['Attempts', '尝试次数'],
  firstWordTime: ['First word', '首字'],
  total: ['Total', '总时长'],
  stopped: ['Stopped.', '已停止。'],
  explain: ['Explain', '解释'],
  thinking: ['Thinking', '思考'],

  // Configuration.
  refusedReload: ['The file that was changed at {time} is refused', '{time} 改动的配置被拒绝'],
  stillOld: ['The last good configuration stays in use.', '仍在使用上一份有效的配置。'],
  warnings: ['Warnings', '警告'],
  noWarnings: ['The configuration has no warnings.', '配置没有警告。'],
  strategy: ['Strategy', '策略'],
  affinity: ['Affinity', '亲和'],
  modelNames: ['Model names', '模型名'],
  entries: ['Upstreams in the file', '配置文件中的上游'],
  noFile: [
    'There is no configuration file to edit: the configuration comes from the environment.',
    '没有可以修改的配置文件：配置来自环境变量。',
  ],
  readOnly: [
    'To change them here, set "server": { "admin": "write" } in the configuration.',
    '要在这里修改，请在配置里设置 "server": { "admin": "write" }。',
  ],
  changeSettings: ['Change the strategy', '修改策略'],
  ofHeader: ['a header', '请求头'],
  header: ['Name of the header', '请求头名称'],
  addPreset: ['Add a vendor', '添加供应商'],
  addByHand: ['Add by hand', '手动添加'],
  edit: ['Change', '修改'],
  remove: ['Remove', '删除'],
  removeSure: ['Remove {name}?', '删除 {name}？'],
  moveUp: ['Move up', '上移'],
  moveDown: ['Move down', '下移'],
  cancel: ['Cancel', '取消'],
  save: ['Save', '保存'],
  saving: ['Saving…', '保存中…'],
  saved: ['Saved: it is in use from the next request on.', '已保存，从下一个请求起生效。'],
  savedWarnings: ['Saved, with warnings: {text}', '已保存，有警告：{text}'],
  changedUnderneath: ['The file was changed meanwhile.', '文件在此期间被改动了。'],
  reload: ['Load it again', '重新加载'],
  notSaved: ['Not saved: see the fields.', '没有保存：请看各字段的提示。'],
  vendor: ['Vendor', '供应商'],
  baseUrl: ['Address', '地址'],
  models: ['Models', '模型'],
  modelsHint: ['Several with commas. Empty: those of the vendor.', '多个用逗号分开。留空则用供应商的模型。'],
  keys: ['Keys', '密钥'],
  keysHint: ['One a line. They cannot be read here again.', '每行一个。保存后这里不再显示。'],
  keepKeys: ['Empty: the keys stay ({keys}).', '留空则保留现有密钥（{keys}）。'],
  keyVariable: ['The file can name a variable instead: {name}', '文件里也可以写变量名：{name}'],
  name: ['Name', '名称'],
  enabled: ['Takes requests', '启用'],
  further: ['Further fields, as JSON', '其他字段（JSON）'],
  furtherBad: ['This is no JSON object.', '不是合法的 JSON 对象。'],
  newEntry: ['New upstream', '新上游'],
  changeEntry: ['Change {name}', '修改 {name}'],
  numberBad: ['This is no number.', '不是数字。'],

  // Tokens.
  tokenName: ['Name', '名称'],
  today: ['Today', '今天'],
  week: ['Week', '本周'],
  month: ['Month', '本月'],
  rights: ['May', '权限'],
  limits: ['Limits', '限额'],
  expires: ['until {time}', '到 {time}'],
  mayAdmin: ['administer', '管理'],
  mayModels: ['only {models}', '仅 {models}'],
  mayAll: ['all models', '全部模型'],
  usageText: ['{requests} requests, {tokens} tokens', '{requests} 次请求，{tokens} token'],
  noTokens: ['There are no named tokens: all clients share one.', '没有命名令牌：所有客户端共用一个。'],
} as const satisfies Record<string, readonly [en: string, zh: string]>

export type WordKey = keyof typeof WORDS
export type Fill = Readonly<Record<string, string | number>>
export type Translate = (key: WordKey, fill?: Fill) => string

/** What fills a sentence in, in one language. */
export const translator =
  (lang: Lang): Translate =>
  (key, fill = {}) =>
    WORDS[key][lang === 'en' ? 0 : 1].replaceAll(/\{(\w+)\}/g, (blank, name: string) =>
      String(fill[name] ?? blank),
    )

/** A key that is put together, where there is one. */
export const wordKeyOf = (key: string): WordKey | undefined =>
  Object.hasOwn(WORDS, key) ? (key as WordKey) : undefined

/** The word for a name of the gateway's, such as `limit_tokens`; itself where there is none. */
export function wordOf(kind: string, name: string, t: Translate): string {
  const key = wordKeyOf(`${kind}_${name}`)
  return key === undefined ? name : t(key)
}

/** What a limit counts, and in which time. */
export function limitName({ counts, window }: Pick<LimitStatus, 'counts' | 'window'>, t: Translate): string {
  if (window === 'at_once') return t('atOnce')
  return t('perWindow', { counts: wordOf('limit', counts, t), window: wordOf('window', window, t) })
}

/** What of it is used and left, as far as that is known. */
export function limitAmount({ used, left, limit }: LimitStatus, t: Translate): string {
  if (limit === null) return t('onlyLeft', { left: amountText(left) })
  return t('usedOf', { used: amountText(used), left: amountText(left), limit: amountText(limit) })
}

/** Chinese where the browser asks for it first. */
export const langOf = (languages: readonly string[]): Lang =>
  languages[0]?.toLowerCase().startsWith('zh') === true ? 'zh-CN' : 'en'

/**
 * Why an upstream is not available, as `/admin/status` has it, in Chinese; its own words stay. The most specific first.
 */
const REASONS: readonly (readonly [RegExp, string])[] = [
  [/^needs attention: key refused/, '需要处理：密钥被拒绝'],
  [/^needs attention: model or endpoint not found/, '需要处理：找不到模型或接口'],
  [/^needs attention/, '需要处理'],
  [/^quota spent/, '额度用完'],
  [/^rate-limited/, '限流中'],
  [/^overloaded/, '上游过载'],
  [/^concurrency limit reached/, '达到并发上限'],
  [/^its proxy fails/, '代理连不上'],
  [/^paused/, '已暂停'],
  [/^draining/, '正在停止'],
  [/^no upstream is enabled/, '没有启用的上游'],
  [/^all upstreams are out of quota or need attention/, '所有上游都没有额度或需要处理'],
  [/^all upstreams are out of quota/, '所有上游都没有额度'],
  [/^all upstreams need attention/, '所有上游都需要处理'],
  [/^disabled/, '已停用'],
  [/^does not serve (\S+)/, '不提供 $1'],
  [/^asked already for this request/, '这个请求已经问过它'],
  [/^others wait for it already/, '已有别的请求在等它'],
  [/^not of the model that was asked for/, '不属于所请求的模型'],
  [/^presumed to be for other endpoints/, '推测它用于其他接口'],
  [/^its vectors do not mix with another model's/, '它的向量不能与另一个模型的混用'],
  [/^another one has the answer that the request builds on/, '请求所依赖的回答在另一个上游'],
  [
    /^left out by the client's token, or by the answer that the request builds on/,
    '客户端令牌不允许，或请求所依赖的回答在别处',
  ],
  [/^not for the client's token/, '客户端令牌不能使用它'],
  [/^(requests|tokens) used up, by the upstream's own word/, '上游自己说$1已用完'],
  [/^(\w+) per (\w+) used up/, '每$2的$1已用完'],
  [/^(\w+) asked for one after the other since a refusal/, '被拒绝后$1逐个尝试'],
  [/^connection refused/, '连接被拒绝'],
  [/^no answer/, '没有回应'],
  [/^no valid answer/, '回答无效'],
  [/^status (\d+)/, '状态 $1'],
  [/, (\d+) in a row/, '，连续 $1 次'],
  [/, being tried again/, '，正在重试'],
  [/; the next request tries it/, '；由下一个请求去试'],
  [/\brequests?\b/, '请求'],
  [/\bminute\b/, '分钟'],
  [/\bsecond\b/, '秒'],
  [/\bhour\b/, '小时'],
  [/\bmonth\b/, '月'],
  [/\bday\b/, '天'],
]

export const reasonText = (why: string, lang: Lang): string =>
  lang === 'en' ? why : REASONS.reduce((text, [pattern, chinese]) => text.replace(pattern, chinese), why)
