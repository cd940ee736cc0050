import { headerBagOf, withoutCoding } from '../lib/headers.ts'
import type { Fetch } from '../transport/fetch.ts'
import { endOnSignal, openFileGateway } from './node/web-gateway.ts'

/** What Deno can undo; brotli is not among what an upstream may send that was asked for `identity`. */
const FORMATS = new Map<string, 'gzip' | 'deflate'>([
  ['gzip', 'gzip'],
  ['x-gzip', 'gzip'],
  ['deflate', 'deflate'],
])

/**
 * Deno's fetch, which leaves an answer coded when the request itself says what codings it takes, as ours do.
 * A coding that it has undone is no longer in the headers.
 */
const denoFetch: Fetch = async (url, init) => {
  const answer = await fetch(url, init)
  const format = FORMATS.get(answer.headers.get('content-encoding')?.trim().toLowerCase() ?? '')
  if (format === undefined || answer.body === null) return answer
  const headers = withoutCoding(headerBagOf(answer.headers))
  const body = answer.body.pipeThrough(new DecompressionStream(format))
  return new Response(body, { status: answer.status, headers })
}

/** What `deno serve` tells beside a request. */
interface ConnectionInfo {
  readonly remoteAddr?: { readonly hostname?: string }
}

const gateway = openFileGateway({
  fetch: denoFetch,
  peerOf: (_request, info) => (info as ConnectionInfo | undefined)?.remoteAddr?.hostname ?? '',
})
endOnSignal(gateway)

/** `deno serve` listens by itself, where its options say. */
export default { fetch: (request: Request, info: ConnectionInfo) => gateway.fetch(request, info) }
