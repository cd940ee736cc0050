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
import { refused, visited, type Visit, type VisitRoute } from './http/context.ts'
import type { AppDeps } from './http/deps.ts'
import { readiness, welcome } from './http/health.ts'
import { routedPathOf } from './http/paths.ts'
import { jsonResponse } from './http/response.ts'
import { notFound, preflight, v1, wrongMethod } from './http/routes.ts'

/** The same app on every runtime: a fetch handler that knows nothing of where it runs. */
export type App = Hono<{ Bindings: object }>

/** What is taken of Hono's context. */
interface Asked {
  readonly req: { readonly raw: Request }
  readonly env: unknown
}

/** The table of contents: which path does what, and what wraps them all. */
export function createApp(deps: AppDeps): App {
  const app: App = new Hono({ getPath: routedPathOf })
  const open = (route: VisitRoute) => (c: Asked) => visited({ request: c.req.raw, env: c.env }, route, deps)
  const withToken = (route: VisitRoute) => open((visit) => route(admitted(visit)))
  const get = (path: string, guard: typeof open, route: VisitRoute): void => {
    app.get(path, guard(route))
    app.all(
      path,
      guard(({ request }) => refuse(wrongMethod(request.method, ['GET', 'HEAD']))),
    )
  }

  app.options('*', open(preflight))
  app.all(
    '/v1/*',
    withToken((visit) => v1(visit, deps)),
  )
  get('/', open, ({ ownHeaders }) => welcome(ownHeaders))
  get('/healthz', open, ({ ownHeaders }) => jsonResponse({ status: 'ok' }, 200, ownHeaders))
  get('/readyz', open, ({ setup, ownHeaders }) => readiness(setup, deps, ownHeaders))
  get('/metrics', open, (visit) =>
    metrics(visit.setup.config.server.metricsPublic ? visit : admitted(visit), deps),
  )
  get('/admin/status', withToken, async ({ ownHeaders }) =>
    jsonResponse(await deps.status(), 200, ownHeaders),
  )
  app.all(
    '/admin/*',
    withToken(({ path }) => refuse(notFound(path))),
  )
  app.notFound(open(({ path }) => refuse(notFound(path))))
  app.onError((error) => refused(error, undefined, deps))
  return app
}

/** The visit, when it brings the token. */
function admitted(visit: Visit): Visit {
  requireToken(visit.arrival.headers, visit.setup.isToken)
  return visit
}

async function metrics({ ownHeaders }: Visit, deps: AppDeps): Promise<Response> {
  const text = await deps.metricsText()
  return new Response(text, {
    headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8', ...ownHeaders },
  })
}

function refuse(error: Error): never {
  throw error
}
