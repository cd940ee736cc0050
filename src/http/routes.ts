/*
 * http: the only room that knows requests and responses. `app.ts` says which path does what; `/v1/` is split up here.
 * What a request means and where it goes is decided in the rooms below.
 *
 * context      one request on its way: its id, its CORS headers, and what wraps every route
 * deps         what the app is given, and the configuration made ready for requests
 * routes       the paths below `/v1/`, and what is told of others
 * paths        OpenAI's paths, and paths and queries of URLs
 * relay-route  a relayed request from its body to its answer, and what is passed on as it is
 * incoming     what a runtime knows of a request; its body within limits
 * response     answers of our own, and errors in the envelope of OpenAI
 * auth         the token
 * models       `GET /v1/models`
 * health       `GET /readyz` and the page at `/`
 */
import { GatewayError } from '../errors.ts'
import { preflightHeaders, logRequest, type RequestContext } from './context.ts'
import type { AppDeps } from './deps.ts'
import { listModels, retrieveModel } from './models.ts'
import { OWN_PATHS, RELAYED_PATHS, routeOf, decodedPath, type Route } from './paths.ts'
import { passthroughRoute, relayRoute } from './relay-route.ts'
import { jsonResponse } from './response.ts'

const PREFIX = '/v1/'

/** Everything below `/v1/`: relayed to a pool, answered here, or passed on to the one upstream that can mean it. */
export function v1(context: RequestContext, deps: AppDeps): Promise<Response> | Response {
  if (deps.isDraining()) throw draining()
  const { method } = context.request
  const path = context.path.slice(PREFIX.length)
  if (path === '') throw notFound(context.path)
  const route = routeOf(path)
  if (route?.methods.includes(method) === true) {
    const { endpoint } = route
    if (endpoint === undefined) return ownModels(context, { path, route, deps })
    return relayRoute(context, { path: route.path, endpoint }, deps)
  }
  if (NEVER_FORWARDED.has(method.toUpperCase()))
    throw wrongMethod(method, ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])
  const upstream = context.runtimeConfig.passthroughUpstream
  const isPassthrough = route === undefined || route.passthroughMethods.includes(method)
  if (isPassthrough && upstream !== undefined) return passthroughRoute(context, { upstream, path }, deps)
  if (route !== undefined) throw wrongMethod(method, allowedOn(route, context))
  throw unsupported(context.path)
}

/** TRACE would show the upstream's key to the client, and fetch knows none of these. */
const NEVER_FORWARDED = new Set(['TRACE', 'TRACK', 'CONNECT'])

function ownModels(
  context: RequestContext,
  { path, route, deps }: { path: string; route: Route; deps: AppDeps },
): Response {
  const { runtimeConfig, ownHeaders } = context
  const id = decodedPath(path.slice('models/'.length).replace(/\/+$/, ''))
  const found = route.path === 'models' ? listModels(runtimeConfig) : retrieveModel(runtimeConfig, id)
  logRequest(context, { status: 200 }, deps)
  return jsonResponse(found, 200, ownHeaders)
}

/** RFC 9110 §15.6.4: the client's next connection reaches somebody who stays. */
function draining(): GatewayError {
  return new GatewayError('draining', 'This gateway is shutting down.', {
    headers: { connection: 'close', 'retry-after': '1' },
  })
}

function unsupported(path: string): GatewayError {
  const shown = path.length > 100 ? `${path.slice(0, 100)}…` : path
  const why = `${shown} exists on one account only, so it is passed on when exactly one upstream is configured or settings.passthrough names one.`
  return new GatewayError(
    'unsupported_endpoint',
    `${why}${suggestionFor(path)} Relayed to all are: ${RELAYED_PATHS.join(', ')}.`,
  )
}

function allowedOn(
  { methods, passthroughMethods }: Route,
  { runtimeConfig }: RequestContext,
): readonly string[] {
  return runtimeConfig.passthroughUpstream === undefined ? methods : [...methods, ...passthroughMethods]
}

/** RFC 9110 §15.5.6. */
export function wrongMethod(method: string, allowed: readonly string[]): GatewayError {
  return new GatewayError(
    'method_not_allowed',
    `${method} is not possible here; use ${allowed.join(' or ')}.`,
    {
      headers: { allow: allowed.join(', ') },
    },
  )
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

/** `OPTIONS` on any path: 204 without a token, since a browser sends none. Says nothing to origins not allowed. */
export function preflight({ incoming, ownHeaders }: RequestContext): Response {
  const isAllowed = ownHeaders['access-control-allow-origin'] !== undefined
  const headers = isAllowed
    ? Object.assign(preflightHeaders(incoming.headers['access-control-request-headers']), ownHeaders)
    : ownHeaders
  return new Response(null, { status: 204, headers })
}
