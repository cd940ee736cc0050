import * as v from 'valibot'
import { parseRange } from '../lib/ip.ts'
import { abilities, type Ability, SPAN_MS } from '../pool/outcome.ts'
import { strategyNames } from '../pool/strategy.ts'
import { endpoints, type AffinityRule, type Limits, type LimitWindow, spanMsOf } from '../pool/upstream.ts'
import {
  baseUrlHint,
  booleanFlag,
  check,
  headerName,
  headerValue,
  isUrlProblem,
  listOf,
  message,
  nonEmptyText,
  objectMessage,
  oneOf,
  oneOrMany,
  optional,
  parseBaseUrl,
  parseOrigin,
  positiveSeconds,
  renamed,
  seconds,
  section,
  singleLineText,
  text,
  transportHeader,
  unique,
  WEEK_SECONDS,
  wholeNumber,
  withoutControls,
} from './rules.ts'

/*
 * One entry for each key of the file: its rule, what becomes of its value, its default, and its name in the program
 * where that is not just the same in camelCase. Whoever adds a key writes its meaning into config/key-meanings.ts and a
 * row into the tables of both READMEs; tests/config/settings.test.ts says what is missing.
 *
 * A default is written as the file would write it. An entry without one that is optional stays absent.
 */

const count = optional(wholeNumber('write a number such as 10; leave it out for no limit', 1))
const zoneMessage = message(
  'is not a time zone',
  'write "UTC", a zone such as "America/Los_Angeles", or "rolling"',
)

const dayReset = v.pipe(v.string(zoneMessage), v.check(isDayReset, zoneMessage))

const perWrong = 'is neither a time of 1 s to 31 days nor "week" or "month"'
const perHint = 'write for example "30s", "5h" or "7d"'
const perSchema = v.pipe(
  text(perHint),
  v.regex(/^(?:[1-9]\d{0,6}[smhd]|week|month)$/, message(perWrong, perHint)),
  check((per) => spanMsOf(per) <= 31 * SPAN_MS.day, perWrong, perHint),
)

interface WrittenWindow {
  readonly requests?: number | undefined
  readonly tokens?: number | undefined
  readonly per: string
  readonly resets?: string
}

const windowHint = 'write for example { "requests": 100, "per": "5h" }'
const windowSchema = v.pipe(
  section(
    {
      // One of the two is there.
      requests: count,
      tokens: count,
      per: perSchema,
      // Absent = rolling, but for a week and a month, which end in UTC.
      resets: optional(dayReset),
    },
    objectMessage(windowHint, { per: perHint }),
    (window): WrittenWindow => window,
  ),
  check(
    ({ requests, tokens }) => requests !== undefined || tokens !== undefined,
    'has neither requests nor tokens',
    windowHint,
  ),
  check(
    ({ requests, tokens }) => requests === undefined || tokens === undefined,
    'has both requests and tokens',
    'write two windows, one for each',
  ),
  check(
    ({ per, resets = 'rolling' }) =>
      resets === 'rolling' || spanMsOf(per) < SPAN_MS.day || spanMsOf(per) % SPAN_MS.day === 0,
    'is longer than a day and resets at midnight, so it must be whole days',
    'write for example "2d", or "resets": "rolling"',
  ),
)

const countsOf = ({ requests }: WrittenWindow): LimitWindow['counts'] =>
  requests === undefined ? 'tokens' : 'requests'
const windowsSchema = v.pipe(
  listOf(windowSchema, windowHint),
  v.checkItems(
    (window, at, all) =>
      at ===
      all.findIndex(
        (other) => countsOf(other) === countsOf(window) && spanMsOf(other.per) === spanMsOf(window.per),
      ),
    message('counts the same over the same time as an earlier window', 'keep one of them'),
  ),
)

/** The limits of one upstream, or of a quota that several share. */
const limitsSchema = section(
  {
    rpm: count,
    rpd: count,
    tpm: count,
    tpd: count,
    concurrency: count,
    windows: optional(windowsSchema, []),
    day_resets: optional(dayReset, 'UTC'),
  },
  objectMessage('write for example { "rpm": 10, "rpd": 1000 }'),
  (limits) => limitsFrom(limits),
)

/** Limits as a file writes them. */
export interface WrittenLimits {
  readonly rpm?: number | undefined
  readonly rpd?: number | undefined
  readonly tpm?: number | undefined
  readonly tpd?: number | undefined
  readonly windows?: readonly WrittenWindow[]
  readonly concurrency?: number | undefined
  readonly dayResets?: string
}

