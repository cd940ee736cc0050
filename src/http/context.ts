import type { ServerConfig } from '../config/config.ts'
import { errorTrace, GatewayError } from '../errors.ts'
import type { AppDeps, RuntimeConfig } from './deps.ts'
import type { IncomingRequest } from './incoming.ts'
import { pathOf, queryOf, routeOf } from './paths.ts'
import { errorResponse } from './response.ts'

/** One request on its way through the routes. */
export interface RequestContext {
  readonly request: Request
  /** What the runtime passed beside the request. */
  readonly env: unknown
  readonly incoming: IncomingRequest
  /** The configuration that it began with. */
  readonly runtimeConfig: RuntimeConfig
  readonly id: string
  /** With its leading slash, as sent. */
  readonly path: string
  /** As sent, without `?`; empty = none. */
  readonly query: string
  /** Arrival, ms on the clock. */
  readonly since: number
  /** Headers of every answer: the request id and CORS. */
  readonly ownHeaders: Record<string, string>
  /** The model that the client named, as soon as it is known; for the log. */
  requestedModel: string
  /** Whether its end is reported elsewhere: the relay tells of everything that it takes on. */
  logged: boolean
}

/** Takes a request in. Called once for each, so it looks at little and copies nothing. */
function requestContextOf(request: Request, env: unknown, deps: AppDeps): RequestContext {
  const since = deps.clock.now()
  const incoming = deps.receive(request, env)
  const runtimeConfig = deps.runtimeConfig()
  const id = requestIdOf(incoming.headers['x-request-id'], deps.newId)
  const ownHeaders = { 'x-request-id': id }
  addCors(ownHeaders, runtimeConfig.config.server.cors, incoming.headers['origin'])
  return {
    request,
    env,
    incoming,
    runtimeConfig,
    id,
    path: pathOf(request.url),
    query: queryOf(incoming.target ?? request.url),
    since,
    ownHeaders,
    requestedModel: '',
    logged: false,
  }
}

/** What answers a request. Errors are thrown. */
export type RouteHandler = (context: RequestContext) => Response | Promise<Response>

/** What wraps every route: the request id, CORS, errors as OpenAI's envelope, and a word of each that ends here. */
export async function withContext(
  call: { readonly request: Request; readonly env: unknown },
  route: RouteHandler,
  deps: AppDeps,
): Promise<Response> {
  let context: RequestContext | undefined
  try {
    context = requestContextOf(call.request, call.env, deps)
    return await route(context)
  } catch (error) {
    return respondToError(error, context, deps)
  }
}

/** The answer for an error. One that is none of ours is our mistake: the client is told nothing, the operator where. */
export function respondToError(error: unknown, context: RequestContext | undefined, deps: AppDeps): Response {
  const isOurs = error instanceof GatewayError
  if (!isOurs) {
    deps.report({
      kind: 'notice',
      level: 'error',
      message: `internal error in request ${context?.id ?? '-'}: ${errorTrace(error)}`,
    })
  }
  const status = isOurs ? error.status : 500
  if (context !== undefined && !context.logged)
    logRequest(context, { status, code: isOurs ? error.code : 'internal_error' }, deps)
  return errorResponse(error, context?.ownHeaders ?? {})
}

/** Reports a request that ends without the relay: its line in the log and its count in the metrics. */
export function logRequest(
  context: RequestContext,
  end: { status: number; code?: string },
  deps: AppDeps,
): void {
  context.logged = true
  const route = context.path.startsWith('/v1/') ? routeOf(context.path.slice('/v1/'.length)) : undefined
  const models = route === undefined ? 'other' : 'models'
  deps.report({
    kind: 'request',
    id: context.id,
    endpoint: route?.endpoint ?? models,
    requestedModel: context.requestedModel,
    attempts: [],
    durationMs: deps.clock.now() - context.since,
    stream: false,
    queuedMs: 0,
    ...end,
  })
}

const IS_USABLE_ID = /^[A-Za-z0-9._-]{1,128}$/

/** The client's own id when it is harmless in headers and logs, else a new one. */
function requestIdOf(given: string | undefined, newId: () => string): string {
  return given !== undefined && IS_USABLE_ID.test(given) ? given : newId()
}

/**
 * Headers that a page's script may read. The star means all of them, since credentials are never allowed; browsers
 * that do not know it (Safari before 15.4) read the names.
 */
const EXPOSED =
  'x-request-id, x-model, x-aiload-upstream, x-aiload-attempts, retry-after, retry-after-ms, openai-processing-ms, *'

/**
 * Adds the CORS headers for one origin; none where cross-origin calls are not allowed.
 *
 * Credentials are never allowed: the token travels in a header that the page's script sets itself.
 */
function addCors(
  headers: Record<string, string>,
  cors: ServerConfig['cors'],
  origin: string | undefined,
): void {
  if (cors === false) return
  if (cors !== '*') headers['vary'] = 'Origin'
  if (origin === undefined || (cors !== '*' && !cors.includes(origin))) return
  headers['access-control-allow-origin'] = cors === '*' ? '*' : origin
  headers['access-control-expose-headers'] = EXPOSED
}

/** What a list of header names is made of; anything else is not repeated. */
const IS_NAME_LIST = /^[\w\-.!#$%&'*+^`|~, \t]{1,4096}$/

/** What a preflight is told besides; the browser asks again after a day. */
export function preflightHeaders(requestedHeaders: string | undefined): Record<string, string> {
  const isList = requestedHeaders !== undefined && IS_NAME_LIST.test(requestedHeaders)
  return {
    'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS',
    'access-control-allow-headers': isList ? requestedHeaders : 'authorization, content-type',
    'access-control-max-age': '86400',
  }
}
