import { GatewayError } from '../errors.ts'
import { clientAddress } from '../lib/ip.ts'
import { affinityKeyOf, answerIdsOf } from '../openai/affinity-key.ts'
import { estimateOf, parseBody, type ParsedBody } from '../openai/request.ts'
import type { Pool, Pools } from '../pool/pool.ts'
import type { Endpoint, Upstream } from '../pool/upstream.ts'
import { forwardedHeaders } from '../relay/headers.ts'
import { isBodiless } from '../lib/headers.ts'
import { passOn } from '../relay/passthrough.ts'
import { relay } from '../relay/relay.ts'
import type { RelayAnswer, RelayRequest } from '../relay/request.ts'
import type { Visit } from './context.ts'
import type { AppDeps } from './deps.ts'
import { unknownModel } from './models.ts'

/** A relayed path in its plain spelling, and what it asks for. */
interface Relayed {
  readonly path: string
  readonly endpoint: Endpoint
}

/**
 * The flow of a relayed request, top to bottom: the body is read and its model found, the pool and the
 * affinity key follow from them, the relay chooses and tries, and its body goes to the client as it comes.
 */
export async function relayRoute(visit: Visit, relayed: Relayed, deps: AppDeps): Promise<Response> {
  const { arrival, setup } = visit
  const bytes = await arrival.readBody({ maxBytes: setup.config.server.maxBodyBytes, memory: deps.memory })
  try {
    const body = parseBody(bytes, arrival.headers['content-type'] ?? '')
    visit.asked = body.model.slice(0, LONGEST_TOLD)
    const request = requestOf(visit, relayed, body)
    visit.isTold = true
    const answer = await relay({ request, settings: setup.config.settings, traffic: deps.traffic, deps })
    return handOn(visit, answer, deps)
  } finally {
    deps.memory.free(bytes.length)
  }
}

/** Longer than any model's name; what a client sends instead is not kept for the log. */
const LONGEST_TOLD = 256

function requestOf(visit: Visit, { path, endpoint }: Relayed, body: ParsedBody): RelayRequest {
  const { arrival, setup, query, id, since, asked } = visit
  const { headers } = arrival
  const pool = poolOf(setup.pools, body.model, endpoint)
  const estimate = body.scan === undefined ? undefined : estimateOf(body.scan, endpoint)
  const rule = setup.config.settings.affinity
  const address = rule.kind === 'ip' ? addressOf(visit) : ''
  return {
    id,
    endpoint,
    path,
    query,
    pool,
    asked,
    headers: forwardedHeaders(headers),
    bodyFor: (upstream) => body.withModel(upstream.model),
    stream: body.stream,
    inputTokens: estimate?.inputTokens,
    outputTokens: estimate?.outputTokens,
    choices: estimate?.choices ?? 1,
    affinityKey: affinityKeyOf({ rule, poolId: pool.id, address, headers, scan: body.scan }),
    answerIds: endpoint === 'responses' ? answerIdsOf(body.scan) : [],
    gone: arrival.gone,
    since,
  }
}

function addressOf({ arrival, setup }: Visit): string {
  return clientAddress({
    peer: arrival.peer,
    forwardedFor: arrival.headers['x-forwarded-for'],
    realIp: arrival.headers['x-real-ip'],
    trusted: setup.trusted,
  })
}

/**
 * The pool that a request goes to; never an empty one.
 *
 * @throws GatewayError `model_not_found` for a name that nobody has, `unsupported_endpoint` where those who have it
 * do not serve the endpoint, `no_upstream` where those who do are disabled
 */
function poolOf(pools: Pools, model: string, endpoint: Endpoint): Pool {
  const pool = pools.poolFor(model, endpoint)
  if (pool === undefined) throw unknownModel(pools.listedNames, model)
  if (pool.upstreams.length === 0) throw nobodyServes(pools.upstreams, model, endpoint)
  return pool
}