/** All counted limits in one form, without those that limit nothing. */
export function limitsFrom(written: WrittenLimits): Limits {
  const { rpm, rpd, tpm, tpd, windows = [], concurrency, dayResets = 'UTC' } = written
  const all = [
    { requests: rpm, per: 'minute', resets: 'rolling' },
    { requests: rpd, per: 'day', resets: dayResets },
    { tokens: tpm, per: 'minute', resets: 'rolling' },
    { tokens: tpd, per: 'day', resets: dayResets },
    ...windows,
  ]
  return { windows: all.flatMap(limitWindow), concurrency }
}

function limitWindow(window: WrittenWindow): LimitWindow[] {
  const { requests, tokens, per, resets = /^(week|month)$/.test(per) ? 'UTC' : 'rolling' } = window
  const [counts, limit] = [countsOf(window), requests ?? tokens]
  if (limit === undefined) return []
  return [{ name: `${counts}:${per}`, counts, limit, per, spanMs: spanMsOf(per), resets }]
}

/** Offsets such as `+08:00` are no zones: some runtimes take them, others don't. */
function isDayReset(written: string): boolean {
  if (written === 'UTC' || written === 'rolling') return true
  if (!/^[A-Za-z]/.test(written)) return false
  try {
    Intl.DateTimeFormat('en', { timeZone: written })
    return true
  } catch {
    return false
  }
}

const baseUrl = v.pipe(
  text(baseUrlHint),
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    const url = parseBaseUrl(dataset.value)
    if (!isUrlProblem(url)) return url
    addIssue({ message: message(url.message, url.hint) })
    return NEVER
  }),
)

const unfitForHeader = 'has a character that no header can carry'
const keyHint = 'write the key, a list of keys, or ${NAME} for an environment variable'

/** A key goes into a header, so what a header can't carry is refused here and not at the first request. */
const apiKey = v.pipe(
  text(keyHint),
  check((key) => headerValue.test(key.trim()), unfitForHeader, 'copy the key again'),
)
const listedKey = v.pipe(
  apiKey,
  check((key) => key.trim() !== '', 'is empty', 'write a key or take the item out'),
)
const listedKeys = v.pipe(listOf(listedKey, keyHint), v.nonEmpty(message('has no key in it', keyHint)))
const apiKeys = oneOrMany(apiKey, listedKeys, keyHint)

/** The keys of an entry, trimmed, each once, in the order written; `['']` when it has none. */
export const keysOf = (written: string[]): readonly string[] => unique(written.map((key) => key.trim()))

const headersHint = 'write for example { "x-team": "a" }'
const configuredName = v.pipe(
  v.string(),
  check((name) => headerName.test(name), 'is not a header name', 'use letters, digits and -'),
  check(
    (name) => !transportHeader.test(name),
    'is a header that the connection sets by itself',
    'take it out',
  ),
)
const configuredValue = v.pipe(
  text(headersHint),
  check((value) => headerValue.test(value), unfitForHeader, headersHint),
)
const headers = v.pipe(
  v.record(configuredName, configuredValue, objectMessage(headersHint)),
  v.transform((written): Readonly<Record<string, string>> => {
    const fields = Object.entries(written).map(([name, value]) => [name.toLowerCase(), value.trim()])
    return Object.fromEntries(fields) as Record<string, string>
  }),
)

const trimmedName = (right: string) => v.pipe(singleLineText(right), v.trim())
const modelNameHint = 'write the name that the vendor gives the model'
const group = trimmedName('write the name that clients will ask for')
const quotaName = singleLineText('write the name of an entry of quotas')
const quotaNames = oneOrMany(
  quotaName,
  listOf(quotaName, 'write names of quotas'),
  'write a name of quotas or a list of them',
)

const endpointList = v.pipe(
  listOf(oneOf(endpoints), 'write for example ["chat", "embeddings"]'),
  v.nonEmpty(message('is empty', 'list what it serves, or leave it out for all')),
  v.transform(unique),
)
const weightWrong = 'must be a number above 0'
const weight = v.pipe(
  v.number(message(weightWrong, 'write a number such as 1')),
  v.gtValue(0, message(weightWrong, 'write a number such as 1, or "enabled": false to leave it out')),
  v.finite(message('must be a finite number', 'write a number such as 1')),
)

const canHint = 'write for example { "tools": true, "images": false }'
const ability = optional(booleanFlag())
const abilityFlags = Object.fromEntries(abilities.map((name) => [name, ability])) as Record<
  Ability,
  typeof ability
>
const canSchema = v.object(abilityFlags, objectMessage(canHint))

