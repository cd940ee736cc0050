import { GatewayError } from '../errors.ts'
import type { HeaderBag } from '../lib/headers.ts'

/** RFC 9110 §11.1: the scheme has no case; whatever follows its blanks is the token. */
const BEARER = /^bearer +/i
// oxlint-disable-next-line no-control-regex
const IS_ASCII = /^[\u0000-\u007f]*$/

/**
 * Lets a request pass that shows the token as `Authorization: Bearer …`, `x-api-key` or `api-key`.
 *
 * A right one in any of the three is enough: SDKs fill some of them by themselves.
 * @throws GatewayError `invalid_api_key`; the message never quotes what was given
 */
export function requireToken(headers: HeaderBag, isToken: (given: string) => boolean): void {
  const bearer = bearerOf(headers['authorization'])
  if (bearer !== undefined && isSame(bearer, isToken)) return
  const other = headers['x-api-key']
  if (other !== undefined && isSame(other, isToken)) return
  const last = headers['api-key']
  if (last !== undefined && isSame(last, isToken)) return
  const what = (bearer ?? other ?? last) === undefined ? 'No token was sent.' : 'The token is wrong.'
  throw new GatewayError(
    'invalid_api_key',
    `${what} Send the gateway's auth_token as "Authorization: Bearer …".`,
    {
      headers: { 'www-authenticate': 'Bearer' },
    },
  )
}

function bearerOf(authorization: string | undefined): string | undefined {
  if (authorization === undefined || !BEARER.test(authorization)) return undefined
  return authorization.replace(BEARER, '').trim()
}

/** Runtimes read header bytes as Latin-1, and clients such as curl write them as UTF-8: either counts. */
function isSame(given: string, isToken: (given: string) => boolean): boolean {
  return isToken(given) || (!IS_ASCII.test(given) && isToken(readAsUtf8(given)))
}

function readAsUtf8(latin1: string): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(
    Uint8Array.from(latin1, (char) => char.charCodeAt(0)),
  )
}
