import type { Context } from 'hono'
import type { ServerConfig } from '../config/config.ts'
import { errorTrace, GatewayError } from '../errors.ts'
import { concatBytes } from '../lib/bytes.ts'
import type { RequestTrace } from '../relay/deps.ts'
import { SHORTEST_SECRET } from '../relay/secrets.ts'
import type { MaybePromise } from '../state/store.ts'
import type { Say } from '../telemetry/status.ts'
import type { Client } from './clients.ts'
import type { AppDeps } from './deps.ts'
import { hasDotSegment, pathOf, queryOf, routeOf } from './paths.ts'
import { asGatewayError, errorResponse } from './response.ts'

/** One request on its way through the routes. */
export type RequestContext = ReturnType<typeof requestContextOf>

/** Takes a request in. Called once for each, so it looks at little and copies nothing. */
function requestContextOf(deps: AppDeps, request: Request, env: unknown) {
  const since = deps.clock.now()
  const incoming = deps.receive(request, env)
  const runtimeConfig = deps.runtimeConfig()
  const given = incoming.headers['x-request-id']
  const ownId = deps.newId()
  const id = given !== undefined && IS_USABLE_ID.test(given) ? given : ownId
  const ownHeaders: Record<string, string> = { 'x-request-id': id }
  if (id !== ownId) ownHeaders['x-aiload-request-id'] = ownId
  addCors(ownHeaders, runtimeConfig.config.server.cors, incoming.headers['origin'])
  return {
    deps,
    request,
    /** What the runtime passed beside the request. */
    env,
    incoming,
    /** The configuration that it began with. */
    runtimeConfig,
    /** As the client knows it: its own, or ours. */
    id,
    /** Ours, which no other request has. */
    ownId,
    /** With its leading slash, as sent. */
    path: pathOf(incoming.target ?? request.url),
    /** As sent, without `?`; empty = none. */
    query: queryOf(incoming.target ?? request.url),
    /** Arrival, ms on the clock. */
    since,
    /** Headers of every answer: the request id and CORS. */
    ownHeaders,
    /** Whose token it showed; undefined where none was asked for. */
    client: undefined as Client | undefined,
    /** Whether the limits that it is told of are those of its token: then an upstream's are none of its concern. */
    hasOwnLimits: false,
    /** The model that the client named, as soon as it is known; for the log. */
    requestedModel: '',
    /** Where requests are traced, and it is one that may use models. */
    trace: undefined as RequestTrace | undefined,
    /** Whether its end is reported elsewhere: the relay tells of everything that it takes on. */
    logged: false,
  }
}

/** A client's own request id is kept when it is harmless in headers and logs. */
const IS_USABLE_ID = /^[A-Za-z0-9._-]{1,128}$/

const DOT_SEGMENT =
  'The path has a dot segment ("/./" or "/../"), which is not resolved here; send the path itself.'

/** What answers a request. Errors are thrown. */
export type RouteHandler = (context: RequestContext) => Response | Promise<Response>

/** What wraps every route: the request id, CORS, errors as OpenAI's envelope, and a word of each that ends here. */
export const withContext =
  (deps: AppDeps, route: RouteHandler) =>
  async ({ req, env }: Context): Promise<Response> => {
    let context: RequestContext | undefined
    try {
      context = requestContextOf(deps, req.raw, env)
      if (hasDotSegment(context.path)) throw new GatewayError('bad_request', DOT_SEGMENT)
      return await route(context)
    } catch (error) {
      return respondToError(deps, error, context)
    }
  }

/** The error that the client reads. One that is none of ours is our mistake: the operator is told where. */
export function gatewayErrorOf(deps: AppDeps, thrown: unknown, context?: RequestContext): GatewayError {
  if (!(thrown instanceof GatewayError)) {
    const message = `internal error in request ${context?.id ?? '-'}: ${errorTrace(thrown)}`
    deps.report({ kind: 'notice', level: 'error', message })
  }
  return asGatewayError(thrown)
}

/** The answer for an error. */
export function respondToError(deps: AppDeps, thrown: unknown, context?: RequestContext): Response {
  const error = gatewayErrorOf(deps, thrown, context)
  if (context?.logged === false) logRequest(context, error)
  return errorResponse(error, context?.ownHeaders ?? {})
}

