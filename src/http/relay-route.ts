import { GatewayError } from '../errors.ts'
import { createAbort } from '../lib/abort.ts'
import { affinityKeyOf, answerIdsOf, ownerKeyOf } from '../openai/affinity-key.ts'
import { lengthOf } from '../lib/bytes.ts'
import { createBodyParser, type ParsedBody } from '../openai/request.ts'
import type { Pool, Pools } from '../pool/pool.ts'
import type { Endpoint, Upstream } from '../pool/upstream.ts'
import { bodyOn, demandOf, demandsOf } from '../relay/demand.ts'
import { answerHeaders, forwardedHeaders } from '../relay/headers.ts'
import { hash01 } from '../lib/hash.ts'
import { isBodiless } from '../lib/headers.ts'
import { passthrough, passthroughTarget } from '../relay/passthrough.ts'
import { mayUseAnswer } from '../relay/candidates.ts'
import { unknownAnswer } from '../relay/exhausted.ts'
import { relay } from '../relay/relay.ts'
import type { Account, RelayAnswer, RelayRequest } from '../relay/request.ts'
import { maskedBytes } from '../relay/secrets.ts'
import { UNCOUNTED, withAccount } from './account.ts'
import { poolsOf } from './auth.ts'
import { addressOf, loggedAddressOf, shownPathOf, type RequestContext } from './context.ts'
import { codingsOf } from './content-coding.ts'
import { beforeFirstBeat, heartbeatMsOf, heartbeatResponse } from './heartbeat.ts'

/** A relayed path in its plain spelling, and what it asks for. */
type RelayedPath = Pick<RelayRequest, 'path' | 'endpoint'>

/**
 * The flow of a relayed request, top to bottom: the body is read and its model found, the pool and the
 * affinity key follow from them, the relay chooses and tries, and its body goes to the client as it comes.
 */
export async function relayRoute(
  context: RequestContext,
  { path, endpoint }: RelayedPath,
): Promise<Response> {
  const { body, size, heldBytes } = await receiveBody(context)
  const { deps, runtimeConfig, incoming } = context
  const everyMs = heartbeatMsOf(body.stream, endpoint, runtimeConfig.config.settings.heartbeatMs)
  const client = everyMs > 0 ? createAbort(incoming.clientSignal) : undefined
  const answering = holding(context, heldBytes, () => {
    context.requestedModel = loggedModel(context, body.model)
    if (context.client?.token !== undefined) requireOneReading(body)
    const clientSignal = client?.signal ?? incoming.clientSignal
    const pool = poolOf(poolsOf(context), body.model, endpoint)
    const request = relayRequestOf(context, { path, endpoint, pool, clientSignal }, { ...body, size })
    return withAccount(context, request.demand, (account) => {
      context.logged = true
      return relay(account === undefined ? request : { ...request, account }, deps)
    })
  })
  if (client === undefined) return respond(context, await answering)
  const heartbeat = { everyMs, endpoint, client }
  const answer = await beforeFirstBeat(answering, heartbeat, deps.clock)
  return answer === undefined ? heartbeatResponse(context, answering, heartbeat) : respond(context, answer)
}

/** The body, its size, and the memory that is held for it. The pieces that it came in are held by nobody else. */
async function receiveBody(context: RequestContext) {
  const { headers, codings, readBody } = context.incoming
  const { isUtf8, memory } = context.deps
  const parser = createBodyParser(headers['content-type'] ?? '', isUtf8, context.runtimeConfig.bodyFields)
  const { pieces, heldBytes } = await readBody({
    ...bodyLimitsOf(context),
    codings: codingsOf(headers['content-encoding'], codings),
    look: parser.push,
  })
  try {
    return { body: parser.end(pieces), size: lengthOf(pieces), heldBytes }
  } catch (error) {
    memory.release(heldBytes)
    throw error
  }
}

const bodyLimitsOf = ({ runtimeConfig, deps }: RequestContext) => ({
  maxBytes: runtimeConfig.config.server.maxBodyBytes,
  memory: deps.memory,
})

