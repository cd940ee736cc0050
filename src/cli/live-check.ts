import { PerformanceObserver } from 'node:perf_hooks'
import { createNodeTransport } from '../adapter/node/transport.ts'
import { nearestName } from '../config/checks.ts'
import type { Config } from '../config/config.ts'
import { discoveriesOf, matchesGlobs, upstreamsOf } from '../config/upstreams.ts'
import { createClock } from '../adapter/gateway.ts'
import { type Cause, type MeterReading, SPAN_MS } from '../pool/outcome.ts'
import type { Upstream } from '../pool/upstream.ts'
import { sourceKeyOf } from '../relay/discovery.ts'
import { inTheirLanguage } from './language.ts'
import { createProber, type Probe, type Step, type StepFailure } from './probe.ts'
import { countText, firstOf, tableLines } from './terminal-text.ts'

/** What came of asking all upstreams. */
interface LiveCheck {
  readonly ok: boolean
  /** For programs. */
  readonly upstreams: readonly object[]
  /** For people. */
  readonly lines: readonly string[]
}

/** Upstreams that are asked at the same time. */
const AT_ONCE = 8

/** Asks every enabled upstream what it could serve, in a free way unless `spend`. */
export async function askUpstreams(config: Config, { spend }: { spend: boolean }): Promise<LiveCheck> {
  const send = createNodeTransport()
  const clock = createClock()
  const prober = createProber({ send, now: clock.now, wall: clock.wall })
  const connections = watchConnections()
  const { upstreams, unmatched, spendOn } = await withDiscovered(prober, config)
  const asked = upstreams.filter(({ enabled }) => enabled)
  const probes = await atOnce(asked, (one) => prober.probe(one, { spend: spend && spendOn.has(one.id) }))
  probes.push(...unmatched)
  await send.close()
  const timesOf = connections.end()
  const disabled = upstreams.filter(({ enabled }) => !enabled)
  const able = probes.filter(({ ok }) => ok).length
  return {
    ok: able === probes.length,
    upstreams: [...probes.map((one) => probeForPrograms(one, timesOf)), ...disabled.map(disabledForPrograms)],
    lines: [
      ...tableLines([
        ['UPSTREAM', 'MODEL', 'RESULT', 'TIME', 'CAN', 'LIMITS'].map(inTheirLanguage),
        ...probes.map((one) => rowOf(one, timesOf)),
        ...disabled.map(({ name, model }) => [name, model, inTheirLanguage('disabled, not asked')]),
      ]),
      ...probes.flatMap(trouble).map(inTheirLanguage),
      inTheirLanguage(`${able} of ${countText(probes.length, 'upstream')} could serve`),
    ],
  }
}

