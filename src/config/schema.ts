import * as v from 'valibot'
import { strategyNames } from '../pool/strategy.ts'
import type { AffinityRule } from '../pool/upstream.ts'
import { headersSchema, limitsSchema, modelSchema, trimmedName } from './model-schema.ts'
import { proxySchema } from './proxy.ts'
import { addressesSchema, tokensSchema } from './token-schema.ts'
import {
  booleanFlag,
  check,
  headerName,
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
  text,
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

const bytes = wholeNumber('write a number of bytes such as 33554432', 1)
const modes = ['release', 'test', 'debug'] as const

const addresses = addressesSchema(
  'write "private", an address such as 10.0.0.1, or a range such as 10.0.0.0/8',
)
const USUAL_PROXIES: readonly string[] = ['private']

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

const logFileHint = 'write for example { "path": "/var/log/aiload/aiload.log" }'
const logFile = section(
  {
    // Relative to the file of the configuration.
    path: nonEmptyText(logFileHint),
    // A file that is as large as this is put aside.
    bytes: optional(wholeNumber('write a number of bytes such as 10485760', 4_096), 10 * 2 ** 20),
    // Those put aside, the present one not counted.
    files: optional(wholeNumber('write for example 5', 0, 1_000), 5),
  },
  objectMessage(logFileHint, { path: logFileHint }),
  (file) => file,
)

const serverSchema = section(
  {
    // 0 = any free port.
    port: optional(wholeNumber('write for example 2081', 0, 65_535), 2081),
    host: optional(host, '0.0.0.0'),
    // Absent = what its older name `model` says.
    mode: optional(oneOf(modes)),
    model: optional(oneOf(modes), 'release'),
    // Addresses, CIDR ranges, or `private`. Empty = nobody is believed. Absent = `private`.
    trusted_proxies: renamed('namedProxies', optional(addresses)),
    max_body: renamed('maxBodyBytes', optional(bytes, 32 * 2 ** 20)),
    max_buffered: renamed('maxBufferedBytes', optional(bytes, 256 * 2 ** 20)),
    // Absent = what the descriptor limit allows.
    max_connections: optional(
      wholeNumber('write for example 1000; leave it out for what the system allows', 1),
    ),
    // Origins as browsers write them.
    cors: optional(cors, '*'),
    metrics_public: optional(booleanFlag(), false),
    log_client: optional(booleanFlag(), true),
    // What may be done below /admin/: "read" is everything but editing the configuration, "off" is nothing.
    admin: optional(oneOf(['read', 'write', 'off']), 'read'),
    // Beside the standard output. Not on Workers and edge functions.
    log_file: optional(logFile),
  },
  objectMessage('write for example { "port": 2081 }'),
  ({ model, mode = model, namedProxies, ...server }) => ({
    ...server,
    trustedProxies: namedProxies ?? USUAL_PROXIES,
    // Those that the file itself names: what keeps others out believes nobody else.
    namedProxies: namedProxies ?? [],
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

const eventsHint = 'write for example { "bytes": 67108864, "days": 2 }'
const eventsSchema = section(
  {
    // Of both files; 0 = in memory alone.
    bytes: optional(wholeNumber('write a number of bytes such as 67108864, or 0', 0), 64 * 2 ** 20),
    days: optional(wholeNumber('write a number of days such as 2', 1, 3_650), 2),
  },
  objectMessage(eventsHint),
  (events) => events,
)

const endpointHint = 'write the address of a collector such as http://localhost:4318'
const sampleWrong = message(
  'must be a number from 0 to 1',
  'write for example 0.1 for a tenth of the requests',
)

const tracesSchema = section(
  {
    endpoint: v.pipe(
      text(endpointHint),
      v.rawTransform(({ dataset, addIssue, NEVER }): string => {
        const url = tracesUrl(dataset.value)
        if (typeof url === 'string') return url
        addIssue({ message: message(url.message, endpointHint) })
        return NEVER
      }),
    ),
    headers: optional(headersSchema, {}),
    // Of the requests that bring no decision along.
    sample: optional(
      v.pipe(v.number(sampleWrong), v.minValue(0, sampleWrong), v.maxValue(1, sampleWrong)),
      1,
    ),
    service_name: optional(trimmedName('write a short name'), 'aiload'),
  },
  objectMessage('write for example { "endpoint": "http://localhost:4318" }', { endpoint: endpointHint }),
  ({ endpoint: url, ...traces }) => ({ ...traces, url }),
)

/** Where a collector takes traces, of its own address or the full one; what is wrong with it repeats nothing of it. */
export function tracesUrl(written: string): string | { readonly message: string } {
  const url = parseBaseUrl(written)
  if (isUrlProblem(url)) return url
  const root = url.root.replace(/\/+$/, '')
  const full = root.endsWith('/v1/traces') ? root : `${root}/v1/traces`
  return url.query === undefined ? full : `${full}?${url.query}`
}

const settingsSchema = section(
  {
    // Longest silence that is accepted from an upstream; never a limit on a live stream.
    timeout: renamed('timeoutMs', optional(positiveSeconds(120), 120)),
    connect_timeout: renamed('connectTimeoutMs', optional(positiveSeconds(5), 5)),
    // Of all upstreams that say nothing else. Absent = the environment's.
    proxy: optional(proxySchema('settings.proxy')),
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
    // What is kept of requests beside the state.
    events: optional(eventsSchema, {}),
    // How long open streams may go on at shutdown.
    drain_timeout: renamed('drainTimeoutMs', optional(seconds(8), 8)),
    // Absent = what the environment says (OTEL_EXPORTER_OTLP_ENDPOINT).
    traces: optional(tracesSchema),
  },
  objectMessage('write for example { "timeout": 120 }'),
  ({ ipHash, affinity = affinityOfIpHash(ipHash), ...settings }) => ({ ...settings, affinity }),
)

const tokenHint = 'write a string, or "" to have a token made at start'
const listedTokenHint = 'write a token or take the item out'
const tokenWith = (hint: string) =>
  v.pipe(
    text(hint),
    check(
      (token) => withoutControls.test(token.trim()),
      'has a control character in it, which no header can carry',
      hint,
    ),
    check((token) => token === '' || token.trim() !== '', 'is only white space', hint),
  )
const listedToken = v.pipe(
  tokenWith(listedTokenHint),
  check((token) => token !== '', 'is empty', listedTokenHint),
)
const listedTokensHint = 'write the tokens that clients may send, or "" to have one made at start'
const listedTokens = v.pipe(
  listOf(listedToken, listedTokensHint),
  v.nonEmpty(message('has no token in it', listedTokensHint)),
)
const authTokens = v.pipe(
  oneOrMany(tokenWith(tokenHint), listedTokens, tokenHint),
  v.transform((written) => unique(written.map((each) => each.trim()).filter((each) => each !== ''))),
)

const quotasHint = 'write for example { "account": { "rpd": 1000 } }'
const modelsHint = 'write at least one model: { "api_key": "…", "base_url": "https://…/v1", "model": "…" }'

/** The configuration: in as people write it, out as the gateway uses it. */
export const configSchema = section(
  {
    $schema: optional(text('write the address of the schema')),
    // All of them open the door; the first is the one that is shown. Empty = none yet: one is made at start, and a reload
    // is refused.
    auth_token: renamed('authTokens', optional(authTokens, '')),
    // Of single clients, beside auth_token.
    tokens: optional(tokensSchema, []),
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
