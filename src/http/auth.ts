import { GatewayError } from '../errors.ts'
import type { HeaderBag } from '../lib/headers.ts'

/** RFC 9110 §11.1: the scheme has no case; whatever follows its blanks is the token. */
const BEARER = /^bearer +/i
// oxlint-disable-next-line no-control-regex
const IS_ASCII = /^[\u0000-\u007f]*$/

/** A right token in any of them is enough: SDKs fill some of them by themselves. */
const TOKEN_HEADERS = ['authorization', 'x-api-key', 'api-key']

/** `invalid_api_key` for a request that does not show the token; the message never quotes what was given. */
export function tokenError(
  headers: HeaderBag,
  isToken: (given: string) => boolean,
): GatewayError | undefined {
  let what = 'No token was sent.'
  for (const name of TOKEN_HEADERS) {
    const value = headers[name]
    const isBearer = name === 'authorization'
    if (value === undefined || (isBearer && !BEARER.test(value))) continue
    const given = isBearer ? value.replace(BEARER, '').trim() : value
    // Runtimes read header bytes as Latin-1, and clients such as curl write them as UTF-8: either counts.
    if (isToken(given) || (!IS_ASCII.test(given) && isToken(readAsUtf8(given)))) return undefined
    what = 'The token is wrong.'
  }
  const message = `${what} Send the gateway's auth_token as "Authorization: Bearer …".`
  return new GatewayError('invalid_api_key', message, { headers: { 'www-authenticate': 'Bearer' } })
}

function readAsUtf8(latin1: string): string {
  const bytes = Uint8Array.from(latin1, (char) => char.charCodeAt(0))
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
}