/** The body of a request below `/admin/` as JSON, undefined where it is none. @throws where it is too large, or breaks off */
export async function adminBodyOf({ deps, incoming }: RequestContext, maxBytes: number): Promise<unknown> {
  const { pieces, heldBytes } = await incoming.readBody({
    maxBytes,
    isFixed: true,
    codings: [],
    memory: deps.memory,
  })
  const body = concatBytes(pieces)
  deps.memory.release(heldBytes)
  try {
    // Of another encoding signs would get lost, and the rest be written into the configuration.
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch {
    return undefined
  }
}

/** For who prefers another language than English, where we have it. */
export const languageOf = ({ deps, incoming }: RequestContext): MaybePromise<Say | undefined> =>
  PREFERS_CHINESE.test(incoming.headers['accept-language'] ?? '') ? deps.inChinese?.() : undefined

/** Browsers name what they like best first. */
const PREFERS_CHINESE = /^\s*zh(?![a-z])/i

/** The address that a request counts as; see `clientAddress`. */
export const addressOf = ({ incoming, runtimeConfig }: RequestContext): string =>
  runtimeConfig.addressOf({
    peer: incoming.peer,
    forwardedFor: incoming.headers['x-forwarded-for'],
    realIp: incoming.headers['x-real-ip'],
  })

/** Where a request comes from as far as that is sure: a header counts where the configuration itself names the proxy. */
export const peerOf = ({ incoming, runtimeConfig }: RequestContext): string =>
  runtimeConfig.peerOf({
    peer: incoming.peer,
    forwardedFor: incoming.headers['x-forwarded-for'],
    realIp: incoming.headers['x-real-ip'],
  })

/** The address that a request counts as for the log, where that may have it. */
export const loggedAddressOf = (context: RequestContext): string | undefined =>
  context.runtimeConfig.config.server.logClient ? addressOf(context) : undefined

/** A part of a path that is long enough for one of `tokens`, of which only digests are known; and one as we make them. */
const LIKE_A_TOKEN = /%20|(?:(?!%20)[^/?&=]){32,}/g
const MADE_TOKEN = /sk-[\w-]{43}/g
const LONGEST_TOKEN = 256

/** Of a path that is refused, so much is logged. */
const LOGGED_PATH_LENGTH = 200

/** The path as the log and the status may have it: without the tokens of clients, and not longer than anybody reads. */
export function shownPathOf({ path, runtimeConfig }: RequestContext): string {
  // A token in the path is a slip that happens, and no reason to log it. A word is no secret: its mask would tell it.
  const withoutTokens = runtimeConfig.config.authTokens.reduce(
    (shown, token) => (token.length < SHORTEST_SECRET ? shown : shown.replaceAll(token, '***')),
    path,
  )
  const masked = (part: string): string => (runtimeConfig.clientOf(part) === undefined ? part : '***')
  return withoutTokens
    .slice(0, LOGGED_PATH_LENGTH + LONGEST_TOKEN)
    .replaceAll(LIKE_A_TOKEN, masked)
    .replaceAll(MADE_TOKEN, masked)
    .slice(0, LOGGED_PATH_LENGTH)
}

/** Reports a request that ends without the relay: its line in the log and its count in the metrics. */
export function logRequest(context: RequestContext, end: { status: number; code?: string }): void {
  context.logged = true
  const { deps, path, request } = context
  const route = path.startsWith('/v1/') ? routeOf(path.slice('/v1/'.length)) : undefined
  deps.report({
    kind: 'request',
    id: context.id,
    ownId: context.ownId,
    endpoint: route === undefined ? 'other' : (route.endpoint ?? 'models'),
    requestedModel: context.requestedModel,
    client: loggedAddressOf(context),
    token: context.client?.token?.name,
    attempts: [],
    durationMs: deps.clock.now() - context.since,
    stream: false,
    queuedMs: 0,
    status: end.status,
    code: end.code,
    trace: context.trace,
    ...(end.status >= 400 && { method: request.method, path: shownPathOf(context) }),
  })
}

/**
 * Headers that a page's script may read. The star means all of them, since credentials are never allowed; browsers
 * that do not know it (Safari before 15.4) read the names.
 */
const EXPOSED =
  'x-request-id, x-aiload-request-id, x-model, x-aiload-upstream, x-aiload-attempts, retry-after, retry-after-ms, openai-processing-ms, *'

/**
 * Adds the CORS headers for one origin; none where cross-origin calls are not allowed. Credentials are never allowed:
 * the token travels in a header that the page's script sets itself.
 */
function addCors(headers: Record<string, string>, cors: ServerConfig['cors'], origin?: string): void {
  if (cors === false) return
  if (cors !== '*') headers['vary'] = 'Origin'
  if (origin === undefined || (cors !== '*' && !cors.includes(origin))) return
  headers['access-control-allow-origin'] = cors === '*' ? '*' : origin
  headers['access-control-expose-headers'] = EXPOSED
}

/** What a list of header names is made of; anything else is not repeated. */
const IS_NAME_LIST = /^[\w\-.!#$%&'*+^`|~, \t]{1,4096}$/

/**
 * `OPTIONS` on any path: 204 without a token, since a browser sends none. Says nothing to origins not allowed; others
 * ask again after a day.
 */
export function preflight({ incoming, ownHeaders }: RequestContext): Response {
  const isAllowed = ownHeaders['access-control-allow-origin'] !== undefined
  const names = incoming.headers['access-control-request-headers'] ?? ''
  const headers = isAllowed && {
    'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS',
    'access-control-allow-headers': IS_NAME_LIST.test(names) ? names : 'authorization, content-type',
    'access-control-max-age': '86400',
  }
  return new Response(null, { status: 204, headers: { ...headers, ...ownHeaders } })
}
