import { preflightHeaders } from './cors.ts'
import type { Visit } from './visit.ts'

/** `OPTIONS` on any path: 204 without a token, since a browser sends none. Says nothing to origins not allowed. */
export function preflight({ arrival, ownHeaders }: Visit): Response {
  const isAllowed = ownHeaders['access-control-allow-origin'] !== undefined
  const headers = isAllowed
    ? Object.assign(preflightHeaders(arrival.headers['access-control-request-headers']), ownHeaders)
    : ownHeaders
  return new Response(null, { status: 204, headers })
}