/** The results of a task for each, in their order; eight are under way at the same time. */
async function atOnce<From, To>(all: readonly From[], task: (one: From) => Promise<To>): Promise<To[]> {
  const results: To[] = []
  const left = [...all.entries()]
  const work = async (): Promise<void> => {
    for (let next = left.shift(); next !== undefined; next = left.shift())
      results[next[0]] = await task(next[1])
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return results
}

/**
 * The upstreams of a configuration, with those that its globs find in the lists of models. Globs that find none are as good
 * as an upstream that could not serve. Of many that one key's list has, the first chat is asked for all where that costs.
 */
async function withDiscovered({ listOf }: ReturnType<typeof createProber>, config: Config) {
  const { connectTimeoutMs, timeoutMs } = config.settings
  const found = await atOnce(discoveriesOf(config), async (wanted) => {
    const list = await listOf({ ...wanted.source, connectTimeoutMs, timeoutMs })
    return { ...wanted, list, key: sourceKeyOf(wanted.source) }
  })
  const lists = new Map(found.map(({ key, list }) => [key, list.models ?? []]))
  const upstreams = upstreamsOf(config, (source) => lists.get(sourceKeyOf(source)))
  const unmatched = found
    .filter(({ globs, list }) => !list.models?.some(({ id }) => matchesGlobs(id, globs)))
    .map(({ entry: { name, root }, globs, list }): Probe => {
      const upstream = { name: name ?? new URL(root).host, model: globs.join(' '), root }
      const names = list.models?.map(({ id }) => id)
      const isListed = names?.length ? false : undefined
      return { upstream, ok: false, list, names, isListed, can: {}, limits: [] }
    })
  const chosen = new Map<string, string>()
  for (const one of upstreams) {
    const { presumed, endpoints, id } = one
    const key = sourceKeyOf(one)
    const isChat = (presumed?.endpoints ?? endpoints).has('chat')
    if (!lists.has(key)) chosen.set(id, id)
    else if (isChat && !chosen.has(key)) chosen.set(key, id)
  }
  return { upstreams, unmatched, spendOn: new Set(chosen.values()) }
}

/** Ms that the first look-up of a name and the first connection to an address took. */
interface ConnectionTimes {
  readonly lookupMs?: number | undefined
  readonly connectMs?: number | undefined
}

/** An entry of the kinds `dns` and `net`, of which Node's types do not know the details. */
interface ConnectionEntry {
  readonly entryType: string
  readonly duration: number
  readonly detail: {
    readonly hostname?: string
    readonly addresses?: readonly { readonly address: string }[]
    readonly host?: string
    readonly port?: number
  }
}

/**
 * Watches Node's own account of name look-ups and connections: the transport is the gateway's and has no word for them.
 * Through a proxy the name is not looked up here.
 */
function watchConnections() {
  const all: ConnectionEntry[] = []
  const take = (entries: readonly object[]): void => void all.push(...(entries as readonly ConnectionEntry[]))
  const observer = new PerformanceObserver((list) => take(list.getEntries()))
  observer.observe({ entryTypes: ['dns', 'net'] })
  return {
    end() {
      take(observer.takeRecords())
      observer.disconnect()
      return (root: string): ConnectionTimes => timesAmong(all, new URL(root))
    },
  }
}

function timesAmong(entries: readonly ConnectionEntry[], { hostname, port, protocol }: URL): ConnectionTimes {
  const named = hostname.replace(/^\[|\]$/g, '')
  const usedPort = Number(port) || (protocol === 'https:' ? 443 : 80)
  const lookup = entries.find(({ entryType, detail }) => entryType === 'dns' && detail.hostname === named)
  const hosts = new Set([named, ...(lookup?.detail.addresses ?? []).map(({ address }) => address)])
  const connect = entries.find(
    ({ entryType, detail: { host = '', port: to } }) =>
      entryType === 'net' && to === usedPort && hosts.has(host),
  )
  return { lookupMs: lookup?.duration, connectMs: connect?.duration }
}

/** The keys of `--json`, which stay what they are. */
function probeForPrograms(one: Probe, timesOf: (root: string) => ConnectionTimes) {
  const { upstream, ok, list, isListed, chat, stream, can, contextTokens, limits } = one
  const { lookupMs, connectMs } = timesOf(upstream.root)
  return {
    name: upstream.name,
    model: upstream.model,
    host: new URL(upstream.root).host,
    enabled: true,
    ok,
    lookup_ms: roundedMs(lookupMs),
    connect_ms: roundedMs(connectMs),
    models: { ...stepForPrograms(list), listed: isListed ?? null },
    chat: chat === undefined ? null : stepForPrograms(chat),
    stream: stream === undefined ? null : stepForPrograms(stream),
    can,
    context: contextTokens ?? null,
    limits: limits.map(({ meter, counts, limit, remaining, spanMs, resetMs }) => ({
      meter,
      counts,
      limit: limit ?? null,
      left: remaining,
      span_ms: spanMs ?? null,
      reset_ms: resetMs ?? null,
    })),
  }
}

const disabledForPrograms = ({ name, model, root }: Upstream) => ({
  name,
  model,
  host: new URL(root).host,
  enabled: false,
})

const roundedMs = (ms: number | undefined) => (ms === undefined ? null : Math.round(ms))

function stepForPrograms({ ms, failure }: Step) {
  if (failure === undefined) return { ms: roundedMs(ms), error: null }
  const { at, cause, status = null, reason = null, words: message = null, url } = failure
  return { ms: roundedMs(ms), error: { at, cause, status, reason, message, url } }
}

function rowOf(one: Probe, timesOf: (root: string) => ConnectionTimes): string[] {
  const { upstream, list, chat, stream, can, contextTokens, limits } = one
  const { lookupMs, connectMs } = timesOf(upstream.root)
  const taken = { name: lookupMs, connect: connectMs, models: list.ms, chat: chat?.ms, stream: stream?.ms }
  const times = Object.entries(taken).flatMap(([what, ms]) =>
    ms === undefined ? [] : [`${what} ${Math.round(ms)} ms`],
  )
  const able = Object.entries(can).flatMap(([name, is]) => (is ? [name] : [`no ${name}`]))
  const context = contextTokens === undefined ? [] : [`context ${contextTokens}`]
  return [
    upstream.name,
    upstream.model,
    inTheirLanguage(resultOf(one)),
    times.join(', '),
    [...able, ...context].join(', '),
    inTheirLanguage(limits.map(limitText).join('; ')),
  ]
}

const SHORT: Readonly<Record<Cause, string>> = {
  'rate-limited': 'limited now',
  overloaded: 'too busy now',
  quota: 'quota spent',
  auth: 'key refused',
  'not-found': 'not found',
  failure: 'fails',
}

const failureText = ({ cause, status, reason }: StepFailure): string =>
  (reason ?? SHORT[cause]) + (status === undefined ? '' : ` (${status})`)

/** The failure that counts: of what was spent, where something was. */
const failureOf = ({ list, chat, stream }: Probe): StepFailure | undefined =>
  chat === undefined ? list.failure : (chat.failure ?? stream?.failure)

function resultOf(one: Probe): string {
  const { ok, isListed, chat } = one
  if (ok) return chat === undefined ? 'has the model' : 'answers, streams'
  const failure = failureOf(one)
  if (failure === undefined) return isListed === false ? 'lists no such model' : 'has no list of models'
  return failure.at === 'stream' ? `answers; as a stream: ${failureText(failure)}` : failureText(failure)
}

/** More of an upstream that could not serve, with what would be right. */
function trouble(one: Probe): string[] {
  const { upstream, ok, names = [], isListed } = one
  if (ok) return []
  const failure = failureOf(one)
  if (failure !== undefined) {
    const { url, words, cause } = failure
    const said = words === undefined ? `: ${inTheirLanguage(failureText(failure))}` : ` says: ${words}`
    const hint =
      failure.at === 'models' && cause === 'not-found'
        ? '; models[].base_url may be wrong, or it has no list: --spend asks the model itself'
        : ''
    return [`${upstream.name}: ${url}${said}${inTheirLanguage(hint)}`]
  }
  if (isListed === undefined)
    return [`${upstream.name}: its /models is no list of models; --spend asks the model itself`]
  const near = nearestName(upstream.model, names)
  const meant = near === undefined ? `it has ${firstOf(names, MOST_NAMES)}` : `did you mean ${near}?`
  return [`${upstream.name}: its list of models has no "${upstream.model}"; ${meant}`]
}

const MOST_NAMES = 6

function limitText({ counts, limit, remaining, spanMs }: MeterReading): string {
  const span = Object.entries(SPAN_MS).find(([, ms]) => ms === spanMs)?.[0]
  const per = span === undefined ? '' : ` per ${span}`
  return `${counts}${per}: ${remaining}${limit === undefined ? '' : ` of ${limit}`} left`
}
