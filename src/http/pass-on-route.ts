import { GatewayError } from '../errors.ts'
import type { Upstream } from '../pool/upstream.ts'
import { passOn } from '../relay/pass-on.ts'
import { forwardedHeaders } from '../relay/upstream-headers.ts'
import type { AppDeps } from './app-deps.ts'
import { handOn } from './hand-on.ts'
import type { Visit } from './visit.ts'

/** One attempt at one upstream with method, path, query and body as they came; its answer goes back as it is. */
export async function passOnRoute(
  visit: Visit,
  { upstream, path }: { upstream: Upstream; path: string },
  deps: AppDeps,
): Promise<Response> {
  const { arrival, setup, request, query, id, since } = visit
  refuseDots(path)
  if (!upstream.enabled)
    throw new GatewayError('no_upstream', 'The upstream that this path is passed on to is disabled.')
  const bytes = await arrival.readBody({ maxBytes: setup.config.server.maxBodyBytes, memory: deps.memory })
  try {
    const headers = forwardedHeaders(arrival.headers)
    visit.isTold = true
    const answer = await passOn(
      { id, method: request.method, path, query, headers, body: bytes, gone: arrival.gone, since },
      { upstream, rules: setup.rules, traffic: deps.traffic, deps },
    )
    return handOn(visit, answer, deps)
  } finally {
    deps.memory.free(bytes.length)
  }
}

/** Segments that climb, also spelt with escapes or backslashes, would leave the upstream's root. */
const DOTS = /(?:^|[/\\]|%2f|%5c)(?:\.|%2e){1,2}(?:$|[/\\]|%2f|%5c)/i

function refuseDots(path: string): void {
  if (DOTS.test(path))
    throw new GatewayError('not_found', 'The path has dot segments, which are not passed on.')
}
