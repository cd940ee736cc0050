import type { HeaderBag } from '../lib/headers.ts'
import type { Upstream } from '../pool/upstream.ts'

/** What of a client's request an upstream may see. Everything else stays here: tokens, cookies, addresses. */
const REQUEST_HEADERS = new Set(['content-type', 'accept', 'user-agent', 'idempotency-key', 'traceparent'])

/** OpenAI's own switches, and what its SDKs say of themselves. Organisation and project belong to an account. */
function isRequestHeader(name: string): boolean {
  if (REQUEST_HEADERS.has(name) || name.startsWith('x-stainless-')) return true
  return name.startsWith('openai-') && name !== 'openai-organization' && name !== 'openai-project'
}

/** The client's headers that go on, the same for every upstream. Computed once for a request. */
export function forwardedHeaders(client: HeaderBag): HeaderBag {
  const forwarded: Record<string, string> = {}
  for (const name in client) {
    const value = client[name]
    if (value !== undefined && isRequestHeader(name)) forwarded[name] = value
  }
  return forwarded
}

/**
 * All headers for one upstream: forwarded ones, its own key, then what its configuration adds or replaces.
 *
 * Filled in loops: to spread objects of this kind costs ten times as much.
 */
export function headersFor(upstream: Upstream, forwarded: HeaderBag): Record<string, string> {
  const headers: Record<string, string> = { 'accept-encoding': 'identity' }
  if (upstream.apiKey !== '') headers['authorization'] = `Bearer ${upstream.apiKey}`
  copy(forwarded, headers)
  copy(upstream.headers, headers)
  return headers
}

function copy(from: HeaderBag, to: Record<string, string>): void {
  for (const name in from) {
    const value = from[name]
    if (value !== undefined) to[name] = value
  }
}

/** The same for a relayed body, which is JSON or a form whatever the client has called it. */
export function relayedHeaders(upstream: Upstream, forwarded: HeaderBag): HeaderBag {
  const headers = headersFor(upstream, forwarded)
  const type = forwarded['content-type']
  const isNamed = type !== undefined && IS_READ.test(type)
  if (!isNamed && upstream.headers['content-type'] === undefined) headers['content-type'] = 'application/json'
  return headers
}

const IS_READ = /json|multipart\//i

/** The address of an upstream's endpoint; its configured query comes first, then the client's. */
export function urlFor(upstream: Upstream, path: string, query: string): string {
  const both = upstream.query !== '' && query !== '' ? `${upstream.query}&${query}` : upstream.query + query
  return both === '' ? `${upstream.root}/${path}` : `${upstream.root}/${path}?${both}`
}
