import tls from 'node:tls'
import { proxyUrl } from '../pool/route.ts'
import type { Fetch } from '../transport/fetch.ts'
import { endOnSignal, openFileGateway } from './node/web-gateway.ts'

/** The part of Bun's own global that serving takes. */
declare const Bun: {
  serve(options: {
    readonly port: number
    readonly hostname: string
    readonly idleTimeout: number
    readonly maxRequestBodySize: number
    readonly fetch: (request: Request, server: BunServer) => Promise<Response>
  }): BunServer
}

interface BunServer {
  readonly port: number
  requestIP(request: Request): { readonly address: string } | null
  stop(): Promise<void>
}

/** What Bun's fetch takes beside what every fetch does. Certificates there replace those that it knows. */
const bunFetch: Fetch = (url, init, { proxy, trust } = { key: '' }) => {
  if (proxy === undefined && trust === undefined) return fetch(url, init)
  const { ca, insecure } = trust ?? {}
  const certificates = ca === undefined ? {} : { ca: [...bunTls.getCACertificates('default'), ca] }
  const own = {
    ...(proxy && { proxy: proxyUrl(proxy) }),
    tls: { ...certificates, ...(insecure && { rejectUnauthorized: false }) },
  }
  return fetch(url, { ...init, ...own })
}

/** Node's types know it from a later version on. */
const bunTls = tls as typeof tls & { getCACertificates(kind: 'default'): string[] }

const gateway = openFileGateway({
  fetch: bunFetch,
  limits: { runtime: 'Bun', lacks: ['a SOCKS proxy'] },
  peerOf: (request, server) => (server as BunServer).requestIP(request)?.address ?? '',
})
const { host, port } = gateway.config.server

const server = Bun.serve({
  port,
  hostname: host,
  // 0 = never: by default Bun cuts every answer that is silent for 10 s.
  idleTimeout: 0,
  // The gateway counts the bytes itself, and answers in OpenAI's envelope.
  maxRequestBodySize: Number.MAX_SAFE_INTEGER,
  fetch: (request, own) => gateway.fetch(request, own),
})
gateway.say(`AILoad listens on http://${host === '0.0.0.0' ? 'localhost' : host}:${server.port}/v1 (Bun)`)

endOnSignal({
  reload: gateway.reload,
  async end() {
    void server.stop()
    await gateway.end()
  },
})
