import { errorBody, GatewayError } from '../errors.ts'

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
  return jsonResponse(errorBody('internal_error', 'AILoad made a mistake; its log tells more.'), 500, headers)
}
