import { knownStates } from '../telemetry/status.ts'
import { whyNotReady } from '../telemetry/readiness.ts'
import type { RequestContext } from './context.ts'
import { jsonResponse } from './response.ts'

/** Ready while at least one upstream may take a request; see `whyNotReady`. */
export async function readiness({ deps, runtimeConfig, ownHeaders }: RequestContext): Promise<Response> {
  const { pools, config } = runtimeConfig
  const { upstreams } = pools
  const stateOf = await knownStates(upstreams, deps.store.snapshot)
  const { settings } = config
  const judged = { upstreams, settings, abilities: deps.abilities, stateOf, now: deps.clock.now() }
  const why = deps.isDraining() ? 'draining' : whyNotReady(judged)
  return jsonResponse({ status: why ?? 'ready' }, why === undefined ? 200 : 503, ownHeaders)
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