const modelSchema = section(
  {
    // Becomes `root` and `query`, see `parseBaseUrl`.
    base_url: baseUrl,
    // The name sent to the upstream, as written.
    model: nonEmptyText(modelNameHint),
    // At least one; '' = an own server that gets no `Authorization`.
    api_key: renamed('apiKeys', optional(v.pipe(apiKeys, v.transform(keysOf)), '')),
    // As configured; what an upstream is really called is decided by `upstreamNames`.
    name: optional(trimmedName('write a short name')),
    // Absent = all.
    endpoints: optional(endpointList),
    groups: optional(v.pipe(listOf(group, 'write for example ["fast"]'), v.transform(unique)), []),
    weight: optional(weight, 1),
    // Lower first.
    priority: optional(wholeNumber('write 0 for the first tier, 1 for the next', -1_000_000, 1_000_000), 0),
    limits: optional(limitsSchema),
    // Names that exist in `quotas`.
    quota: renamed('quotas', optional(v.pipe(quotaNames, v.transform(unique)), [])),
    // Extra request headers; names are lower-case.
    headers: optional(headers, {}),
    // Absent = that of `settings`.
    timeout: renamed('timeoutMs', optional(positiveSeconds(120))),
    // Tokens of input and output together. Absent = learned.
    context: renamed('contextTokens', optional(wholeNumber('write a number of tokens such as 128000', 1))),
    // What the model can do; what is not said is learned.
    can: optional(canSchema),
    enabled: optional(booleanFlag(), true),
  },
  objectMessage('write for example { "base_url": "https://api.openai.com/v1", "model": "gpt-4o" }', {
    base_url: baseUrlHint,
    model: modelNameHint,
  }),
  ({ baseUrl: url, ...model }) => ({ ...model, ...url }),
)

const bytes = wholeNumber('write a number of bytes such as 33554432', 1)
const modes = ['release', 'test', 'debug'] as const

const proxiesHint = 'write "private", an address such as 10.0.0.1, or a range such as 10.0.0.0/8'
const isProxy = (written: string): boolean => written === 'private' || parseRange(written) !== undefined
const proxy = v.pipe(text(proxiesHint), check(isProxy, 'is neither an address nor a range', proxiesHint))

const corsHint = 'write "*", a list such as ["https://app.example.com"], or false'
const isOrigin = (written: string): boolean => parseOrigin(written) !== undefined
const origin = v.pipe(
  text(corsHint),
  check(isOrigin, 'is not an origin', 'write scheme://host[:port] without a path'),
)
const cors = v.pipe(
  v.union(
    [v.literal('*'), v.literal(false), listOf(origin, corsHint)],
    message('must be "*", a list of origins or false', corsHint),
  ),
  v.transform((written) =>
    Array.isArray(written) ? unique(written.map((each) => parseOrigin(each) ?? each)) : written,
  ),
)

const host = v.pipe(
  nonEmptyText('write for example "0.0.0.0"'),
  v.regex(/^\S+$/, message('has white space in it', 'write an address')),
)

const serverSchema = section(
  {
    // 0 = any free port.
    port: optional(wholeNumber('write for example 2081', 0, 65_535), 2081),
    host: optional(host, '0.0.0.0'),
    // Absent = what its older name `model` says.
    mode: optional(oneOf(modes)),
    model: optional(oneOf(modes), 'release'),
    // Addresses, CIDR ranges, or `private`. Empty = nobody is believed.
    trusted_proxies: optional(v.pipe(listOf(proxy, proxiesHint), v.transform(unique)), ['private']),
    max_body: renamed('maxBodyBytes', optional(bytes, 32 * 2 ** 20)),
    max_buffered: renamed('maxBufferedBytes', optional(bytes, 256 * 2 ** 20)),
    // Absent = what the descriptor limit allows.
    max_connections: optional(
      wholeNumber('write for example 1000; leave it out for what the system allows', 1),
    ),
    // Origins as browsers write them.
    cors: optional(cors, '*'),
    metrics_public: optional(booleanFlag(), false),
  },
  objectMessage('write for example { "port": 2081 }'),
  ({ model, mode = model, ...server }) => ({
    ...server,
    mode: mode === 'debug' ? mode : ('release' as const),
  }),
)

const affinityHint = 'write "ip", "conversation", "user", "token", "header:<name>" or "off"'
const affinity = v.pipe(
  text(affinityHint),
  v.regex(/^(?:ip|conversation|user|token|off|header:.*)$/s, message('is not a known value', affinityHint)),
  check(
    (written) => !written.startsWith('header:') || headerName.test(written.slice('header:'.length)),
    'has no header name after the colon',
    affinityHint,
  ),
  v.transform((written) => {
    const [kind, name = ''] = written.split(':')
    return (kind === 'header' ? { kind, name: name.toLowerCase() } : { kind }) as AffinityRule
  }),
)
const affinityOfIpHash = (ipHash: boolean): AffinityRule => ({ kind: ipHash ? 'ip' : 'off' })

/** People who plan replicas write an address of a store; the address may hold a password and is not repeated. */
const stateMessage = ({ input }: { readonly input: unknown }): string =>
  message(
    typeof input === 'string' && /^rediss?:/i.test(input)
      ? 'names a Redis store, which this version cannot use yet'
      : 'is not a known value',
    'write "memory" or leave it out',
  )

