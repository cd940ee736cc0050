import { GatewayError } from '../errors.ts'
import type { AppDeps } from './app-deps.ts'
import { RELAYED_PATHS, routeOf, unescaped, type Route } from './endpoint.ts'
import { jsonResponse } from './error-answer.ts'
import { listModels, retrieveModel } from './models.ts'
import { hintFor, notFound } from './not-found.ts'
import { passOnRoute } from './pass-on-route.ts'
import { relayRoute } from './relay-route.ts'
import type { Visit } from './visit.ts'
import { tell } from './visited.ts'

const PREFIX = '/v1/'

/** Everything below `/v1/`: relayed to a pool, answered here, or passed on to the one upstream that can mean it. */
export function v1(visit: Visit, deps: AppDeps): Promise<Response> | Response {
  if (deps.isDraining()) throw draining()
  const { method } = visit.request
  const path = visit.path.slice(PREFIX.length)
  if (path === '') throw notFound(visit.path)
  const route = routeOf(path)
  if (route?.methods.includes(method) === true) {
    const { endpoint } = route
    if (endpoint === undefined) return ownModels(visit, { path, route, deps })
    return relayRoute(visit, { path: route.path, endpoint }, deps)
  }
  if (NEVER_PASSED.has(method.toUpperCase()))
    throw wrongMethod(method, ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])
  const upstream = visit.setup.passOnTo
  const isPassedOn = route === undefined || route.passedOn.includes(method)
  if (isPassedOn && upstream !== undefined) return passOnRoute(visit, { upstream, path }, deps)
  if (route !== undefined) throw wrongMethod(method, allowedOn(route, visit))
  throw unsupported(visit.path)
}

/** TRACE would show the upstream's key to the client, and fetch knows none of these. */
const NEVER_PASSED = new Set(['TRACE', 'TRACK', 'CONNECT'])

function ownModels(
  visit: Visit,
  { path, route, deps }: { path: string; route: Route; deps: AppDeps },
): Response {
  const { setup, ownHeaders } = visit
  const id = unescaped(path.slice('models/'.length).replace(/\/+$/, ''))
  const found = route.path === 'models' ? listModels(setup) : retrieveModel(setup, id)
  tell(visit, { status: 200 }, deps)
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
    `${why}${hintFor(path)} Relayed to all are: ${RELAYED_PATHS.join(', ')}.`,
  )
}

function allowedOn({ methods, passedOn }: Route, { setup }: Visit): readonly string[] {
  return setup.passOnTo === undefined ? methods : [...methods, ...passedOn]
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
