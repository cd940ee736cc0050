import { denoFetch } from './deno-fetch.ts'
import { endOnSignal, openFileGateway } from './node-web-gateway.ts'

/** What `deno serve` tells beside a request. */
interface ConnectionInfo {
  readonly remoteAddr?: { readonly hostname?: string }
}

const gateway = openFileGateway({
  fetch: denoFetch,
  peerOf: (_request, info) => (info as ConnectionInfo | undefined)?.remoteAddr?.hostname ?? '',
})
endOnSignal(gateway.end)

/** `deno serve` listens by itself, where its options say. */
export default { fetch: (request: Request, info: ConnectionInfo) => gateway.fetch(request, info) }
