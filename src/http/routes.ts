/*
 * http: the only room that knows requests and responses. `app.ts` says which path does what; `/v1/` is split up here.
 *
 * context         one request on its way: its id, its CORS headers, and what wraps every route
 * deps            what the app is given, and the configuration made ready for requests
 * routes          the paths below `/v1/`, the list of models, and what is told of other paths
 * paths           OpenAI's paths, and paths and queries of URLs
 * relay-route     a relayed request from its body to its answer, and what is passed on as it is
 * incoming        what a runtime knows of a request; its body within limits
 * content-coding  bodies that come compressed
 * response        answers of our own, and errors in the envelope of OpenAI
 * auth            the token
 * health          `GET /readyz` and the page at `/`
 */
import { GatewayError } from '../errors.ts'
import { logRequest, type RequestContext } from './context.ts'
import { COME_BACK } from './incoming.ts'
import { decodedPath, OWN_PATHS, RELAYED_PATHS, routeOf } from './paths.ts'
import { passthroughRoute, relayRoute, unknownModel } from './relay-route.ts'
import { jsonResponse } from './response.ts'

/** Everything below `/v1/`: relayed to a pool, answered here, or passed on to the one upstream that can mean it. */
export function v1(context: RequestContext): Promise<Response> | Response {
  if (context.deps.isDraining())
    throw new GatewayError('draining', 'This gateway is shutting down.', COME_BACK)
  const { method } = context.request
  const path = context.path.slice('/v1/'.length)
  if (path === '') throw notFound(context.path)
  const route = routeOf(path)
  if (route?.methods.includes(method) === true) {
    const { endpoint } = route
    if (endpoint !== undefined) return relayRoute(context, { path: route.path, endpoint })
    return route.path === 'models' ? listModels(context) : retrieveModel(context, path)
  }
  if (NEVER_FORWARDED.has(method.toUpperCase()))
    throw wrongMethod(method, ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])
  const { passthroughUpstream: upstream } = context.runtimeConfig
  const isPassthrough = route?.passthroughMethods.includes(method) ?? true
  if (isPassthrough && upstream !== undefined) return passthroughRoute(context, upstream, path)
  if (route === undefined) throw unsupported(context.path)
  const further = upstream === undefined ? [] : route.passthroughMethods
  throw wrongMethod(method, [...route.methods, ...further])
}

/** TRACE would show the upstream's key to the client, and fetch knows none of these. */
const NEVER_FORWARDED = new Set(['TRACE', 'TRACK', 'CONNECT'])

/** OpenAI's model object. Nobody knows when a model was made, and clients want a number. */
const modelObject = (id: string) => ({ id, object: 'model', created: 0, owned_by: 'aiload' })

/** `auto`, the groups and the models, in OpenAI's list form. Asks no upstream. */
function listModels(context: RequestContext): Response {
  const data = context.runtimeConfig.pools.listedNames.map(modelObject)
  return found(context, { object: 'list', data })
}

/** One model; upstream names are found too, although the list leaves them out. @throws `model_not_found` */
function retrieveModel(context: RequestContext, path: string): Response {
  const { pools, config } = context.runtimeConfig
  const id = decodedPath(path.slice('models/'.length).replace(/\/+$/, ''))
  const isKnown = pools.listedNames.includes(id) || pools.upstreams.some(({ name }) => name === id)
  if (!isKnown && config.settings.unknownModel === 'reject') throw unknownModel(pools.listedNames, id)
  return found(context, modelObject(id))
}

function found(context: RequestContext, body: object): Response {
  logRequest(context, { status: 200 })
  return jsonResponse(body, 200, context.ownHeaders)
}

function unsupported(path: string): GatewayError {
  const shown = path.length > 100 ? `${path.slice(0, 100)}…` : path
  const why = `${shown} exists on one account only, so it is passed on when exactly one upstream is configured or settings.passthrough names one.`
  const message = `${why}${suggestionFor(path)} Relayed to all are: ${RELAYED_PATHS.join(', ')}.`
  return new GatewayError('unsupported_endpoint', message)
}

/** RFC 9110 §15.5.6. */
export function wrongMethod(method: string, allowed: readonly string[]): GatewayError {
  const message = `${method} is not possible here; use ${allowed.join(' or ')}.`
  return new GatewayError('method_not_allowed', message, { headers: { allow: allowed.join(', ') } })
}

/** 404 for a path that nobody has. A wrong base URL is the common cause, so a path with a known end gets a hint. */
export function notFound(path: string): GatewayError {
  return new GatewayError('not_found', `There is nothing at this path.${suggestionFor(path)}`)
}

/** ` Did you mean …?` with a space in front; empty where nothing is near. */
function suggestionFor(path: string): string {
  const bare = path.replace(/\/+$/, '')
  if (bare === '/v1') return ' The API is below it: POST /v1/chat/completions, for one.'
  const meant = OWN_PATHS.find((known) => bare.endsWith(known.slice('/v1'.length)))
  return meant === undefined || meant === bare ? '' : ` Did you mean ${meant}?`
}
