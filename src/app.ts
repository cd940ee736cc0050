/*
 * AILoad: one OpenAI-compatible endpoint in front of many. The table of contents is below; these are the rooms, and
 * each imports from itself and from those above it.
 *
 * lib/        bytes, text and time, no domain
 * errors      the catalog of our own errors
 * pool/       upstreams, and strategies that order them
 * transport/  how a request gets to an upstream
 * vendors/    what vendors say and mean
 * openai/     what clients send, what answers hold
 * config/     from the text of a file to a checked configuration
 * state/      circuit breaker, rate limit windows, affinity, and the stores that keep them
 * relay/      one request on its way over the upstreams
 * telemetry/  log, metrics, status
 * http/       requests and responses
 * app         which path does what
 * adapter/    one runtime each
 * cli/        what somebody types
 */
import { Hono } from 'hono/tiny'
import { requireToken } from './http/auth.ts'
import { respondToError, withContext, type RequestContext, type RouteHandler } from './http/context.ts'
import type { AppDeps } from './http/deps.ts'
import { readiness, welcome } from './http/health.ts'
import { routedPathOf } from './http/paths.ts'
import { jsonResponse } from './http/response.ts'
import { notFound, preflight, v1, wrongMethod } from './http/routes.ts'

/** The same app on every runtime: a fetch handler that knows nothing of where it runs. */
export type App = Hono<{ Bindings: object }>

/** What is taken of Hono's context. */
interface HonoContext {
  readonly req: { readonly raw: Request }
  readonly env: unknown
}

/** The table of contents: which path does what, and what wraps them all. */
export function createApp(deps: AppDeps): App {
  const app: App = new Hono({ getPath: routedPathOf })
  const publicRoute = (route: RouteHandler) => (c: HonoContext) =>
    withContext({ request: c.req.raw, env: c.env }, route, deps)
  const authenticatedRoute = (route: RouteHandler) => publicRoute((context) => route(authenticated(context)))
  const get = (path: string, guard: typeof publicRoute, route: RouteHandler): void => {
    app.get(path, guard(route))
    app.all(
      path,
      guard(({ request }) => throwError(wrongMethod(request.method, ['GET', 'HEAD']))),
    )
  }

  app.options('*', publicRoute(preflight))
  app.all(
    '/v1/*',
    authenticatedRoute((context) => v1(context, deps)),
  )
  get('/', publicRoute, ({ ownHeaders }) => welcome(ownHeaders))
  get('/healthz', publicRoute, ({ ownHeaders }) => jsonResponse({ status: 'ok' }, 200, ownHeaders))
  get('/readyz', publicRoute, ({ runtimeConfig, ownHeaders }) => readiness(runtimeConfig, deps, ownHeaders))
  get('/metrics', publicRoute, (context) =>
    metrics(context.runtimeConfig.config.server.metricsPublic ? context : authenticated(context), deps),
  )
  get('/admin/status', authenticatedRoute, async ({ ownHeaders }) =>
    jsonResponse(await deps.status(), 200, ownHeaders),
  )
  app.all(
    '/admin/*',
    authenticatedRoute(({ path }) => throwError(notFound(path))),
  )
  app.notFound(publicRoute(({ path }) => throwError(notFound(path))))
  app.onError((error) => respondToError(error, undefined, deps))
  return app
}

/** The same context, when the request brings the token. */
function authenticated(context: RequestContext): RequestContext {
  requireToken(context.incoming.headers, context.runtimeConfig.isToken)
  return context
}

async function metrics({ ownHeaders }: RequestContext, deps: AppDeps): Promise<Response> {
  const text = await deps.metricsText()
  return new Response(text, {
    headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8', ...ownHeaders },
  })
}

function throwError(error: Error): never {
  throw error
}
