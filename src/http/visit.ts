import { requestIdOf } from './request-id.ts'
import type { AppDeps } from './app-deps.ts'
import type { Arrival } from './arrival.ts'
import { addCors } from './cors.ts'
import type { Setup } from './setup.ts'
import { pathOf, queryOf } from './target.ts'

/** One request on its way through the routes. */
export interface Visit {
  readonly request: Request
  /** What the runtime passed beside the request. */
  readonly env: unknown
  readonly arrival: Arrival
  /** The configuration that it began with. */
  readonly setup: Setup
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
  asked: string
  /** Whether its end is reported elsewhere: the relay tells of everything that it takes on. */
  isTold: boolean
}

/** Takes a request in. Called once for each, so it looks at little and copies nothing. */
export function visitOf(request: Request, env: unknown, deps: AppDeps): Visit {
  const since = deps.clock.now()
  const arrival = deps.arrive(request, env)
  const setup = deps.setup()
  const id = requestIdOf(arrival.headers['x-request-id'], deps.newId)
  const ownHeaders = { 'x-request-id': id }
  addCors(ownHeaders, setup.config.server.cors, arrival.headers['origin'])
  return {
    request,
    env,
    arrival,
    setup,
    id,
    path: pathOf(request.url),
    query: queryOf(arrival.target ?? request.url),
    since,
    ownHeaders,
    asked: '',
    isTold: false,
  }
}
