import { TOKEN, type TestApp } from './test-app.ts'

/** A request to the gateway; the method is GET without a body and POST with one. */
export interface AskInit {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: string | Uint8Array | ReadableStream<Uint8Array>
  /** The other end of the connection. */
  readonly peer?: string
}

/** Asks with the token. */
export function ask(test: TestApp, path: string, { headers, ...init }: AskInit = {}): Promise<Response> {
  return askBare(test, path, { ...init, headers: { authorization: `Bearer ${TOKEN}`, ...headers } })
}

/** Asks without a token, unless the headers have one. */
export async function askBare(
  { app }: TestApp,
  path: string,
  { method, headers = {}, body, peer }: AskInit = {},
): Promise<Response> {
  const request = new Request(`http://gateway.test${path}`, {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    headers,
    ...(body !== undefined && { body, duplex: 'half' }),
  })
  return app.fetch(request, { peer })
}

/** OpenAI's error object. */
export interface ErrorObject {
  readonly message: string
  readonly type: string
  readonly param: string | null
  readonly code: string
}

/** The error of an answer; throws when it is no envelope. */
export async function errorOf(response: Response): Promise<ErrorObject> {
  const { error }: { error: ErrorObject } = JSON.parse(await response.text())
  return error
}
