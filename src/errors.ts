/**
 * Every error that AILoad itself answers with: its code, the HTTP status and OpenAI's `type`.
 * Clients decide by the status whether to retry, so it is always the true one.
 */
const catalog = {
  invalid_api_key: { status: 401, type: 'invalid_request_error' },
  bad_request: { status: 400, type: 'invalid_request_error' },
  invalid_json: { status: 400, type: 'invalid_request_error' },
  invalid_model: { status: 400, type: 'invalid_request_error' },
  invalid_multipart: { status: 400, type: 'invalid_request_error' },
  invalid_encoding: { status: 400, type: 'invalid_request_error' },
  ip_not_allowed: { status: 403, type: 'invalid_request_error' },
  admin_only: { status: 403, type: 'invalid_request_error' },
  passthrough_not_allowed: { status: 403, type: 'invalid_request_error' },
  model_not_found: { status: 404, type: 'invalid_request_error' },
  unsupported_endpoint: { status: 404, type: 'invalid_request_error' },
  admin_read_only: { status: 403, type: 'invalid_request_error' },
  config_not_writable: { status: 403, type: 'invalid_request_error' },
  config_changed: { status: 409, type: 'invalid_request_error' },
  config_invalid: { status: 422, type: 'invalid_request_error' },
  not_found: { status: 404, type: 'invalid_request_error' },
  method_not_allowed: { status: 405, type: 'invalid_request_error' },
  request_timeout: { status: 408, type: 'invalid_request_error' },
  unsupported_encoding: { status: 415, type: 'invalid_request_error' },
  request_too_large: { status: 413, type: 'invalid_request_error' },
  headers_too_large: { status: 431, type: 'invalid_request_error' },
  client_closed_request: { status: 499, type: 'invalid_request_error' },
  too_many_viewers: { status: 429, type: 'rate_limit_error' },
  rate_limit_exceeded: { status: 429, type: 'rate_limit_error' },
  insufficient_quota: { status: 429, type: 'insufficient_quota' },
  upstream_unavailable: { status: 502, type: 'upstream_error' },
  upstream_auth_failed: { status: 502, type: 'upstream_error' },
  upstream_model_not_found: { status: 502, type: 'upstream_error' },
  upstream_error: { status: 502, type: 'upstream_error' },
  upstream_bad_response: { status: 502, type: 'upstream_error' },
  upstream_disconnected: { status: 502, type: 'upstream_error' },
  upstream_overloaded: { status: 503, type: 'upstream_error' },
  no_upstream: { status: 503, type: 'upstream_error' },
  overloaded: { status: 503, type: 'server_error' },
  draining: { status: 503, type: 'server_error' },
  not_configured: { status: 503, type: 'server_error' },
  internal_error: { status: 500, type: 'server_error' },
  upstream_timeout: { status: 504, type: 'upstream_error' },
} as const satisfies Record<string, { status: number; type: string }>

/** A code of the catalog; it stands in `error.code` of the answer. */
export type ErrorCode = keyof typeof catalog

/**
 * An answer of our own that ends a request. The message is read by the client's developer: it says what, where and
 * what would be right, and never holds a token, a key or a piece of a prompt.
 */
export class GatewayError extends Error {
  readonly code: ErrorCode
  readonly status: number
  readonly param: string | null
  /** Further response headers, lower-case. */
  readonly headers: Readonly<Record<string, string>>
  /** Takes the place of OpenAI's envelope where a client speaks another protocol. */
  readonly body: object | undefined
  /** How many upstreams were asked before. */
  attempts = 0

  constructor(
    code: ErrorCode,
    message: string,
    extra: { param?: string; headers?: Record<string, string>; body?: object } = {},
  ) {
    super(message)
    this.name = 'GatewayError'
    this.code = code
    this.status = catalog[code].status
    this.param = extra.param ?? null
    this.headers = extra.headers ?? {}
    this.body = extra.body
  }
}

/** The code of a system error, such as `ENOENT`; undefined where it has none. Quotes nothing, as a message may. */
export const systemCodeOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error ? String(error.code) : undefined

/** Enough to find the place. */
const MOST_FRAMES = 6

/**
 * Where a mistake of ours was made: an error's name, code and stack frames, on one line. Never its message: runtimes
 * quote header values and addresses there, and with them keys.
 */
export function errorTrace(error: unknown): string {
  if (!(error instanceof Error)) return 'a value that is not an Error was thrown'
  const { stack = '', message, constructor } = error
  const code = systemCodeOf(error) ?? ''
  // The message stands above the frames, and may look like one.
  const lines = stack.slice(stack.indexOf(message) + message.length).split('\n')
  const frames = lines.filter((line) => /^ {4}at /.test(line)).slice(0, MOST_FRAMES)
  const where = frames.map((line) => line.trim()).join(' ')
  return `${constructor.name}${/^[A-Z0-9_]+$/.test(code) ? ` ${code}` : ''} ${where}`.trimEnd()
}

/** The JSON that a client reads for a code: OpenAI's envelope; `param` names the field at fault. */
export function errorBody(code: ErrorCode, message: string, param: string | null = null) {
  return { error: { message, type: catalog[code].type, param, code } }
}
