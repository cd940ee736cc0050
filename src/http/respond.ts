import { streamOf, type ByteReader } from '../lib/byte-reader.ts'

/** An answer that is ready to go out. */
interface Outgoing {
  readonly status: number
  readonly headers: Record<string, string>
  /** null = none, as with 204 and 304. */
  readonly body: Uint8Array | ByteReader | null
}

/** How a runtime answers quickest; `env` is what it passed to the app beside the request. */
export type Respond = (outgoing: Outgoing, env: unknown) => Response

type Body = ConstructorParameters<typeof Response>[0]

/** For every fetch runtime. The types of the runtimes disagree on whose bytes a body may be. */
export const webRespond: Respond = ({ status, headers, body }) =>
  new Response((body === null || body instanceof Uint8Array ? body : streamOf(body)) as Body, {
    status,
    headers,
  })
