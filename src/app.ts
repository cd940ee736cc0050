/*
 * AILoad: one OpenAI-compatible endpoint in front of many. This is its table of contents; CONTRIBUTING.md lists the rooms
 * that it stands on.
 */
import { Hono } from 'hono/tiny'
import { admin, adminOpen, withoutCors } from './http/admin.ts'
import { requireAdmin, requireToken } from './http/auth.ts'
import {
  preflight,
  respondToError,
  withContext,
  type RequestContext,
  type RouteHandler,
} from './http/context.ts'
import type { AppDeps } from './http/deps.ts'
import { readiness } from './http/health.ts'
import { welcome } from './http/page.ts'
import { routedPathOf } from './http/paths.ts'
import { jsonResponse } from './http/response.ts'
import { notFound, v1, wrongMethod } from './http/routes.ts'

/** The same app on every runtime: a fetch handler that knows nothing of where it runs. */
export type App = Hono<{ Bindings: object }>

/** The table of contents: which path does what, and what wraps them all. */
export function createApp(deps: AppDeps): App {
  const app: App = new Hono({ getPath: routedPathOf })
  const publicRoute = (route: RouteHandler) => withContext(deps, route)
  const authenticatedRoute = (route: RouteHandler) => publicRoute((context) => route(requireToken(context)))
  const nothing: RouteHandler = ({ path }) => throwError(notFound(path))
  const notRead: RouteHandler = ({ request }) => throwError(wrongMethod(request.method, ['GET', 'HEAD']))
  const get = (path: string, guard: typeof publicRoute, route: RouteHandler): void =>
    void app.get(path, guard(route)).all(path, guard(notRead))

  app.options(
    '/admin/*',
    publicRoute((context) => preflight(withoutCors(context))),
  )
  app.options('*', publicRoute(preflight))
  app.all('/v1/*', authenticatedRoute(v1))
  get('/', publicRoute, welcome)
  get('/healthz', publicRoute, ({ ownHeaders }) => jsonResponse({ status: 'ok' }, 200, ownHeaders))
  get('/readyz', publicRoute, readiness)
  get('/metrics', publicRoute, metrics)
  app.all(
    '/admin/*',
    publicRoute((context) => admin(requireAdmin(requireToken(adminOpen(withoutCors(context)))))),
  )
  app.notFound(publicRoute(nothing))
  app.onError((error) => respondToError(deps, error))
  return app
}

async function metrics(context: RequestContext): Promise<Response> {
  if (!context.runtimeConfig.config.server.metricsPublic) requireAdmin(requireToken(context))
  const headers = { 'content-type': 'text/plain; version=0.0.4; charset=utf-8', ...context.ownHeaders }
  return new Response(await context.deps.metricsText(), { headers })
}

function throwError(error: Error): never {
  throw error
}
