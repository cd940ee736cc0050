import { evaluate } from '../relay/candidates.ts'
import { remedyOf } from '../state/availability.ts'
import type { RequestContext } from './context.ts'
import { jsonResponse } from './response.ts'

/**
 * Ready while at least one upstream may take a request. One that rests for failures counts as able, since it
 * is tried anyway when nothing else is left; one whose limit reopens within `queue_timeout` does too.
 */
export async function readiness(context: RequestContext): Promise<Response> {
  const why = context.deps.isDraining() ? 'draining' : await reasonOf(context)
  return jsonResponse({ status: why ?? 'ready' }, why === undefined ? 200 : 503, context.ownHeaders)
}

/** One token, since a request without any would pass by the limits that count them. */
const SMALLEST = { inputTokens: 1, outputTokens: 0, probeMs: 0, lastResort: false }

async function reasonOf({ deps, runtimeConfig }: RequestContext): Promise<string | undefined> {
  const { pools, config } = runtimeConfig
  const enabled = pools.upstreams.filter((upstream) => upstream.enabled)
  if (enabled.length === 0) return 'no upstream is enabled'
  const now = deps.clock.now()
  const { credits } = deps.traffic
  const among = { endpoint: 'chat', now, credits, store: deps.store } as const
  const { candidates, unavailable } = await evaluate(enabled, SMALLEST, among)
  const isAble = unavailable.some(
    ({ reason }) => remedyOf(reason) !== 'wait' || reason.until <= now + config.settings.queueTimeoutMs,
  )
  return candidates.length > 0 || isAble ? undefined : 'all upstreams are out of quota'
}

/** A short page for somebody who opens the address in a browser; holds nothing that the token protects. */
export function welcome({ ownHeaders }: RequestContext): Response {
  const page = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>AILoad</title>
<style>body{font:16px/1.6 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}code{background:#8882;padding:.1em .3em;border-radius:.2em}</style>
<h1>AILoad is running</h1>
<p>Point an OpenAI client at <code>/v1</code> on this address, with the gateway's token as its key and <code>auto</code> as the model.</p>
<p><code>GET /v1/models</code> lists the names, <code>GET /admin/status</code> shows the upstreams; both want the token.</p>
</html>
`
  return new Response(page, { headers: { 'content-type': 'text/html; charset=utf-8', ...ownHeaders } })
}
