import * as v from 'valibot'
import { parseRange } from '../lib/ip.ts'
import { endpoints, strategyNames, type AffinityRule, type Limits } from '../pool/upstream.ts'
import {
  check,
  daySeconds,
  booleanFlag,
  headerName,
  headerValue,
  isUrlProblem,
  isTransportHeader,
  listOf,
  message,
  singleLineText,
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
  unique,
  weekSeconds,
  wholeNumber,
  nonEmptyText,
} from './rules.ts'

/*
 * One entry for each key of the file: its rule, what becomes of its value, its default, and its name in the program
 * where that is another one. Whoever adds a key writes its meaning into config/key-meanings.ts and a row into the tables
 * of both READMEs; tests/config/settings.test.ts says what is missing.
 *
 * A default is written as the file would write it. An entry without one that is optional stays absent.
 */

const zone = 'write "UTC", a zone such as "America/Los_Angeles", or "rolling"'
const zoneMessage = message('is not a time zone', zone)
const count = optional(
  wholeNumber(1, Number.MAX_SAFE_INTEGER, 'write a number such as 10; leave it out for no limit'),
)

/** The limits of one upstream, or of a quota that several share. */
const limitsSchema = section(
  {
    rpm: count,
    rpd: count,
    tpm: count,
    tpd: count,
    concurrency: count,
    day_resets: renamed(
      'dayResets',
      optional(v.pipe(v.string(zoneMessage), check(isDayReset, zoneMessage)), 'UTC'),
    ),
  },
  objectMessage('write for example { "rpm": 10, "rpd": 1000 }'),
  (limits): Limits => limits,
)

/** Offsets such as `+08:00` are no zones: some runtimes take them, others don't. */
function isDayReset(text: string): boolean {
  if (text === 'UTC' || text === 'rolling') return true
  if (!/^[A-Za-z]/.test(text)) return false
  try {
    Intl.DateTimeFormat('en', { timeZone: text })
    return true
  } catch {
    return false
  }
}

const urlHint = 'write the root such as https://api.openai.com/v1, or the full address …/v1/chat/completions'
const keyHint = 'write the key, a list of keys, or ${NAME} for an environment variable'
const headersHint = 'write for example { "x-team": "a" }'

/** A key goes into a header, so what a header can't carry is refused here and not at the first request. */
const apiKey = v.pipe(
  v.string(message('must be a string', keyHint)),
  check(
    (key) => headerValue.test(key.trim()),
    message('has a character that no header can carry', 'copy the key again'),
  ),
)
const listedKey = v.pipe(
  apiKey,
  check((key) => key.trim() !== '', message('is empty', 'write a key or take the item out')),
)

/** The keys of an entry, trimmed, each once, in the order written; `['']` when it has none. */
export const keysOf = (key: string | readonly string[]): readonly string[] =>
  unique([key].flat().map((each) => each.trim()))

const baseUrl = v.pipe(
  v.string(message('must be a string', urlHint)),
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    const url = parseBaseUrl(dataset.value)
    if (!isUrlProblem(url)) return url
    addIssue({ message: message(url.message, url.hint) })
    return NEVER
  }),
)

const headers = v.pipe(
  v.record(
    v.pipe(
      v.string(),
      check((key) => headerName.test(key), message('is not a header name', 'use letters, digits and -')),
      check(
        (key) => !isTransportHeader(key),
        message('is a header that the connection sets by itself', 'take it out'),
      ),
    ),
    v.pipe(
      v.string(message('must be a string', headersHint)),
      check(
        (value) => headerValue.test(value),
        message('has a character that no header can carry', headersHint),
      ),
    ),
    objectMessage(headersHint),
  ),
  v.transform((written): Readonly<Record<string, string>> => {
    const fields = Object.entries(written).map(([key, value]) => [key.toLowerCase(), value.trim()])
    return Object.fromEntries(fields) as Record<string, string>
  }),
)

const trimmedName = (right: string) => v.pipe(singleLineText(right), v.trim())
const quotaName = singleLineText('write the name of an entry of quotas')

