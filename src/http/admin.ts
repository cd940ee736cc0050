import { GatewayError } from '../errors.ts'
import { requireAdmin, requireToken } from './auth.ts'
import { EVENT_STREAM } from './heartbeat.ts'
import { COME_BACK } from './incoming.ts'
import { forgetRest, pauseUpstream, resumeUpstream, testUpstream } from './operate.ts'
import type { RequestLog } from '../events/requests.ts'
import { CONFIG_ROUTES, type AdminRoute } from './admin-config.ts'
import { languageOf, type RequestContext } from './context.ts'
import { statusIn } from '../telemetry/status.ts'
import { jsonResponse } from './response.ts'
import { notFound, wrongMethod } from './routes.ts'

/** Paths without their end slashes; the last part of those that end in `/*` is anything. */
const ADMIN_ROUTES: Readonly<Record<string, AdminRoute>> = {
  '/admin/status': { GET: showStatus },
  '/admin/usage': { GET: showUsage },
  '/admin/events': { GET: showEvents },
  '/admin/forget': { POST: forgetRest },
  '/admin/tokens': { GET: showTokens },
  '/admin/pause': { POST: pauseUpstream },
  '/admin/resume': { POST: resumeUpstream },
  '/admin/test': { POST: testUpstream },
  '/admin/requests': { GET: listRequests },
  '/admin/requests/*': { GET: explainRequest },
  ...CONFIG_ROUTES,
}

/** Everything below `/admin/`, for whoever has shown that he may. @throws `not_found`, `method_not_allowed` */
export function admin(context: RequestContext): Response | Promise<Response> {
  const path = context.path.replace(/\/+$/, '')
  const route = ADMIN_ROUTES[path] ?? ADMIN_ROUTES[path.replace(/[^/]+$/, '*')]
  if (route === undefined) throw notFound(context.path)
  const { method } = context.request
  const own = method === 'HEAD' ? 'GET' : method
  // Some runtimes let any word through as a method, `constructor` too.
  const handler = Object.hasOwn(route, own) ? route[own] : undefined
  if (handler !== undefined) return handler(context)
  throw wrongMethod(
    method,
    Object.keys(route).flatMap((one) => (one === 'GET' ? ['GET', 'HEAD'] : [one])),
  )
}

const OFF = 'Nothing is served below /admin/ here: server.admin is "off".'

/** The same context, where there is anything below `/admin/`. @throws `not_found` */
export function adminOpen(context: RequestContext): RequestContext {
  if (context.runtimeConfig.config.server.admin === 'off') throw new GatewayError('not_found', OFF)
  return context
}

/**
 * The same context, of which no page of another origin may read the answer, and no cache keep it: what `server.cors`
 * allows is for the API of models.
 */
export function withoutCors(context: RequestContext): RequestContext {
  const { ownHeaders } = context
  for (const name of Object.keys(ownHeaders)) if (!name.endsWith('request-id')) delete ownHeaders[name]
  ownHeaders['cache-control'] = 'no-store'
  return context
}

async function showStatus(context: RequestContext): Promise<Response> {
  const status = statusIn(await context.deps.status(), await languageOf(context))
  return jsonResponse(status, 200, context.ownHeaders)
}

async function showTokens({ deps, ownHeaders }: RequestContext): Promise<Response> {
  return jsonResponse(await deps.tokenStatuses(), 200, ownHeaders)
}

async function showUsage({ deps, ownHeaders }: RequestContext): Promise<Response> {
  return jsonResponse(await deps.usage.show(), 200, ownHeaders)
}
const MOST_LISTED = 1_000
const USUALLY_LISTED = 100

/** `GET /admin/requests`: the last requests, the newest first, as its query wants them. */
async function listRequests(context: RequestContext): Promise<Response> {
  const query = new URLSearchParams(context.query)
  const textOf = (name: string): string | undefined => query.get(name) || undefined
  const limit = query.has('limit') ? Number(query.get('limit')) : USUALLY_LISTED
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST_LISTED)
    throw new GatewayError('bad_request', `limit is a whole number from 1 to ${MOST_LISTED}.`, {
      param: 'limit',
    })
  const status = textOf('status')
  if (status !== undefined && !/^\d(?:\d\d|xx)$/i.test(status))
    throw new GatewayError('bad_request', 'status is a number such as 429, or 4xx.', { param: 'status' })
  const [upstream, model, token, q, before] = ['upstream', 'model', 'token', 'q', 'before'].map(textOf)
  const wanted = { limit, status, upstream, model, token, q, before }
  return jsonResponse(await requestsOf(context).list(wanted), 200, context.ownHeaders)
}

/** `GET /admin/requests/{id}`: why a request went where it went; of an id that several bear, all of them. */
async function explainRequest(context: RequestContext): Promise<Response> {
  const id = /[^/]+(?=\/*$)/.exec(context.path)?.[0] ?? ''
  const log = requestsOf(context)
  if (!/^[\w.-]{1,128}$/.test(id)) throw new GatewayError('not_found', 'No request has such an id.')
  const body = await log.explain(id)
  if (body === undefined) {
    const message = `There is no request ${JSON.stringify(id)}. ${await log.reach()}`
    throw new GatewayError('not_found', message)
  }
  return jsonResponse(body, 200, context.ownHeaders)
}

/** @throws `not_found` where the runtime keeps none */
function requestsOf({ deps }: RequestContext): RequestLog {
  if (deps.requests !== undefined) return deps.requests
  throw new GatewayError('not_found', 'On this runtime requests are not remembered; Node, Bun and Deno do.')
}

/**
 * `GET /admin/events`: the status, the last requests and the sums of usage, and then what changes of them, as a stream of
 * events. It ends when its token, or `server.admin`, no longer allows it, and when the gateway is to end.
 *
 * @throws `too_many_viewers`, `draining`
 */
async function showEvents(context: RequestContext): Promise<Response> {
  const { deps, env, request, ownHeaders } = context
  if (deps.isDraining()) throw new GatewayError('draining', 'This gateway is shutting down.', COME_BACK)
  const headers = { ...ownHeaders, ...EVENT_STREAM, 'cache-control': 'no-store' }
  if (request.method === 'HEAD') return deps.toResponse({ status: 200, headers, body: null }, env)
  function isAllowed(): boolean {
    try {
      requireAdmin(requireToken(adminOpen({ ...context, runtimeConfig: deps.runtimeConfig() })))
      return true
    } catch {
      return false
    }
  }
  const view = deps.live.watch(isAllowed, await languageOf(context))
  if (view === undefined) throw new GatewayError('too_many_viewers', TOO_MANY)
  return deps.toResponse({ status: 200, headers, ...view }, env)
}

const TOO_MANY = 'As many pages watch this gateway as it shows itself to at once; close one of them.'
