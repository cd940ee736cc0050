import type { ServerConfig } from '../config/config.ts'

/**
 * Headers that a page's script may read. The star means all of them, since credentials are never allowed; browsers
 * that do not know it (Safari before 15.4) read the names.
 */
const EXPOSED =
  'x-request-id, x-model, x-aiload-upstream, x-aiload-attempts, retry-after, retry-after-ms, openai-processing-ms, *'

/**
 * Adds the CORS headers for one origin; none where cross-origin calls are not allowed.
 *
 * Credentials are never allowed: the token travels in a header that the page's script sets itself.
 */
export function addCors(
  headers: Record<string, string>,
  cors: ServerConfig['cors'],
  origin: string | undefined,
): void {
  if (cors === false) return
  if (cors !== '*') headers['vary'] = 'Origin'
  if (origin === undefined || (cors !== '*' && !cors.includes(origin))) return
  headers['access-control-allow-origin'] = cors === '*' ? '*' : origin
  headers['access-control-expose-headers'] = EXPOSED
}

/** What a list of header names is made of; anything else is not repeated. */
const IS_NAME_LIST = /^[\w\-.!#$%&'*+^`|~, \t]{1,4096}$/

/** What a preflight is told besides; the browser asks again after a day. */
export function preflightHeaders(requestedHeaders: string | undefined): Record<string, string> {
  const isList = requestedHeaders !== undefined && IS_NAME_LIST.test(requestedHeaders)
  return {
    'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS',
    'access-control-allow-headers': isList ? requestedHeaders : 'authorization, content-type',
    'access-control-max-age': '86400',
  }
}
