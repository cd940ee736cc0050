/*
 * AILoad: one OpenAI-compatible endpoint in front of many. Here is its table of contents; the rooms that it stands on are
 * listed in CONTRIBUTING.md.
 */
import type { Context } from 'hono'
import { Hono } from 'hono/tiny'
import { requireToken } from './http/auth.ts'
import {
  preflight,
  respondToError,
  withContext,
  type RequestContext,
  type RouteHandler,
} from './http/context.ts'
import type { AppDeps } from './http/deps.ts'
import { readiness, welcome } from './http/health.ts'
import { routedPathOf } from './http/paths.ts'
import { jsonResponse } from './http/response.ts'
import { notFound, v1, wrongMethod } from './http/routes.ts'

/** The same app on every runtime: a fetch handler that knows nothing of where it runs. */
export type App = Hono<{ Bindings: object }>

/** The table of contents: which path does what, and what wraps them all. */
export function createApp(deps: AppDeps): App {
  const app: App = new Hono({ getPath: routedPathOf })
  const publicRoute = (route: RouteHandler) => (c: Context) =>
    withContext({ request: c.req.raw, env: c.env }, route, deps)
  const authenticatedRoute = (route: RouteHandler) => publicRoute((context) => route(authenticated(context)))
  const nothing = ({ path }: RequestContext) => throwError(notFound(path))
  const notRead = ({ request }: RequestContext) => throwError(wrongMethod(request.method, ['GET', 'HEAD']))
  const get = (path: string, guard: typeof publicRoute, route: RouteHandler): void =>
    void app.get(path, guard(route)).all(path, guard(notRead))

  app.options('*', publicRoute(preflight))
  app.all(
    '/v1/*',
    authenticatedRoute((context) => v1(context, deps)),
  )
  get('/', publicRoute, ({ ownHeaders }) => welcome(ownHeaders))
  get('/healthz', publicRoute, ({ ownHeaders }) => jsonResponse({ status: 'ok' }, 200, ownHeaders))
  get('/readyz', publicRoute, (context) => readiness(context, deps))
  get('/metrics', publicRoute, async (context) => {
    if (!context.runtimeConfig.config.server.metricsPublic) authenticated(context)
    const headers = { 'content-type': 'text/plain; version=0.0.4; charset=utf-8', ...context.ownHeaders }
    return new Response(await deps.metricsText(), { headers })
  })
  get('/admin/status', authenticatedRoute, async ({ ownHeaders }) =>
    jsonResponse(await deps.status(), 200, ownHeaders),
  )
  app.all('/admin/*', authenticatedRoute(nothing))
  app.notFound(publicRoute(nothing))
  app.onError((error) => respondToError(error, undefined, deps))
  return app
}

/** The same context, when the request brings the token. */
function authenticated(context: RequestContext): RequestContext {
  requireToken(context.incoming.headers, context.runtimeConfig.isToken)
  return context
}

function throwError(error: Error): never {
  throw error
}
