/*
 * http: the only room that knows requests and responses. `app.ts` says which path does what; `/v1/` is split up here.
 *
 * context         one request on its way: its id, its CORS headers, and what wraps every route
 * deps            what the app is given, and the configuration made ready for requests
 * routes          the paths below `/v1/`, the list of models, and what is told of other paths
 * admin           the paths below `/admin/`
 * admin-config    those of them that show and edit the configuration
 * operate         what an operator does to one upstream: end its rest, pause it, try it
 * paths           OpenAI's paths in any spelling, and paths and queries of URLs
 * relay-route     a relayed request from its body to its answer, and what is passed on as it is
 * heartbeat       signs of life for a client that waits for its stream
 * incoming        what a runtime knows of a request; its body within limits
 * content-coding  bodies that come compressed
 * response        answers of our own, and errors in the envelope of OpenAI
 * auth            the token that a request shows, and what it may do with it
 * clients         whose token that is, and what each may use
 * account         what a request is counted in for its token
 * health          `GET /readyz`
 * page            the page at `/`
 */
import { GatewayError } from '../errors.ts'
import { poolsOf } from './auth.ts'
import { logRequest, type RequestContext } from './context.ts'
import type { RuntimeConfig } from './deps.ts'
import { COME_BACK } from './incoming.ts'
import {
  decodedPath,
  isAtOrBelow,
  isSafePath,
  OWN_PATHS,
  RELAYED_PATHS,
  routeOf,
  storedAnswerIdOf,
  type Route,
} from './paths.ts'
import { passthroughRoute, relayRoute, unknownModel } from './relay-route.ts'
import { jsonResponse } from './response.ts'

/**
 * Everything below `/v1/`: relayed to a pool, answered here, or passed on as it is: to the upstream that made the stored
 * answer that it is about, else to the one whose account clients may use.
 */