const modelSchema = section(
  {
    // Becomes `root` and `query`, see `parseBaseUrl`.
    base_url: renamed('baseUrl', baseUrl),
    // The name sent to the upstream, as written.
    model: nonEmptyText('write the name that the vendor gives the model'),
    // At least one; '' = an own server that gets no `Authorization`.
    api_key: renamed(
      'apiKeys',
      optional(
        v.pipe(
          oneOrMany(
            apiKey,
            v.pipe(listOf(listedKey, keyHint), v.nonEmpty(message('has no key in it', keyHint))),
            keyHint,
          ),
          v.transform((keys) => keysOf(keys)),
        ),
        '',
      ),
    ),
    // As configured; what an upstream is really called is decided by `upstreamNames`.
    name: optional(trimmedName('write a short name')),
    // Absent = all.
    endpoints: optional(
      v.pipe(
        listOf(oneOf(endpoints), 'write for example ["chat", "embeddings"]'),
        v.nonEmpty(message('is empty', 'list what it serves, or leave it out for all')),
        v.transform(unique),
      ),
    ),
    groups: optional(
      v.pipe(
        listOf(trimmedName('write the name that clients will ask for'), 'write for example ["fast"]'),
        v.transform(unique),
      ),
      [],
    ),
    weight: optional(
      v.pipe(
        v.number(message('must be a number above 0', 'write a number such as 1')),
        v.gtValue(
          0,
          message(
            'must be a number above 0',
            'write a number such as 1, or "enabled": false to leave it out',
          ),
        ),
        v.finite(message('must be a finite number', 'write a number such as 1')),
      ),
      1,
    ),
    // Lower first.
    priority: optional(wholeNumber(-1_000_000, 1_000_000, 'write 0 for the first tier, 1 for the next'), 0),
    limits: optional(limitsSchema),
    // Names that exist in `quotas`.
    quota: renamed(
      'quotas',
      optional(
        v.pipe(
          oneOrMany(
            quotaName,
            listOf(quotaName, 'write names of quotas'),
            'write a name of quotas or a list of them',
          ),
          v.transform((names) => unique([names].flat())),
        ),
        [],
      ),
    ),
    // Extra request headers; names are lower-case.
    headers: optional(headers, {}),
    // Absent = that of `settings`.
    timeout: renamed('timeoutMs', optional(positiveSeconds(daySeconds, 120))),
    enabled: optional(booleanFlag(), true),
  },
  objectMessage('write for example { "base_url": "https://api.openai.com/v1", "model": "gpt-4o" }', {
    base_url: urlHint,
    model: 'write the name that the vendor gives the model',
  }),
  ({ baseUrl: url, ...model }) => ({ ...model, ...url }),
)

const withPath = <Model extends object>(model: Model, at: number): Model & { readonly path: string } => ({
  ...model,
  path: `models[${at}]`,
})

const bytes = wholeNumber(1, Number.MAX_SAFE_INTEGER, 'write a number of bytes such as 33554432')
const modes = ['release', 'test', 'debug'] as const
const proxiesHint = 'write "private", an address such as 10.0.0.1, or a range such as 10.0.0.0/8'
const corsHint = 'write "*", a list such as ["https://app.example.com"], or false'
const affinityHint = 'write "ip", "conversation", "user", "token", "header:<name>" or "off"'
const tokenHint = 'write a string, or "" to have a token made at start'

const proxy = v.pipe(
  v.string(message('must be a string', proxiesHint)),
  check(
    (text) => text === 'private' || parseRange(text) !== undefined,
    message('is neither an address nor a range', proxiesHint),
  ),
)

const origin = v.pipe(
  v.string(message('must be a string', corsHint)),
  check(
    (text) => parseOrigin(text) !== undefined,
    message('is not an origin', 'write scheme://host[:port] without a path'),
  ),
)

const serverSchema = section(
  {
    // 0 = any free port.
    port: optional(wholeNumber(0, 65_535, 'write for example 2081'), 2081),
    host: optional(
      v.pipe(
        nonEmptyText('write for example "0.0.0.0"'),
        v.regex(/^\S+$/, message('has white space in it', 'write an address')),
      ),
      '0.0.0.0',
    ),
    // Absent = what its older name `model` says.
    mode: optional(oneOf(modes)),
    model: optional(oneOf(modes), 'release'),
    // Addresses, CIDR ranges, or `private`. Empty = nobody is believed.
    trusted_proxies: renamed(
      'trustedProxies',
      optional(v.pipe(listOf(proxy, proxiesHint), v.transform(unique)), ['private']),
    ),
    max_body: renamed('maxBodyBytes', optional(bytes, 32 * 2 ** 20)),
    max_buffered: renamed('maxBufferedBytes', optional(bytes, 256 * 2 ** 20)),
    // Origins as browsers write them.
    cors: optional(
      v.pipe(
        v.union(
          [v.literal('*'), v.literal(false), listOf(origin, corsHint)],
          message('must be "*", a list of origins or false', corsHint),
        ),
        v.transform((cors) =>
          Array.isArray(cors) ? unique(cors.map((text) => parseOrigin(text) ?? text)) : cors,
        ),
      ),
      '*',
    ),
    metrics_public: renamed('metricsPublic', optional(booleanFlag(), false)),
  },
  objectMessage('write for example { "port": 2081 }'),
  ({ model, mode = model, ...server }) => ({
    ...server,
    mode: mode === 'debug' ? ('debug' as const) : ('release' as const),
  }),
)

