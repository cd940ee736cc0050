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
import { said, told, weekSeconds, wholeNumber, words } from './rules.ts'
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
    port: said(
      wholeNumber(0, 65_535, 'write for example 2081'),
      'Port to listen on; 0 = any free one. Default: 2081.',
    ),
    host: said(
      v.pipe(
        words('write for example "0.0.0.0"'),
        v.regex(/^\S+$/, told('has white space in it', 'write an address')),
      ),
      'Address to listen on. Default: 0.0.0.0.',
    ),
    mode: said(oneOf(modes), 'Log level: release (also test) or debug. Default: release.'),
    model: said(oneOf(modes), 'The older name of mode.'),
    trusted_proxies: said(
      listOf(proxy, proxiesHint),
      'Peers whose X-Forwarded-For or X-Real-IP is believed; [] = nobody. Default: ["private"].',
    ),
    max_body: said(bytes, 'Bytes; larger requests get 413. Default: 33554432.'),
    max_buffered: said(bytes, 'Bytes of all buffered bodies together; above it 503. Default: 268435456.'),
    cors: said(
      v.union(
        [v.literal('*'), v.literal(false), listOf(origin, corsHint)],
        told('must be "*", a list of origins or false', corsHint),
      ),
      'Origins whose pages may call the gateway. Default: "*".',
    ),
    metrics_public: said(flag(), '/metrics without the token. Default: false.'),
  },
  objectMessage('write for example { "port": 2081 }'),
)

const settingsSchema = v.object(
  {
    timeout: said(
      positiveSeconds(daySeconds, 'write for example 120'),
      'Seconds; longest silence accepted from an upstream. Default: 120.',
    ),
    connect_timeout: said(
      positiveSeconds(daySeconds, 'write for example 5'),
      'Seconds to connect. Default: 5.',
    ),
    strategy: said(oneOf(strategyNames), 'How an upstream is chosen. Default: random.'),
    affinity: said(affinity, 'What makes requests stick to one upstream. Default: ip.'),
    ip_hash: said(flag(), 'true = affinity "ip", false = affinity "off".'),
    affinity_ttl: said(
      positiveSeconds(weekSeconds, 'write for example 300'),
      'Seconds since the last request for which affinity holds. Default: 300.',
    ),
    queue_timeout: said(
      seconds(daySeconds, 'write for example 5'),
      'Seconds that a request may wait for an upstream; 0 = never. Default: 5.',
    ),
    queue_size: said(
      wholeNumber(0, 1_000_000, 'write for example 256'),
      'Requests that may wait at once. Default: 256.',
    ),
    passthrough: said(
      name("write an upstream's name"),
      'Upstream that other /v1/* paths go to. Default: none.',
    ),
    unknown_model: said(oneOf(['reject', 'auto']), 'What any other model name means. Default: reject.'),
    state: said(
      v.picklist(['memory'], ({ input }) => stateMessage(input)),
      'Where cooldowns, quotas and affinity are kept. Default: memory.',
    ),
    max_attempts: said(
      wholeNumber(1, 1_000_000, 'write for example 5; leave it out for no cap'),
      'Cap on attempts for a request. Default: none.',
    ),
    drain_timeout: said(
      seconds(daySeconds, 'write for example 8'),
      'Seconds that open streams may take to finish at shutdown. Default: 8.',
    ),
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
    $schema: said(v.string(told('must be a string', 'write the address of the schema')), 'For editors.'),
    auth_token: said(
      v.pipe(
        v.string(told('must be a string', tokenHint)),
        must(
          // oxlint-disable-next-line no-control-regex
          (token) => !/[\u0000-\u001f\u007f]/.test(token.trim()),
          told('has a control character in it, which no header can carry', tokenHint),
        ),
        must((token) => token === '' || token.trim() !== '', told('is only white space', tokenHint)),
      ),
      'The token that clients send. Empty: one is made at start and written here.',
    ),
    models: v.pipe(listOf(modelSchema, modelsHint), v.nonEmpty(told('is empty', modelsHint))),
    quotas: said(
      v.record(v.string(), limitsSchema, objectMessage('write for example { "account": { "rpd": 1000 } }')),
      'Limits that several upstreams share, by name.',
    ),
    server: said(serverSchema, 'Where and how the gateway listens.'),
    settings: said(settingsSchema, 'How it chooses, waits and gives up.'),
  },
  objectMessage('write { "models": […] }', { models: modelsHint }),
)

/** The file's content once it has been checked. */
export type ConfigFile = v.InferOutput<typeof configSchema>
export type ModelEntry = ConfigFile['models'][number]