export function v1(context: RequestContext): Promise<Response> | Response {
  if (context.deps.isDraining())
    throw new GatewayError('draining', 'This gateway is shutting down.', COME_BACK)
  const { method } = context.request
  const path = context.path.slice('/v1/'.length)
  if (/^\/*$/.test(path)) throw notFound(context.path)
  // One with backslashes may be below only as the runtime has read it.
  const isBelow = context.path.startsWith('/v1/')
  const route = isBelow ? routeOf(path) : undefined
  context.trace = context.deps.trace?.({
    traceparent: context.incoming.headers['traceparent'],
    method,
    route: `/v1/${route === undefined ? '*' : route.path || 'models/{model}'}`,
  })
  if (route?.methods.includes(method) === true) {
    const { endpoint } = route
    if (endpoint !== undefined) return relayRoute(context, { path: route.path, endpoint })
    return route.path === 'models' ? listModels(context) : retrieveModel(context, path)
  }
  if (NEVER_FORWARDED.has(method.toUpperCase()))
    throw wrongMethod(method, ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])
  if (!isBelow || !isSafePath(path)) throw new GatewayError('bad_request', UNSAFE_PATH)
  const refusal = passthroughRefusal(context, path, route) ?? tokenRefusal(context)
  const storedAnswerId = route === undefined ? storedAnswerIdOf(path) : undefined
  if (refusal !== undefined && storedAnswerId === undefined) throw refusal
  return passthroughRoute(context, { path, storedAnswerId, refusal })
}

const UNSAFE_PATH =
  'The path has a part that is not passed on: a parameter (;), a backslash, an escaped control, % or backslash, a dot segment, or an escape that is no UTF-8.'

/** What is passed on reaches the account of an upstream, with all that others have there. */
function tokenRefusal({ client }: RequestContext): GatewayError | undefined {
  if (client?.token?.passthrough !== false) return undefined
  const message = 'This token may not use paths that are passed on to one account (tokens[].passthrough).'
  return new GatewayError('passthrough_not_allowed', message)
}

/** Why a request does not go to the account that clients may use; undefined where it does. */
function passthroughRefusal(context: RequestContext, path: string, route: Route | undefined) {
  const { method } = context.request
  const foreign = foreignProtocol(context.path)
  const why = whyNotPassedOn(context.runtimeConfig, path, foreign !== undefined)
  if (route !== undefined && foreign === undefined) {
    const further = why === undefined ? route.passthroughMethods : []
    return further.includes(method) ? undefined : wrongMethod(method, [...route.methods, ...further])
  }
  return why === undefined ? undefined : (foreign ?? unsupported(context.path, why))
}

/** The end of a root whose other paths are those of an API of this kind: `/v1`, `/v1beta`, `/api/v3`. */
const IS_VERSIONED = /\/v\d[\d.]*(?:[a-z]+\d*)?$/i

/** Says what setting would pass a path on. Those of other protocols are passed on only where everything is. */
function whyNotPassedOn({ passthroughUpstream, config }: RuntimeConfig, path: string, isForeign: boolean) {
  const { passthroughPaths } = config.settings
  const isListed = passthroughPaths === 'all' || (!isForeign && isAtOrBelow(passthroughPaths, path))
  if (passthroughUpstream === undefined) {
    return isListed
      ? 'exists on one account only, so it is passed on when exactly one upstream is configured or settings.passthrough names one'
      : 'is neither relayed nor passed on; settings.passthrough together with settings.passthrough_paths "all" would pass it on to one upstream'
  }
  const { name, root } = passthroughUpstream
  if (!IS_VERSIONED.test(root))
    return `is not passed on to "${name}", since its models[].base_url does not end in a version such as /v1`
  return isListed
    ? undefined
    : `is not among the paths that are passed on to "${name}" (settings.passthrough_paths); "all" opens every path of its account`
}

/** TRACE would show the upstream's key to the client, and fetch knows none of these. */
const NEVER_FORWARDED = new Set(['TRACE', 'TRACK', 'CONNECT'])

/** OpenAI's model object. Nobody knows when a model was made, and clients want a number. */
const modelObject = (id: string) => ({ id, object: 'model', created: 0, owned_by: 'aiload' })

/** `auto`, the groups and the models, in OpenAI's list form. Asks no upstream. */
function listModels(context: RequestContext): Response {
  const data = poolsOf(context).listedNames.map(modelObject)
  return found(context, { object: 'list', data })
}

/** One model; upstream names are found too, although the list leaves them out. @throws `model_not_found` */
function retrieveModel(context: RequestContext, path: string): Response {
  const pools = poolsOf(context)
  const id = decodedPath(path)
    .replace(/^\/*models\/+/i, '')
    .replace(/\/+$/, '')
  if (pools.poolFor(id, 'chat') === undefined) throw unknownModel(pools.listedNames, id)
  return found(context, modelObject(id))
}

/** 200 with a body of JSON, told to the log. */
export function found(context: RequestContext, body: object): Response {
  logRequest(context, { status: 200 })
  return jsonResponse(body, 200, context.ownHeaders)
}

function unsupported(path: string, why: string): GatewayError {
  const shown = path.length > 100 ? `${path.slice(0, 100)}…` : path
  const message = `${shown} ${why}.${suggestionFor(path)} Relayed to all are: ${RELAYED_PATHS.join(', ')}.`
  return new GatewayError('unsupported_endpoint', message)
}

const SPOKEN =
  "This gateway speaks OpenAI's API: POST /v1/chat/completions, /v1/responses and /v1/embeddings, for example."
const IS_ANTHROPIC = /^\/(?:anthropic\/)?(?:v1\/)*messages(?:\/|$)/i
/** By the version, behind which `openai` is Google's own root for clients of OpenAI, or by what is asked of a model. */
const IS_GEMINI =
  /\/v\d(?:alpha|beta)\d?(?:\/(?!openai(?:\/|$))|$)|:(?:(?:stream|batch|async|bidi)*(?:generate|embed|count|compute)\w+|(?:stream)?(?:raw)?predict(?:LongRunning)?)$/i

/** What clients of another protocol understand: their own form of an error, with a status whose words they show. */
function foreignProtocol(path: string): GatewayError | undefined {
  const plain = decodedPath(path)
    .replaceAll(/\/{2,}/g, '/')
    .replace(/\/$/, '')
  if (IS_ANTHROPIC.test(plain)) {
    const message = `Anthropic's protocol is not spoken here. ${SPOKEN}`
    const body = { type: 'error', error: { type: 'invalid_request_error', message } }
    return new GatewayError('bad_request', message, { body })
  }
  if (!IS_GEMINI.test(plain)) return undefined
  const message = `Gemini's protocol is not spoken here. ${SPOKEN}`
  return new GatewayError('not_found', message, {
    body: { error: { code: 404, message, status: 'NOT_FOUND' } },
  })
}

/** RFC 9110 §15.5.6. */
export function wrongMethod(method: string, allowed: readonly string[]): GatewayError {
  const message = `${method} is not possible here; use ${allowed.join(' or ')}.`
  return new GatewayError('method_not_allowed', message, { headers: { allow: allowed.join(', ') } })
}

/** 404 for a path that nobody has. A wrong base URL is the common cause, so a path with a known end gets a hint. */
export function notFound(path: string): GatewayError {
  const message = `There is nothing at this path.${suggestionFor(path)}`
  return foreignProtocol(path) ?? new GatewayError('not_found', message)
}

/** ` Did you mean …?` with a space in front; empty where nothing is near. */
function suggestionFor(path: string): string {
  const bare = path.replace(/\/+$/, '')
  if (bare === '/v1') return ' The API is below it: POST /v1/chat/completions, for one.'
  const meant = OWN_PATHS.find((known) => bare.endsWith(known.slice('/v1'.length)))
  return meant === undefined || meant === bare ? '' : ` Did you mean ${meant}?`
}
