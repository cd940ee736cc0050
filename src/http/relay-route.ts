import { GatewayError } from '../errors.ts'
import { clientAddress } from '../lib/ip.ts'
import { affinityKeyOf, answerIdsOf } from '../openai/affinity-key.ts'
import { createBodyParser, estimateOf, type ParsedBody } from '../openai/request.ts'
import type { Pool, Pools } from '../pool/pool.ts'
import type { Endpoint, Upstream } from '../pool/upstream.ts'
import { answerHeaders, forwardedHeaders } from '../relay/headers.ts'
import { isBodiless } from '../lib/headers.ts'
import { passthrough } from '../relay/passthrough.ts'
import { relay } from '../relay/relay.ts'
import type { RelayAnswer, RelayRequest } from '../relay/request.ts'
import type { RequestContext } from './context.ts'
import { codingsOf } from './content-coding.ts'

/** A relayed path in its plain spelling, and what it asks for. */
type RelayedPath = Pick<RelayRequest, 'path' | 'endpoint'>

/**
 * The flow of a relayed request, top to bottom: the body is read and its model found, the pool and the
 * affinity key follow from them, the relay chooses and tries, and its body goes to the client as it comes.
 */
export async function relayRoute(context: RequestContext, relayed: RelayedPath): Promise<Response> {
  const { body, heldBytes } = await receiveBody(context)
  return respond(context, heldBytes, () => {
    context.requestedModel = body.model.slice(0, MAX_LOGGED_MODEL_LENGTH)
    const request = relayRequestOf(context, relayed, body)
    context.logged = true
    return relay(request, context.deps)
  })
}

/** The body, and the memory that is held for it. The pieces that it came in are held by nobody else. */
async function receiveBody(context: RequestContext) {
  const { headers, codings, readBody } = context.incoming
  const { isUtf8, memory } = context.deps
  const parser = createBodyParser(headers['content-type'] ?? '', isUtf8)
  const { pieces, heldBytes } = await readBody({
    ...bodyLimitsOf(context),
    codings: codingsOf(headers['content-encoding'], codings),
    look: parser.push,
  })
  try {
    return { body: parser.end(pieces), heldBytes }
  } catch (error) {
    memory.release(heldBytes)
    throw error
  }
}

const bodyLimitsOf = ({ runtimeConfig, deps }: RequestContext) => ({
  maxBytes: runtimeConfig.config.server.maxBodyBytes,
  memory: deps.memory,
})

/** The upstream's answer with allow-listed headers, and ours. The body's `heldBytes` are released then. */
async function respond(
  context: RequestContext,
  heldBytes: number,
  answerTo: () => Promise<RelayAnswer>,
): Promise<Response> {
  const { memory, toResponse } = context.deps
  try {
    const answer = await answerTo()
    const { status } = answer
    const headers = Object.assign(answerHeaders(answer), context.ownHeaders)
    // Runtimes refuse even an empty body where HTTP allows none.
    const body = isBodiless(context.request.method, status) ? null : answer.body
    return toResponse({ status, headers, body }, context.env)
  } finally {
    memory.release(heldBytes)
  }
}

/** Longer than any model's name; what a client sends instead is not kept for the log. */
const MAX_LOGGED_MODEL_LENGTH = 256

function relayRequestOf(context: RequestContext, relayed: RelayedPath, body: ParsedBody): RelayRequest {
  const { path, endpoint } = relayed
  const { incoming, runtimeConfig, id, query, since, requestedModel } = context
  const { headers } = incoming
  const pool = poolOf(runtimeConfig.pools, body.model, endpoint)
  const estimate = body.scan && estimateOf(body.scan, endpoint)
  const { settings } = runtimeConfig.config
  const rule = settings.affinity
  const address = rule.kind === 'ip' ? addressOf(context) : ''
  return {
    id,
    endpoint,
    path,
    query,
    pool,
    settings,
    requestedModel,
    headers: forwardedHeaders(headers),
    bodyFor: (upstream) => body.withModel(upstream.model),
    stream: body.stream,
    inputTokens: estimate?.inputTokens,
    outputTokens: estimate?.outputTokens,
    choices: estimate?.choices ?? 1,
    affinityKey: affinityKeyOf({ rule, poolId: pool.id, address, headers, scan: body.scan }),
    answerIds: endpoint === 'responses' ? answerIdsOf(body.scan) : [],
    clientSignal: incoming.clientSignal,
    since,
  }
}