function nobodyServes(upstreams: readonly Upstream[], model: string, endpoint: Endpoint): GatewayError {
  const named = upstreams.filter((upstream) => isCalled(upstream, model))
  const meant = named.length === 0 ? upstreams : named
  const name = named.length === 0 ? 'auto' : model
  if (meant.some(({ endpoints }) => endpoints.has(endpoint))) {
    return new GatewayError(
      'no_upstream',
      `Every upstream of "${name}" that serves "${endpoint}" is disabled (models[].enabled).`,
    )
  }
  const others = upstreams
    .filter(({ enabled, endpoints }) => enabled && endpoints.has(endpoint))
    .map((upstream) => upstream.model)
  const hint = others.length === 0 ? 'no other model does' : `these do: ${[...new Set(others)].join(', ')}`
  const message = `No upstream of "${name}" serves "${endpoint}" (models[].endpoints); ${hint}.`
  return new GatewayError('unsupported_endpoint', message, { param: 'model' })
}

function isCalled({ model, name, groups }: Upstream, asked: string): boolean {
  return model === asked || name === asked || groups.includes(asked)
}

/** One attempt at one upstream with method, path, query and body as they came; its answer goes back as it is. */
export async function passOnRoute(
  visit: Visit,
  { upstream, path }: { upstream: Upstream; path: string },
  deps: AppDeps,
): Promise<Response> {
  const { arrival, setup, request, query, id, since } = visit
  refuseDots(path)
  if (!upstream.enabled)
    throw new GatewayError('no_upstream', 'The upstream that this path is passed on to is disabled.')
  const bytes = await arrival.readBody({ maxBytes: setup.config.server.maxBodyBytes, memory: deps.memory })
  try {
    const headers = forwardedHeaders(arrival.headers)
    visit.isTold = true
    const answer = await passOn(
      { id, method: request.method, path, query, headers, body: bytes, gone: arrival.gone, since },
      { upstream, settings: setup.config.settings, traffic: deps.traffic, deps },
    )
    return handOn(visit, answer, deps)
  } finally {
    deps.memory.free(bytes.length)
  }
}

/** Segments that climb, also spelt with escapes or backslashes, would leave the upstream's root. */
const DOTS = /(?:^|[/\\]|%2f|%5c)(?:\.|%2e){1,2}(?:$|[/\\]|%2f|%5c)/i

function refuseDots(path: string): void {
  if (DOTS.test(path))
    throw new GatewayError('not_found', 'The path has dot segments, which are not passed on.')
}

/**
 * An upstream's answer on its way to the client: its status and body, allow-listed headers, and ours.
 *
 * Runtimes refuse even an empty body where HTTP allows none.
 */
function handOn(visit: Visit, answer: RelayAnswer, deps: AppDeps): Response {
  const { status, body } = answer
  const headers = Object.assign(answerHeaders(answer), visit.ownHeaders)
  return deps.respond(
    { status, headers, body: isBodiless(visit.request.method, status) ? null : body },
    visit.env,
  )
}

/**
 * What of an upstream's answer a client may see, next to `retry-after*` and `x-ratelimit-*`. Never cookies, banners,
 * organisation ids or a `location`; `content-length` is the server's own.
 */
const ALLOWED = new Set(['content-type', 'cache-control', 'openai-processing-ms'])

function isAllowed(name: string): boolean {
  return ALLOWED.has(name) || name.startsWith('retry-after') || name.startsWith('x-ratelimit-')
}

/** Header values that a runtime refuses would break an answer that is already there. */
const IS_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

const IS_EVENT_STREAM = /^\s*text\/event-stream/i

/** The client's headers of an upstream's answer. */
function answerHeaders(answer: Omit<RelayAnswer, 'status' | 'body'>): Record<string, string> {
  const headers: Record<string, string> = {}
  const { headers: given, upstream } = answer
  for (const name in given) {
    const value = given[name]
    if (value !== undefined && isAllowed(name) && IS_VALUE.test(value)) headers[name] = value
  }
  headers['x-model'] = encodedWhereNeeded(upstream.model)
  headers['x-aiload-upstream'] = encodedWhereNeeded(upstream.name)
  headers['x-aiload-attempts'] = String(answer.attempts)
  // Without it nginx holds events back until a buffer is full.
  if (IS_EVENT_STREAM.test(headers['content-type'] ?? '')) headers['x-accel-buffering'] = 'no'
  return headers
}

const IS_PLAIN = /^[\x21-\x24\x26-\x7e]+$/

/** A name may be any Unicode and a header may not: then it is percent-encoded as UTF-8, `%` included. */
export function encodedWhereNeeded(name: string): string {
  return IS_PLAIN.test(name) ? name : encodeURIComponent(name.replaceAll(/\p{Surrogate}/gu, '\ufffd'))
}