/** The answer to a request whose body counts as held until then. */
async function holding(
  { deps }: RequestContext,
  heldBytes: number,
  answerTo: () => Promise<RelayAnswer>,
): Promise<RelayAnswer> {
  try {
    return await answerTo()
  } finally {
    deps.memory.release(heldBytes)
  }
}

/** The upstream's answer with allow-listed headers, and ours. */
function respond(context: RequestContext, answer: RelayAnswer): Response {
  const { deps, env, request, ownHeaders, hasOwnLimits } = context
  const { status } = answer
  const headers = Object.assign(answerHeaders(answer, !hasOwnLimits), ownHeaders)
  // Runtimes refuse even an empty body where HTTP allows none.
  const body = isBodiless(request.method, status) ? null : bodyFor(answer)
  if (!(body instanceof Uint8Array) || body.length <= TAKEN_AT_ONCE_BYTES)
    return deps.toResponse({ status, headers, body }, env)
  const { memory } = deps
  memory.add(body.length)
  return deps.toResponse({ status, headers, body, onLeft: () => memory.release(body.length) }, env)
}

/** So much of an answer the system takes from the process, also where the client does not read. */
const TAKEN_AT_ONCE_BYTES = 64 * 1024

/** An upstream's error may quote the key that it was asked with. */
function bodyFor({ status, body, upstream }: RelayAnswer): RelayAnswer['body'] {
  return status >= 400 && body instanceof Uint8Array ? maskedBytes(body, upstream) : body
}

/** Longer than any model's name; what a client sends instead is not kept for the log. */
const MAX_LOGGED_MODEL_LENGTH = 256
/** Shorter ones are words. */
const SHORTEST_TOKEN = 20

/** A model as the log may have it: that variables are mixed up, and the token stands there, is a slip that happens. */
function loggedModel({ runtimeConfig }: RequestContext, model: string): string {
  const { pools, clientOf } = runtimeConfig
  const isToken =
    model.length >= SHORTEST_TOKEN &&
    pools.named(model) === undefined &&
    clientOf(model.replace(/^\s*bearer\s/i, '').trim())
  return isToken ? '***' : model.slice(0, MAX_LOGGED_MODEL_LENGTH)
}

/** By these a client token is held to what it may use. */
const HELD_BY = ['model', 'previous_response_id', 'conversation', 'input']

/** @throws `bad_request` where an upstream that ignores the case of keys would read another model or id than is read here */
function requireOneReading({ scan }: ParsedBody): void {
  const name = HELD_BY.find((each) => scan?.lookalikes.has(each))
  if (name === undefined) return
  const message = `The body has \`${name}\` in another spelling too; write it in lower case.`
  throw new GatewayError('bad_request', message, { param: name })
}

/** The request as the relay takes it, for the upstreams of a pool. */
export function relayRequestOf(
  context: RequestContext,
  { path, endpoint, pool, clientSignal }: RelayedPath & Pick<RelayRequest, 'pool' | 'clientSignal'>,
  body: ParsedBody & { readonly size: number },
): RelayRequest {
  const { incoming, runtimeConfig, id, ownId, query, since, requestedModel, trace } = context
  const { fingerprint: token = '', token: named } = context.client ?? {}
  const { headers } = incoming
  const { settings } = runtimeConfig.config
  const rule = settings.affinity
  const client = loggedAddressOf(context)
  const address = rule.kind === 'ip' ? (client ?? addressOf(context)) : ''
  const affinityKey = affinityKeyOf({ rule, poolId: pool.id, address, token, headers, scan: body.scan })
  return {
    id,
    ownId,
    endpoint,
    path,
    query,
    pool,
    settings,
    requestedModel,
    client,
    token: named?.name,
    headers: forwardedHeaders(headers),
    bodyFor: (upstream) => bodyOn(upstream, body),
    demand: demandOf(body, endpoint),
    demands: demandsOf(body, pool, endpoint),
    stream: body.stream,
    isForm: body.scan === undefined,
    isFree: path === 'audio/speech' || (endpoint === 'audio' && isText(body.responseFormat)),
    affinityKey,
    keyHash: affinityKey === '' ? 0 : hash01(affinityKey),
    answerIds: endpoint === 'responses' ? answerIdsOf(body.scan) : [],
    ownerKey: endpoint === 'responses' ? ownerKeyOf(body.scan) : '',
    isStored: endpoint === 'responses' || (endpoint === 'chat' && body.store),
    clientSignal,
    since,
    trace,
  }
}