const pathsHint = 'write "all" or a list such as ["files", "batches"]'
/** What administers an account or hands out its keys. */
const IS_ADMINISTRATION = /^(?:organization|realtime|keys?|users?|admin)(?:\/|$)/
const accountPath = v.pipe(
  text(pathsHint),
  v.regex(/^[\da-z_-]+(?:\/[\da-z_-]+)*$/, message('is not a path below /v1/ in lower case', pathsHint)),
  check(
    (path) => !IS_ADMINISTRATION.test(path),
    'administers the account, which no list opens',
    'take it out, or write "all"',
  ),
)
/** What clients of an account use besides the endpoints that are relayed; ids of those are below `responses` and so on. */
export const ACCOUNT_PATHS = [
  'files',
  'uploads',
  'batches',
  'vector_stores',
  'assistants',
  'threads',
  'fine_tuning',
  'responses',
  'conversations',
  'containers',
  'evals',
  'videos',
  'chatkit',
  'skills',
  'chat/completions',
  'models',
]
const passthroughPaths = v.union(
  [v.literal('all'), v.pipe(listOf(accountPath, pathsHint), v.readonly())],
  message('must be "all" or a list of paths', pathsHint),
)

const settingsSchema = section(
  {
    // Longest silence that is accepted from an upstream; never a limit on a live stream.
    timeout: renamed('timeoutMs', optional(positiveSeconds(120), 120)),
    connect_timeout: renamed('connectTimeoutMs', optional(positiveSeconds(5), 5)),
    strategy: optional(oneOf(strategyNames), 'random'),
    // Absent = what the older `ip_hash` says: true is "ip", false is "off".
    affinity: optional(affinity),
    ip_hash: optional(booleanFlag(), true),
    // Since the last request with the key.
    affinity_ttl: renamed('affinityTtlMs', optional(positiveSeconds(300, WEEK_SECONDS), 300)),
    // 0 = a request never waits.
    queue_timeout: renamed('queueTimeoutMs', optional(seconds(5), 5)),
    // Requests that may wait at once.
    queue_size: optional(wholeNumber('write for example 256', 0, 1_000_000), 256),
    // Silence towards a client that waits for a stream; 0 = nothing is sent before the answer.
    heartbeat: renamed('heartbeatMs', optional(seconds(15), 15)),
    // The name of an upstream that exists.
    passthrough: optional(trimmedName("write an upstream's name")),
    // Each with everything below it.
    passthrough_paths: optional(passthroughPaths, ACCOUNT_PATHS),
    unknown_model: optional(oneOf(['reject', 'auto']), 'reject'),
    state: optional(v.picklist(['memory'], stateMessage), 'memory'),
    // Absent = no cap but those of the classes of failure.
    max_attempts: optional(wholeNumber('write for example 5; leave it out for no cap', 1, 1_000_000)),
    // How long open streams may go on at shutdown.
    drain_timeout: renamed('drainTimeoutMs', optional(seconds(8), 8)),
  },
  objectMessage('write for example { "timeout": 120 }'),
  ({ ipHash, affinity = affinityOfIpHash(ipHash), ...settings }) => ({ ...settings, affinity }),
)

const tokenHint = 'write a string, or "" to have a token made at start'
const authToken = v.pipe(
  text(tokenHint),
  check(
    (token) => withoutControls.test(token.trim()),
    'has a control character in it, which no header can carry',
    tokenHint,
  ),
  check((token) => token === '' || token.trim() !== '', 'is only white space', tokenHint),
  v.trim(),
)

const quotasHint = 'write for example { "account": { "rpd": 1000 } }'
const modelsHint = 'write at least one model: { "api_key": "…", "base_url": "https://…/v1", "model": "…" }'

/** The configuration: in as people write it, out as the gateway uses it. */
export const configSchema = section(
  {
    $schema: optional(text('write the address of the schema')),
    // '' = none yet: one is made at start, and a reload is refused.
    auth_token: optional(authToken, ''),
    // In the order of the file, disabled ones too; `path` is where one stands in it, such as `models[0]`, for messages.
    models: v.pipe(
      listOf(modelSchema, modelsHint),
      v.nonEmpty(message('is empty', modelsHint)),
      v.transform((models) => models.map((model, at) => ({ ...model, path: `models[${at}]` }))),
      v.readonly(),
    ),
    // Limits that several upstreams share, by name.
    quotas: optional(v.record(v.string(), limitsSchema, objectMessage(quotasHint)), {}),
    server: optional(serverSchema, {}),
    settings: optional(settingsSchema, {}),
  },
  objectMessage('write { "models": […] }', { models: modelsHint }),
  ({ $schema: _schema, ...config }) => config,
)
