/** What a user of edge-runtime writes; the configuration is put in front of it by the test. */
import { createEdgeHandler } from '../../src/adapter/edge/edge.ts'

interface FetchEvent {
  readonly request: Request
  respondWith(answer: Promise<Response>): void
}
const { AILOAD, addEventListener } = globalThis as unknown as {
  AILOAD: object
  addEventListener(kind: 'fetch', listener: (event: FetchEvent) => void): void
}
const handle = createEdgeHandler({ config: AILOAD })
addEventListener('fetch', (event) => event.respondWith(handle(event.request)))
