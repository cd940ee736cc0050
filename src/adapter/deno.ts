import { headerBagOf, withoutCoding } from '../lib/headers.ts'
import { proxyText, type UpstreamRoute } from '../pool/route.ts'
import type { Fetch } from '../transport/fetch.ts'
import { endOnSignal, openFileGateway } from './node/web-gateway.ts'

/** The part of Deno's own global that routes take. */
declare const Deno: {
  createHttpClient(options: {
    readonly caCerts?: readonly string[]
    readonly proxy?: {
      readonly url: string
      readonly basicAuth?: { readonly username: string; readonly password: string }
    }
  }): object
}

/** A client for each route, with its own connections; forgotten with a reload that changes many. */
const clients = new Map<string, object>()
const MOST_CLIENTS = 1_000

function clientOf({ key, proxy, trust }: UpstreamRoute): object {
  const known = clients.get(key)
  if (known !== undefined) return known
  const { user: username = '', password = '' } = proxy?.login ?? {}
  const client = Deno.createHttpClient({
    ...(trust?.ca !== undefined && { caCerts: [trust.ca] }),
    ...(proxy && {
      proxy: { url: proxyText(proxy), ...(proxy.login && { basicAuth: { username, password } }) },
    }),
  })
  if (clients.size >= MOST_CLIENTS) clients.clear()
  clients.set(key, client)
  return client
}

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
const denoFetch: Fetch = async (url, init, route) => {
  const own = route === undefined ? init : { ...init, client: clientOf(route) }
  const answer = await fetch(url, own)
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
  limits: { runtime: 'Deno', lacks: ['unchecked certificates'] },
  peerOf: (_request, info) => (info as ConnectionInfo | undefined)?.remoteAddr?.hostname ?? '',
})
endOnSignal(gateway)

/** `deno serve` listens by itself, where its options say. */
export default { fetch: (request: Request, info: ConnectionInfo) => gateway.fetch(request, info) }