function addressOf({ incoming, runtimeConfig }: RequestContext): string {
  return clientAddress({
    peer: incoming.peer,
    forwardedFor: incoming.headers['x-forwarded-for'],
    realIp: incoming.headers['x-real-ip'],
    trusted: runtimeConfig.trusted,
  })
}

/**
 * The pool that a request goes to, never an empty one. @throws `model_not_found` for a name that nobody has,
 * `unsupported_endpoint` where those who have it do not serve the endpoint, `no_upstream` where those are disabled
 */
function poolOf(pools: Pools, model: string, endpoint: Endpoint): Pool {
  const pool = pools.poolFor(model, endpoint)
  if (pool === undefined) throw unknownModel(pools.listedNames, model)
  if (pool.upstreams.length === 0) throw nobodyServes(pools.upstreams, model, endpoint)
  return pool
}

/** Says which names there are: a typo is the common cause. */
export function unknownModel(names: readonly string[], requestedModel: string): GatewayError {
  const shown = requestedModel.length > 100 ? `${requestedModel.slice(0, 100)}…` : requestedModel
  const message = `There is no model "${shown}" here. There are: ${names.join(', ')}.`
  return new GatewayError('model_not_found', message, { param: 'model' })
}

function nobodyServes(upstreams: readonly Upstream[], requested: string, endpoint: Endpoint): GatewayError {
  const named = upstreams.filter(
    ({ model, name, groups }) => model === requested || name === requested || groups.includes(requested),
  )
  const [meant, name] = named.length === 0 ? [upstreams, 'auto'] : [named, requested]
  if (meant.some(({ endpoints }) => endpoints.has(endpoint))) {
    const message = `Every upstream of "${name}" that serves "${endpoint}" is disabled (models[].enabled).`
    return new GatewayError('no_upstream', message)
  }
  const others = upstreams.filter(({ enabled, endpoints }) => enabled && endpoints.has(endpoint))
  const models = new Set(others.map(({ model }) => model))
  const hint = models.size === 0 ? 'no other model does' : `these do: ${[...models].join(', ')}`
  const message = `No upstream of "${name}" serves "${endpoint}" (models[].endpoints); ${hint}.`
  return new GatewayError('unsupported_endpoint', message, { param: 'model' })
}

/** Segments that climb, also spelt with escapes or backslashes, would leave the upstream's root. */
const DOTS = /(?:^|[/\\]|%2f|%5c)(?:\.|%2e){1,2}(?:$|[/\\]|%2f|%5c)/i

/** One attempt at one upstream with method, path, query and body as they came; its answer goes back as it is. */
export async function passthroughRoute(context: RequestContext, upstream: Upstream, path: string) {
  const { deps, incoming, runtimeConfig, request, query, id, since } = context
  if (DOTS.test(path))
    throw new GatewayError('not_found', 'The path has dot segments, which are not passed on.')
  if (!upstream.enabled)
    throw new GatewayError('no_upstream', 'The upstream that this path is passed on to is disabled.')
  // As it came, its coding too.
  const { pieces, heldBytes } = await incoming.readBody({ ...bodyLimitsOf(context), codings: [] })
  return respond(context, heldBytes, () => {
    const coding = incoming.headers['content-encoding']
    const headers = forwardedHeaders(incoming.headers)
    context.logged = true
    return passthrough(
      {
        id,
        upstream,
        settings: runtimeConfig.config.settings,
        method: request.method,
        path,
        query,
        headers: coding === undefined ? headers : { ...headers, 'content-encoding': coding },
        body: pieces,
        clientSignal: incoming.clientSignal,
        since,
      },
      deps,
    )
  })
}
