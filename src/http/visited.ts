import { GatewayError } from '../errors.ts'
import type { AppDeps } from './app-deps.ts'
import { routeOf } from './endpoint.ts'
import { errorResponse } from './error-answer.ts'
import { visitOf, type Visit } from './visit.ts'

/** What answers a visit. Errors are thrown. */
export type VisitRoute = (visit: Visit) => Response | Promise<Response>

/** What wraps every route: the request id, CORS, errors as OpenAI's envelope, and a word of each that ends here. */
export async function visited(
  asked: { readonly request: Request; readonly env: unknown },
  route: VisitRoute,
  deps: AppDeps,
): Promise<Response> {
  let visit: Visit | undefined
  try {
    visit = visitOf(asked.request, asked.env, deps)
    return await route(visit)
  } catch (error) {
    return refused(error, visit, deps)
  }
}

/** The answer for an error. One that is none of ours is our mistake: the client is told nothing, the operator where. */
export function refused(error: unknown, visit: Visit | undefined, deps: AppDeps): Response {
  const isOurs = error instanceof GatewayError
  if (!isOurs) {
    deps.report({
      kind: 'notice',
      level: 'error',
      message: `a mistake of AILoad in request ${visit?.id ?? '-'}: ${trace(error)}`,
    })
  }
  const status = isOurs ? error.status : 500
  if (visit !== undefined && !visit.isTold)
    tell(visit, { status, code: isOurs ? error.code : 'internal_error' }, deps)
  return errorResponse(error, visit?.ownHeaders ?? {})
}

/** Reports a request that ends without the relay: its line in the log and its count in the metrics. */
export function tell(visit: Visit, end: { status: number; code?: string }, deps: AppDeps): void {
  visit.isTold = true
  const route = visit.path.startsWith('/v1/') ? routeOf(visit.path.slice('/v1/'.length)) : undefined
  const models = route === undefined ? 'other' : 'models'
  deps.report({
    kind: 'request',
    id: visit.id,
    endpoint: route?.endpoint ?? models,
    asked: visit.asked,
    attempts: [],
    durationMs: deps.clock.now() - visit.since,
    stream: false,
    queuedMs: 0,
    ...end,
  })
}

/** Where our own mistake was made. Messages of runtimes quote header values and URLs, so they are left out. */
function trace(error: unknown): string {
  if (!(error instanceof Error)) return 'a value was thrown that is no error'
  const frames = (error.stack ?? '').split('\n').filter((line) => line.startsWith('    at '))
  const nearest = frames.slice(0, 3).map((line) => line.trim())
  return [error.name, ...nearest].join(' ')
}