/** Formats of transcripts that are no JSON: `text`, `srt`, `vtt`, and those that a server of its own may have. */
const isText = (format: string): boolean => format.trim() !== '' && !/json\s*$/i.test(format)

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

/** So many names help; of those that upstreams list there may be thousands. */
const MOST_NAMES = 50

const someOf = (names: readonly string[]): string => {
  const left = names.length - MOST_NAMES
  return `${names.slice(0, MOST_NAMES).join(', ')}${left > 0 ? ` and ${left} more, see GET /v1/models` : ''}`
}

/** Says which names there are: a typo is the common cause. */
export function unknownModel(names: readonly string[], requestedModel: string): GatewayError {
  const shown = requestedModel.length > 100 ? `${requestedModel.slice(0, 100)}…` : requestedModel
  const message = `There is no model "${shown}" here. There are: ${someOf(names)}.`
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
  const hint = models.size === 0 ? 'no other model does' : `these do: ${someOf([...models])}`
  const message = `No upstream of "${name}" serves "${endpoint}" (models[].endpoints); ${hint}.`
  return new GatewayError('unsupported_endpoint', message, { param: 'model' })
}

const DISABLED = 'The upstream that this path is passed on to is disabled.'

/** What is passed on, below `/v1/`, and where to. */
interface PassedPath {
  readonly path: string
  /** An answer that is stored where it was made. */
  readonly storedAnswerId: string | undefined
  /** Why it does not go to the account that clients may use; undefined = it does. */
  readonly refusal: GatewayError | undefined
}

/**
 * One attempt with method, path, query and body as they came; its answer goes back as it is. A stored answer is asked of
 * the upstream that made it, where that is known.
 *
 * @throws the refusal, where it is not
 */
export async function passthroughRoute(
  context: RequestContext,
  { path, storedAnswerId, refusal }: PassedPath,
) {
  const { deps, incoming, runtimeConfig, request, query, id, ownId, since, trace } = context
  const { passthroughUpstream, config } = runtimeConfig
  const { settings } = config
  // As it came, its coding too.
  const { pieces, heldBytes } = await incoming.readBody({ ...bodyLimitsOf(context), codings: [] })
  const passOn = async (account?: Account): Promise<RelayAnswer> => {
    if (account !== undefined && storedAnswerId !== undefined)
      if (!(await mayUseAnswer(storedAnswerId, account, deps))) throw unknownAnswer()
    const upstreams = poolsOf(context).upstreams.filter((upstream) => upstream.enabled)
    const otherwise = refusal === undefined ? passthroughUpstream : undefined
    const target = await passthroughTarget({ storedAnswerId, upstreams, otherwise, settings }, deps)
    if (target === undefined) throw refusal ?? new GatewayError('no_upstream', DISABLED)
    const coding = incoming.headers['content-encoding']
    const forwarded = forwardedHeaders(incoming.headers)
    const headers = coding === undefined ? forwarded : { ...forwarded, 'content-encoding': coding }
    context.logged = true
    const { method } = request
    const { clientSignal } = incoming
    const client = loggedAddressOf(context)
    return passthrough(
      {
        ...target,
        id,
        ownId,
        settings,
        method,
        path,
        shownPath: () => shownPathOf(context).slice('/v1/'.length),
        query,
        headers,
        body: pieces,
        client,
        token: account?.token.name,
        account,
        clientSignal,
        since,
        trace,
      },
      deps,
    )
  }
  const answer = await holding(context, heldBytes, () => withAccount(context, UNCOUNTED, passOn))
  return respond(context, answer)
}