const affinity = v.pipe(
  v.string(message('must be a string', affinityHint)),
  v.regex(/^(?:ip|conversation|user|token|off|header:.*)$/s, message('is not a known value', affinityHint)),
  check(
    (text) => !text.startsWith('header:') || headerName.test(text.slice('header:'.length)),
    message('has no header name after the colon', affinityHint),
  ),
  v.transform((text): AffinityRule => {
    if (text.startsWith('header:'))
      return { kind: 'header', name: text.slice('header:'.length).toLowerCase() }
    return { kind: text as Exclude<AffinityRule['kind'], 'header'> }
  }),
)

const ruleOfIpHash = (ipHash: boolean): AffinityRule => ({ kind: ipHash ? 'ip' : 'off' })

/** People who plan replicas write an address of a store; the address may hold a password and is not repeated. */
const stateMessage = (input: unknown): string =>
  typeof input === 'string' && /^rediss?:/i.test(input)
    ? message('names a Redis store, which this version cannot use yet', 'write "memory" or leave it out')
    : message('is not a known value', 'write "memory" or leave it out')

const settingsSchema = section(
  {
    // Longest silence that is accepted from an upstream; never a limit on a live stream.
    timeout: renamed('timeoutMs', optional(positiveSeconds(daySeconds, 120), 120)),
    connect_timeout: renamed('connectTimeoutMs', optional(positiveSeconds(daySeconds, 5), 5)),
    strategy: optional(oneOf(strategyNames), 'random'),
    // Absent = what the older `ip_hash` says: true is "ip", false is "off".
    affinity: optional(affinity),
    ip_hash: renamed('ipHash', optional(booleanFlag(), true)),
    // Since the last request with the key.
    affinity_ttl: renamed('affinityTtlMs', optional(positiveSeconds(weekSeconds, 300), 300)),
    // 0 = a request never waits.
    queue_timeout: renamed('queueTimeoutMs', optional(seconds(daySeconds, 5), 5)),
    // Requests that may wait at once.
    queue_size: renamed('queueSize', optional(wholeNumber(0, 1_000_000, 'write for example 256'), 256)),
    // The name of an upstream that exists.
    passthrough: optional(trimmedName("write an upstream's name")),
    unknown_model: renamed('unknownModel', optional(oneOf(['reject', 'auto']), 'reject')),
    state: optional(
      v.pipe(
        v.picklist(['memory'], ({ input }) => stateMessage(input)),
        v.transform((kind) => ({ kind }) as const),
      ),
      'memory',
    ),
    // Absent = no cap but those of the classes of failure.
    max_attempts: renamed(
      'maxAttempts',
      optional(wholeNumber(1, 1_000_000, 'write for example 5; leave it out for no cap')),
    ),
    // How long open streams may go on at shutdown.
    drain_timeout: renamed('drainTimeoutMs', optional(seconds(daySeconds, 8), 8)),
  },
  objectMessage('write for example { "timeout": 120 }'),
  ({ ipHash, affinity: rule = ruleOfIpHash(ipHash), ...settings }) => ({ ...settings, affinity: rule }),
)

const modelsHint = 'write at least one model: { "api_key": "…", "base_url": "https://…/v1", "model": "…" }'

/** The configuration: in as people write it, out as the gateway uses it. */
export const configSchema = section(
  {
    $schema: optional(v.string(message('must be a string', 'write the address of the schema'))),
    // '' = none yet: one is made at start, and a reload is refused.
    auth_token: renamed(
      'authToken',
      optional(
        v.pipe(
          v.string(message('must be a string', tokenHint)),
          check(
            // oxlint-disable-next-line no-control-regex
            (token) => !/[\u0000-\u001f\u007f]/.test(token.trim()),
            message('has a control character in it, which no header can carry', tokenHint),
          ),
          check((token) => token === '' || token.trim() !== '', message('is only white space', tokenHint)),
          v.trim(),
        ),
        '',
      ),
    ),
    // In the order of the file, disabled ones too; `path` is where one stands in it, such as `models[0]`, for messages.
    models: v.pipe(
      listOf(modelSchema, modelsHint),
      v.nonEmpty(message('is empty', modelsHint)),
      v.transform((models) => models.map((model, at) => withPath(model, at))),
      v.readonly(),
    ),
    // Limits that several upstreams share, by name.
    quotas: optional(
      v.pipe(
        v.record(v.string(), limitsSchema, objectMessage('write for example { "account": { "rpd": 1000 } }')),
        v.readonly(),
      ),
      {},
    ),
    server: optional(serverSchema, {}),
    settings: optional(settingsSchema, {}),
  },
  objectMessage('write { "models": […] }', { models: modelsHint }),
  (file) => {
    const { $schema: _, ...config } = file
    return config
  },
)
