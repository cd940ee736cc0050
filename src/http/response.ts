import { errorBody, GatewayError } from '../errors.ts'
import { streamOf, type ByteReader } from '../lib/bytes.ts'

/** An answer that is ready to go out. */
interface OutgoingResponse {
  readonly status: number
  readonly headers: Record<string, string>
  /** null = none, as with 204 and 304. */
  readonly body: Uint8Array | ByteReader | null
}

/** How a runtime answers quickest; `env` is what it passed to the app beside the request. */
export type ToResponse = (outgoing: OutgoingResponse, env: unknown) => Response

type Body = ConstructorParameters<typeof Response>[0]

/** For every fetch runtime. The types of the runtimes disagree on whose bytes a body may be. */
export const toWebResponse: ToResponse = ({ status, headers, body }) =>
  new Response((body === null || body instanceof Uint8Array ? body : streamOf(body)) as Body, {
    status,
    headers,
  })

/** A response as the runtimes are quick with: plain headers, whole body. */
export function jsonResponse(value: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(value), {
    status,
    headers: { 'content-type': 'application/json', ...headers },
  })
}

/** Any error as OpenAI's envelope. What is none of ours is told nothing about. */
export function errorResponse(error: unknown, headers: Record<string, string>): Response {
  if (error instanceof GatewayError) {
    return jsonResponse(errorBody(error.code, error.message, error.param), error.status, {
      ...headers,
      ...error.headers,
    })
  }
  return jsonResponse(
    errorBody('internal_error', 'AILoad hit an internal error; its log has the details.'),
    500,
    headers,
  )
}
