import { fingerprint } from '../lib/hash.ts'
import type { RequestContext } from './context.ts'
import type { Page } from './deps.ts'

/** What the document says of itself; a frame is the one thing that only a header forbids. */
const POLICY = /<meta http-equiv="content-security-policy" content="([^"]*)">/

/** The page of a document that `config/page.ts` has built. @throws Error for another document */
export function pageOf(html: string): Page {
  const policy = POLICY.exec(html)?.[1]
  if (policy === undefined) throw new Error('the page has no content security policy')
  return { html, policy: `${policy}; frame-ancestors 'none'`, etag: `"${fingerprint(html)}"` }
}

/**
 * The page for somebody who opens the address in a browser: a sign-in and the program that asks `/admin/*` with the token.
 * Where there is none it is a short text. Either holds nothing that the token protects.
 */
export async function welcome(context: RequestContext): Promise<Response> {
  const { deps, incoming, ownHeaders, runtimeConfig } = context
  // Without `/admin/*` it could show nothing.
  const page = runtimeConfig.config.server.admin === 'off' ? undefined : await deps.page?.()
  const type = { 'content-type': 'text/html; charset=utf-8', ...ownHeaders }
  if (page === undefined) return new Response(SHORT_PAGE, { headers: type })
  const { html, gzip, policy, etag } = page
  const headers: Record<string, string> = {
    ...type,
    etag,
    'cache-control': 'no-cache',
    'content-security-policy': policy,
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    vary: [ownHeaders['vary'], 'Accept-Encoding'].filter(Boolean).join(', '),
  }
  // A proxy that packs by itself makes the tag a weak one.
  if (incoming.headers['if-none-match']?.replaceAll('W/', '').includes(etag))
    return new Response(null, { status: 304, headers })
  const isPacked = gzip !== undefined && TAKES_GZIP.test(incoming.headers['accept-encoding'] ?? '')
  if (isPacked) headers['content-encoding'] = 'gzip'
  return new Response(isPacked ? gzip : html, { headers })
}

/** Named, and not with the weight 0. */
const TAKES_GZIP = /\bgzip\b(?!\s*;\s*q=0(?:\.0*)?(?![.\d]))/i

const SHORT_PAGE = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>AILoad</title>
<style>body{font:16px/1.6 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}code{background:#8882;padding:.1em .3em;border-radius:.2em}</style>
<h1>AILoad is running</h1>
<p>Point an OpenAI client at <code>/v1</code> on this address, with the gateway's token as its key and <code>auto</code> as the model.</p>
<p><code>GET /v1/models</code> lists the names, <code>GET /admin/status</code> shows the upstreams; both want the token.</p>
</html>
`
