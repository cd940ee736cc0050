import { GatewayError } from '../errors.ts'
import { shownToken } from './auth.ts'
import type { RequestContext, RouteHandler } from './context.ts'
import { EVENT_STREAM } from './heartbeat.ts'
import { COME_BACK } from './incoming.ts'
import { forgetRest, pauseUpstream, resumeUpstream, testUpstream } from './operate.ts'
import { jsonResponse } from './response.ts'
import { notFound, wrongMethod } from './routes.ts'

/** What is done at one path below `/admin/`, by method; HEAD goes where GET does. */
type AdminRoute = Readonly<Record<string, RouteHandler>>

/** Paths without their end slashes; the last part of those that end in `/*` is anything. */
const ADMIN_ROUTES: Readonly<Record<string, AdminRoute>> = {
  '/admin/status': { GET: showStatus },
  '/admin/usage': { GET: showUsage },
  '/admin/events': { GET: showEvents },
  '/admin/forget': { POST: forgetRest },
  '/admin/pause': { POST: pauseUpstream },
  '/admin/resume': { POST: resumeUpstream },
  '/admin/test': { POST: testUpstream },
}

/** Everything below `/admin/`, for whoever has shown that he may. @throws `not_found`, `method_not_allowed` */
export function admin(context: RequestContext): Response | Promise<Response> {
  const path = context.path.replace(/\/+$/, '')
  const route = ADMIN_ROUTES[path] ?? ADMIN_ROUTES[path.replace(/[^/]+$/, '*')]
  if (route === undefined) throw notFound(context.path)
  const { method } = context.request
  const handler = route[method === 'HEAD' ? 'GET' : method]
  if (handler !== undefined) return handler(context)
  throw wrongMethod(
    method,
    Object.keys(route).flatMap((one) => (one === 'GET' ? ['GET', 'HEAD'] : [one])),
  )
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

async function showStatus({ deps, ownHeaders }: RequestContext): Promise<Response> {
  return jsonResponse(await deps.status(), 200, ownHeaders)
}

function showUsage({ deps, ownHeaders }: RequestContext): Response {
  return jsonResponse(deps.usage.show(), 200, ownHeaders)
}

/**
 * `GET /admin/events`: the status, the last requests and the sums of usage, and then what changes of them, as a stream of
 * events. It ends when its token is no longer one of the configuration, and when the gateway is to end.
 *
 * @throws `too_many_viewers`, `draining`
 */
function showEvents({ deps, env, request, incoming, ownHeaders }: RequestContext): Response {
  if (deps.isDraining()) throw new GatewayError('draining', 'This gateway is shutting down.', COME_BACK)
  const headers = { ...ownHeaders, ...EVENT_STREAM, 'cache-control': 'no-store' }
  if (request.method === 'HEAD') return deps.toResponse({ status: 200, headers, body: null }, env)
  const isAllowed = (): boolean =>
    typeof shownToken(incoming.headers, deps.runtimeConfig().tokenOf) === 'string'
  const view = deps.live.watch(isAllowed)
  if (view === undefined) throw new GatewayError('too_many_viewers', TOO_MANY)
  return deps.toResponse({ status: 200, headers, ...view }, env)
}

const TOO_MANY = 'As many pages watch this gateway as it shows itself to at once; close one of them.'
