import { GatewayError } from '../errors.ts'
import type { HeaderBag } from '../lib/headers.ts'

/** RFC 9110 §11.1: the scheme has no case; whatever follows its blanks is the token. */
const BEARER = /^bearer +/i
// oxlint-disable-next-line no-control-regex
const IS_ASCII = /^[\u0000-\u007f]*$/

/** A right token in any of them is enough: SDKs fill some of them by themselves. */
const TOKEN_HEADERS = ['authorization', 'x-api-key', 'api-key']

/** The token of `Authorization: Bearer …`, `x-api-key` or `api-key`: whether the right one is among them. */
export function checkToken(
  headers: HeaderBag,
  isToken: (given: string) => boolean,
): 'right' | 'wrong' | 'missing' {
  let result: 'wrong' | 'missing' = 'missing'
  for (const name of TOKEN_HEADERS) {
    const value = headers[name]
    const isBearer = name === 'authorization'
    if (value === undefined || (isBearer && !BEARER.test(value))) continue
    const given = isBearer ? value.replace(BEARER, '').trim() : value
    // Runtimes read header bytes as Latin-1, and clients such as curl write them as UTF-8: either counts.
    if (isToken(given) || (!IS_ASCII.test(given) && isToken(readAsUtf8(given)))) return 'right'
    result = 'wrong'
  }
  return result
}

/** @throws GatewayError `invalid_api_key`; the message never quotes what was given */
export function requireToken(headers: HeaderBag, isToken: (given: string) => boolean): void {
  const result = checkToken(headers, isToken)
  if (result === 'right') return
  const what = result === 'missing' ? 'No token was sent.' : 'The token is wrong.'
  const message = `${what} Send the gateway's auth_token as "Authorization: Bearer …".`
  throw new GatewayError('invalid_api_key', message, { headers: { 'www-authenticate': 'Bearer' } })
}

function readAsUtf8(latin1: string): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(
    Uint8Array.from(latin1, (char) => char.charCodeAt(0)),
  )
}
