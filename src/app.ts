import { Hono } from 'hono/tiny'
import type { AppDeps } from './http/app-deps.ts'
import { jsonResponse } from './http/error-answer.ts'
import { notFound } from './http/not-found.ts'
import { preflight } from './http/preflight.ts'
import { readiness } from './http/readiness.ts'
import { routedPathOf } from './http/target.ts'
import { requireToken } from './http/token.ts'
import { v1, wrongMethod } from './http/v1.ts'
import type { Visit } from './http/visit.ts'
import { refused, visited, type VisitRoute } from './http/visited.ts'
import { welcome } from './http/welcome.ts'

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
