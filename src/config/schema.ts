import * as v from 'valibot'
import { parseRange } from '../lib/ip.ts'
import { endpoints, strategyNames } from '../pool/upstream.ts'
import {
  daySeconds,
  flag,
  headerName,
  headerValue,
  isRefusal,
  isTransportHeader,
  listOf,
  must,
  name,
  objectMessage,
  oneOf,
  oneOrMany,
  parseBaseUrl,
  parseOrigin,
  positiveSeconds,
  seconds,
  told,
  weekSeconds,
  wholeNumber,
  words,
} from './rules.ts'

const zone = 'write "UTC", a zone such as "America/Los_Angeles", or "rolling"'
const zoneMessage = told('is no time zone', zone)
const count = v.exactOptional(
  wholeNumber(1, Number.MAX_SAFE_INTEGER, 'write a number such as 10; leave it out for no limit'),
)

/** The limits of one upstream, or of a quota that several share. */
const limitsSchema = v.object(
  {
    rpm: count,
    rpd: count,
    tpm: count,
    tpd: count,
    concurrency: count,
    day_resets: v.exactOptional(v.pipe(v.string(zoneMessage), must(isDayReset, zoneMessage))),
  },
  objectMessage('write for example { "rpm": 10, "rpd": 1000 }'),
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
  v.string(told('must be a string', keyHint)),
  must(
    (key) => headerValue.test(key.trim()),
    told('has a character that no header can carry', 'copy the key again'),
  ),
)
const listedKey = v.pipe(
  apiKey,
  must((key) => key.trim() !== '', told('is empty', 'write a key or take the item out')),
)

const baseUrl = v.pipe(
  v.string(told('must be a string', urlHint)),
  v.rawCheck(({ dataset, addIssue }) => {
    const url = dataset.typed ? parseBaseUrl(dataset.value) : undefined
    if (url && isRefusal(url)) addIssue({ message: told(url.message, url.hint) })
  }),
)

const headers = v.record(
  v.pipe(
    v.string(),
    must((key) => headerName.test(key), told('is no header name', 'use letters, digits and -')),
    must(
      (key) => !isTransportHeader(key),
      told('is a header that the connection sets by itself', 'take it out'),
    ),
  ),
  v.pipe(
    v.string(told('must be a string', headersHint)),
    must((value) => headerValue.test(value), told('has a character that no header can carry', headersHint)),
  ),
  objectMessage(headersHint),
)

const groupName = name('write the name that clients will ask for')
const quotaName = name('write the name of an entry of quotas')

/** One entry of `models`: a model at one endpoint, with one key or several. */
const modelSchema = v.object(
  {
    base_url: baseUrl,
    model: words('write the name that the vendor gives the model'),
    api_key: v.exactOptional(
      oneOrMany(
        apiKey,
        v.pipe(listOf(listedKey, keyHint), v.nonEmpty(told('has no key in it', keyHint))),
        keyHint,
      ),
    ),
    name: v.exactOptional(name('write a short name')),
    endpoints: v.exactOptional(
      v.pipe(
        listOf(oneOf(endpoints), 'write for example ["chat", "embeddings"]'),
        v.nonEmpty(told('is empty', 'list what it serves, or leave it out for all')),
      ),
    ),
    groups: v.exactOptional(listOf(groupName, 'write for example ["fast"]')),
    weight: v.exactOptional(
      v.pipe(
        v.number(told('must be a number above 0', 'write a number such as 1')),
        v.gtValue(
          0,
          told('must be a number above 0', 'write a number such as 1, or "enabled": false to leave it out'),
        ),
        v.finite(told('must be a finite number', 'write a number such as 1')),
      ),
    ),
    priority: v.exactOptional(
      wholeNumber(-1_000_000, 1_000_000, 'write 0 for the first tier, 1 for the next'),
    ),
    limits: v.exactOptional(limitsSchema),
    quota: v.exactOptional(
      oneOrMany(
        quotaName,
        listOf(quotaName, 'write names of quotas'),
        'write a name of quotas or a list of them',
      ),
    ),
    headers: v.exactOptional(headers),
    timeout: v.exactOptional(positiveSeconds(daySeconds, 'write for example 120')),
    enabled: v.exactOptional(flag()),
  },
  objectMessage('write for example { "base_url": "https://api.openai.com/v1", "model": "gpt-4o" }', {
    base_url: urlHint,
    model: 'write the name that the vendor gives the model',
  }),
)

const bytes = wholeNumber(1, Number.MAX_SAFE_INTEGER, 'write a number of bytes such as 33554432')
const modes = ['release', 'test', 'debug'] as const
const proxiesHint = 'write "private", an address such as 10.0.0.1, or a range such as 10.0.0.0/8'
const corsHint = 'write "*", a list such as ["https://app.example.com"], or false'
const affinityHint = 'write "ip", "conversation", "user", "token", "header:<name>" or "off"'
const tokenHint = 'write a string, or "" to have a token made at start'

