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

const gateway = openFileGateway({
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
