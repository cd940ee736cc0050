import { errorBody, GatewayError } from '../errors.ts'
import type { AbortSignalLike } from '../lib/abort.ts'
import { streamOf, type ByteReader } from '../lib/bytes.ts'

/** An answer that is ready to go out; its body is null where there is none, as with 204 and 304. */
interface OutgoingResponse {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: Uint8Array | ByteReader | null
  /** Called once when the runtime no longer holds a whole body; at once where it can't tell. */
  readonly onLeft?: () => void
  /** Aborted when nobody is to wait for its end any more; a runtime that can cuts the connection. */
  readonly cut?: AbortSignalLike
}

/** How a runtime answers quickest; `env` is what it passed to the app beside the request. */
export type ToResponse = (outgoing: OutgoingResponse, env: unknown) => Response

type Body = ConstructorParameters<typeof Response>[0]

/** For every fetch runtime. The types of the runtimes disagree on whose bytes a body may be. */
export const toWebResponse: ToResponse = ({ status, headers, body, onLeft }) => {
  onLeft?.()
  const init = { status, headers }
  return new Response((body === null || body instanceof Uint8Array ? body : streamOf(body)) as Body, init)
}

/** A response as the runtimes are quick with: plain headers, whole body. */
export function jsonResponse(value: unknown, status: number, headers: Record<string, string>): Response {
  return new Response(JSON.stringify(value), {
    status,
    headers: { 'content-type': 'application/json', ...headers },
  })
}

/** What is thrown as the error that the client reads: of one that is none of ours it is told nothing. */
export const asGatewayError = (thrown: unknown): GatewayError =>
  thrown instanceof GatewayError
    ? thrown
    : new GatewayError('internal_error', 'AILoad hit an internal error; its log has the details.')

/** An error as OpenAI's envelope, or as the body that it brings along; it tells how many upstreams were asked. */
export function errorResponse(error: GatewayError, headers: Record<string, string>): Response {
  const { code, message, param, status, attempts, body = errorBody(code, message, param) } = error
  const ownHeaders = { 'x-aiload-attempts': String(attempts), ...headers, ...error.headers }
  return jsonResponse(body, status, ownHeaders)
}