const proxy = v.pipe(
  v.string(told('must be a string', proxiesHint)),
  must(
    (text) => text === 'private' || parseRange(text) !== undefined,
    told('is no address and no range', proxiesHint),
  ),
)

const origin = v.pipe(
  v.string(told('must be a string', corsHint)),
  must(
    (text) => parseOrigin(text) !== undefined,
    told('is no origin', 'write scheme://host[:port] without a path'),
  ),
)

const affinity = v.pipe(
  v.string(told('must be a string', affinityHint)),
  v.regex(/^(?:ip|conversation|user|token|off|header:.*)$/s, told('is not a known value', affinityHint)),
  must(
    (text) => !text.startsWith('header:') || headerName.test(text.slice('header:'.length)),
    told('has no header name after the colon', affinityHint),
  ),
)

const serverSchema = v.object(
  {
    port: v.exactOptional(wholeNumber(0, 65_535, 'write for example 2081')),
    host: v.exactOptional(
      v.pipe(
        words('write for example "0.0.0.0"'),
        v.regex(/^\S+$/, told('has white space in it', 'write an address')),
      ),
    ),
    mode: v.exactOptional(oneOf(modes)),
    model: v.exactOptional(oneOf(modes)),
    trusted_proxies: v.exactOptional(listOf(proxy, proxiesHint)),
    max_body: v.exactOptional(bytes),
    max_buffered: v.exactOptional(bytes),
    cors: v.exactOptional(
      v.union(
        [v.literal('*'), v.literal(false), listOf(origin, corsHint)],
        told('must be "*", a list of origins or false', corsHint),
      ),
    ),
    metrics_public: v.exactOptional(flag()),
  },
  objectMessage('write for example { "port": 2081 }'),
)

/** People who plan replicas write an address of a store; the address may hold a password and is not repeated. */
const stateMessage = (input: unknown): string =>
  typeof input === 'string' && /^rediss?:/i.test(input)
    ? told('names a Redis store, which this version can not use yet', 'write "memory" or leave it out')
    : told('is not a known value', 'write "memory" or leave it out')

const settingsSchema = v.object(
  {
    timeout: v.exactOptional(positiveSeconds(daySeconds, 'write for example 120')),
    connect_timeout: v.exactOptional(positiveSeconds(daySeconds, 'write for example 5')),
    strategy: v.exactOptional(oneOf(strategyNames)),
    affinity: v.exactOptional(affinity),
    ip_hash: v.exactOptional(flag()),
    affinity_ttl: v.exactOptional(positiveSeconds(weekSeconds, 'write for example 300')),
    queue_timeout: v.exactOptional(seconds(daySeconds, 'write for example 5')),
    queue_size: v.exactOptional(wholeNumber(0, 1_000_000, 'write for example 256')),
    passthrough: v.exactOptional(name("write an upstream's name")),
    unknown_model: v.exactOptional(oneOf(['reject', 'auto'])),
    state: v.exactOptional(v.picklist(['memory'], ({ input }) => stateMessage(input))),
    max_attempts: v.exactOptional(wholeNumber(1, 1_000_000, 'write for example 5; leave it out for no cap')),
    drain_timeout: v.exactOptional(seconds(daySeconds, 'write for example 8')),
  },
  objectMessage('write for example { "timeout": 120 }'),
)

const modelsHint = 'write at least one model: { "api_key": "…", "base_url": "https://…/v1", "model": "…" }'

/** The configuration file as people write it: names and units of the file, nothing applied yet. */
export const configSchema = v.object(
  {
    $schema: v.exactOptional(v.string(told('must be a string', 'write the address of the schema'))),
    auth_token: v.exactOptional(
      v.pipe(
        v.string(told('must be a string', tokenHint)),
        must(
          // oxlint-disable-next-line no-control-regex
          (token) => !/[\u0000-\u001f\u007f]/.test(token.trim()),
          told('has a control character in it, which no header can carry', tokenHint),
        ),
        must((token) => token === '' || token.trim() !== '', told('is only white space', tokenHint)),
      ),
    ),
    models: v.pipe(listOf(modelSchema, modelsHint), v.nonEmpty(told('is empty', modelsHint))),
    quotas: v.exactOptional(
      v.record(v.string(), limitsSchema, objectMessage('write for example { "account": { "rpd": 1000 } }')),
    ),
    server: v.exactOptional(serverSchema),
    settings: v.exactOptional(settingsSchema),
  },
  objectMessage('write { "models": […] }', { models: modelsHint }),
)

/** The file's content once it has been checked. */
export type ConfigFile = v.InferOutput<typeof configSchema>
export type ModelEntry = ConfigFile['models'][number]
