import { GatewayError } from '../errors.ts'
import type { HeaderBag } from '../lib/headers.ts'

/** RFC 9110 §11.1: the scheme has no case; whatever follows its blanks is the token. */
const BEARER = /^bearer +/i
// oxlint-disable-next-line no-control-regex
const IS_ASCII = /^[\u0000-\u007f]*$/

/** A right token in any of them is enough: SDKs fill some of them by themselves. */
const TOKEN_HEADERS = ['authorization', 'x-api-key', 'api-key']

/**
 * The token that a request shows, as `tokenOf` finds it; `invalid_api_key` for one that shows none. The message never
 * quotes what was given.
 */
export function shownToken(
  headers: HeaderBag,
  tokenOf: (given: string) => string | undefined,
): string | GatewayError {
  let what: string | undefined
  for (const name of TOKEN_HEADERS) {
    const value = headers[name]
    if (value === undefined || value.trim() === '') continue
    const isBearer = name === 'authorization'
    if (isBearer && !BEARER.test(value)) {
      what = slipIn(value.trim())
      continue
    }
    const given = isBearer ? value.replace(BEARER, '').trim() : value
    // Runtimes read header bytes as Latin-1, and clients such as curl write them as UTF-8: either counts.
    const token = tokenOf(given) ?? (IS_ASCII.test(given) ? undefined : tokenOf(readAsUtf8(given)))
    if (token !== undefined) return token
    what ??= wrongIn(given)
  }
  const message = `${what ?? 'No token was sent.'} Send the gateway's auth_token as "Authorization: Bearer …".`
  return new GatewayError('invalid_api_key', message, { headers: { 'www-authenticate': 'Bearer' } })
}

/** Schemes that people mistake for it; no other word is repeated, since it may be the token. */
const OTHER_SCHEME = /^(basic|token|digest|negotiate|api-?key|key) /i

/** What is wrong with an `authorization` that does not begin with the scheme and a blank. */
function slipIn(value: string): string {
  const other = OTHER_SCHEME.exec(value)?.[1]
  if (other !== undefined) return `The scheme of the authorization header is "${other}" instead of "Bearer".`
  if (/^bearer$/i.test(value)) return 'There is no token after the word "Bearer".'
  if (/^bearer\W/i.test(value)) return 'Only a blank may stand between the word "Bearer" and the token.'
  return 'The word "Bearer" is missing before the token in the authorization header.'
}

/** What is wrong with a token that is not the right one, as far as its form tells. */
function wrongIn(token: string): string {
  if (token === '') return 'There is no token after the word "Bearer".'
  if (/^bearer(?:\s|$)/i.test(token)) return 'The word "Bearer" stands twice before the token.'
  if (/^["'`\u201c\u2018]|["'`\u201d\u2019]$/.test(token)) return 'The token is wrong: it stands in quotes.'
  if (/^(?:undefined|null|none|\[object object\]|\$\{?\w+\}?|\{\{.*\}\}|%\w+%|<.*>)$/i.test(token))
    return 'The token is wrong: it is a placeholder that was not filled in.'
  return 'The token is wrong.'
}

function readAsUtf8(latin1: string): string {
  const bytes = Uint8Array.from(latin1, (char) => char.charCodeAt(0))
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
}
