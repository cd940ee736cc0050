import * as v from 'valibot'
import { type MemberEdit, renameEdit, valueEdit } from '../lib/json/edit.ts'
import { abilities, type Ability, SPAN_MS } from '../pool/outcome.ts'
import type { Trust } from '../pool/route.ts'
import { type BodyEdits, endpoints, type Limits, type LimitWindow, spanMsOf } from '../pool/upstream.ts'
import { proxySchema } from './proxy.ts'
import {
  type BaseUrl,
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
  positiveSeconds,
  renamed,
  section,
  singleLineText,
  text,
  transportHeader,
  unique,
  wholeNumber,
} from './rules.ts'

/* One entry of `models`, and limits, which `quotas` has too. How entries are written: `schema.ts`. */

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

export interface WrittenWindow {
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

const limitEntries = {
  rpm: count,
  rpd: count,
  tpm: count,
  tpd: count,
  concurrency: count,
  windows: optional(windowsSchema, []),
  day_resets: optional(dayReset, 'UTC'),
}
const limitsMessage = objectMessage('write for example { "rpm": 10, "rpd": 1000 }')

/** The limits of one upstream, or of a quota that several share. */
export const limitsSchema = section(limitEntries, limitsMessage, (limits) => limitsFrom(limits))

/** Those of a client token, and the zone whose calendar its days are of. */
export const tokenLimitsSchema = section(limitEntries, limitsMessage, (limits) => ({
  limits: limitsFrom(limits),
  zone: limits.dayResets === 'rolling' ? 'UTC' : limits.dayResets,
}))

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
/** Request headers; names become lower-case. */
export const headersSchema = v.pipe(
  v.record(configuredName, configuredValue, objectMessage(headersHint)),
  v.transform((written): Readonly<Record<string, string>> => {
    const fields = Object.entries(written).map(([name, value]) => [name.toLowerCase(), value.trim()])
    return Object.fromEntries(fields) as Record<string, string>
  }),
)

export const trimmedName = (right: string) => v.pipe(singleLineText(right), v.trim())
export const modelNameHint = 'write the name that the vendor gives the model'
const globsHint = 'write "*" for all, or a list such as ["llama-*", "!*guard*"]'
const modelGlob = nonEmptyText(globsHint)
const modelGlobs = oneOrMany(
  modelGlob,
  v.pipe(listOf(modelGlob, globsHint), v.nonEmpty(message('is empty', globsHint))),
  globsHint,
)
const vendorName = trimmedName('write the name of a vendor such as "groq"')
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

const paramsHint = 'write for example { "set": { "temperature": 0 }, "drop": ["seed"] }'

/** A field of requests that may be called otherwise. */
const fieldName = v.pipe(
  text(paramsHint),
  v.regex(
    /^[A-Za-z_][\w.-]{0,63}$/,
    message('is not the name of a field', 'use letters, digits, _, - and . only'),
  ),
  check((name) => name !== 'model', 'is the name of the model, which models[].model gives', 'write it there'),
  check(
    (name) => name !== 'stream',
    'decides whether the answer is a stream, which is up to the client',
    'take it out',
  ),
)
const questions = new Set(['messages', 'input', 'prompt'])
/** One that may be given or taken away too. */
const parameterName = v.pipe(
  fieldName,
  check((name) => !questions.has(name), 'is the question itself, which is up to the client', 'take it out'),
)
const parameterValues = v.record(parameterName, v.unknown(), objectMessage(paramsHint))

const paramsSchema = v.pipe(
  section(
    {
      set: optional(parameterValues, {}),
      default: optional(parameterValues, {}),
      drop: optional(listOf(parameterName, 'write for example ["seed"]'), []),
      rename: optional(
        v.record(
          fieldName,
          fieldName,
          objectMessage('write for example { "max_completion_tokens": "max_tokens" }'),
        ),
        {},
      ),
    },
    objectMessage(paramsHint),
    (params) => params,
  ),
  check(
    ({ set, default: absent, drop, rename }) =>
      isUnique([...Object.keys(set), ...Object.keys(absent), ...unique(drop), ...Object.keys(rename)]),
    'has one field in two of set, default, drop and rename',
    'keep it in one of them',
  ),
  check(
    ({ rename }) => isUnique(Object.values(rename)),
    'renames two fields to the same name',
    'rename one of them',
  ),
  check(
    ({ drop, rename }) => !Object.values(rename).some((to) => drop.includes(to) || Object.hasOwn(rename, to)),
    'renames a field to one that it drops or renames',
    'name the field that the upstream should get',
  ),
  v.transform((params) => bodyEditsOf(params)),
)

const isUnique = (names: readonly string[]): boolean => new Set(names).size === names.length

interface WrittenParams {
  readonly set: Readonly<Record<string, unknown>>
  readonly default: Readonly<Record<string, unknown>>
  readonly drop: readonly string[]
  readonly rename: Readonly<Record<string, string>>
}

function bodyEditsOf({ set, default: absent, drop, rename }: WrittenParams): BodyEdits | undefined {
  const streamed = new Map<string, MemberEdit>([
    ...drop.map((name) => [name, { kind: 'drop' }] as const),
    ...Object.entries(rename).map(([name, to]) => [name, renameEdit(to)] as const),
    ...Object.entries(absent).map(([name, value]) => [name, valueEdit('default', name, value)] as const),
    ...Object.entries(set).map(([name, value]) => [name, valueEdit('set', name, value)] as const),
  ])
  if (streamed.size === 0) return undefined
  const whole = new Map(streamed)
  // "Only set this when you set `stream: true`" (OpenAI's reference of chat completions): vendors refuse it elsewhere.
  if (Object.hasOwn(set, 'stream_options') || Object.hasOwn(absent, 'stream_options'))
    whole.delete('stream_options')
  return { streamed, whole }
}

const tlsHint = 'write for example { "ca": "/etc/ssl/own-ca.pem" }'
const tlsSchema = v.pipe(
  v.object(
    {
      // A file, or the certificates themselves. The adapters that have files put the text in its place.
      ca: optional(nonEmptyText(tlsHint)),
      insecure: optional(booleanFlag()),
    },
    objectMessage(tlsHint),
  ),
  v.transform(({ ca, insecure }): Trust => ({
    ...(ca !== undefined && { ca }),
    ...(insecure && { insecure }),
  })),
)

export const modelSchema = section(
  {
    // The id of a preset, which gives what the entry leaves out.
    vendor: optional(v.pipe(vendorName, v.toLowerCase())),
    // Becomes `root` and `query`, see `parseBaseUrl`. There, or given by the preset: `crossCheck`.
    base_url: optional(baseUrl),
    // The name sent to the upstream, as written. This, `models` or `vendor` is there.
    model: optional(nonEmptyText(modelNameHint)),
    // Globs; what the upstream's own list of models has of them is served.
    models: optional(v.pipe(modelGlobs, v.transform(unique))),
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
    headers: optional(headersSchema, {}),
    // Absent = that of `settings`.
    timeout: renamed('timeoutMs', optional(positiveSeconds(120))),
    // Tokens of input and output together. Absent = learned.
    context: renamed('contextTokens', optional(wholeNumber('write a number of tokens such as 128000', 1))),
    // What the model can do; what is not said is learned.
    can: optional(canSchema),
    // What changes in the bodies of requests; bytes that are made once.
    params: renamed('edits', optional(paramsSchema)),
    // Absent = that of `settings`, else the environment's, which `loadSource` puts here.
    proxy: optional(proxySchema('models[].proxy')),
    tls: renamed('trust', optional(tlsSchema)),
    enabled: optional(booleanFlag(), true),
  },
  objectMessage('write for example { "base_url": "https://api.openai.com/v1", "model": "gpt-4o" }'),
  ({ baseUrl: { root, query } = NO_URL, ...model }) => ({
    ...model,
    root,
    ...(query !== undefined && { query }),
  }),
)

/** Of an entry that is refused for the want of one. */
const NO_URL: BaseUrl = { root: '' }
