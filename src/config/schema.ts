import * as v from 'valibot'
import { strategyNames } from '../pool/vocabulary.ts'
import { headerName } from './header-rules.ts'
import { parseRange } from '../lib/cidr.ts'
import { parseOrigin } from './origin.ts'
import {
  daySeconds,
  flag,
  listOf,
  must,
  name,
  objectMessage,
  oneOf,
  positiveSeconds,
  seconds,
} from './rules.ts'
import { told, weekSeconds, wholeNumber, words } from './rules.ts'
import { limitsSchema } from './schema-limits.ts'
import { modelSchema } from './schema-model.ts'

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

/** People who plan replicas write an address of a store; the address may hold a password and is not repeated. */
const stateMessage = (input: unknown): string =>
  typeof input === 'string' && /^rediss?:/i.test(input)
    ? told('names a Redis store, which this version can not use yet', 'write "memory" or leave it out')
    : told('is not a known value', 'write "memory" or leave it out')

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
