import { GatewayError } from '../errors.ts'
import type { HeaderBag } from '../lib/headers.ts'
import type { Pools } from '../pool/pool.ts'
import type { ClientToken } from './clients.ts'
import { peerOf, type RequestContext } from './context.ts'

/**
 * The same context, when the request brings a token that may be used at this time and from where it comes.
 *
 * @throws `invalid_api_key` where it brings none, or one that has expired; `ip_not_allowed`
 */
export function requireToken(context: RequestContext): RequestContext {
  const { incoming, runtimeConfig, deps } = context
  const client = shownToken(incoming.headers, runtimeConfig.clientOf)
  if (client instanceof GatewayError) throw client
  context.client = client
  const { token } = client
  if (token === undefined) return context
  if (token.expiresAt !== undefined && deps.clock.wall() >= token.expiresAt) throw expired(token)
  if (token.allowIps !== undefined) {
    const address = peerOf(context)
    if (!token.allows(address)) throw notAllowed(address)
  }
  return context
}

/** The same context, when its token may see and do what operators do. @throws `admin_only` */
export function requireAdmin(context: RequestContext): RequestContext {
  const { token } = context.client ?? {}
  if (token === undefined || token.admin) return context
  throw new GatewayError('admin_only', 'This token is for requests to models: only an admin may do this.')
}

/** The upstreams that the client of a request may use. */
export const poolsOf = ({ client, runtimeConfig }: RequestContext): Pools =>
  client?.token?.pools() ?? runtimeConfig.pools

function expired({ expiresAt = 0 }: ClientToken): GatewayError {
  const message = `This token has expired on ${new Date(expiresAt).toISOString()}; ask the operator for another.`
  return new GatewayError('invalid_api_key', message, { headers: { 'www-authenticate': 'Bearer' } })
}

const notAllowed = (address: string): GatewayError =>
  new GatewayError('ip_not_allowed', `This token may not be used from the address ${address}.`)

/** RFC 9110 §11.1: the scheme has no case; whatever follows its blanks is the token. */
const BEARER = /^bearer +/i
// oxlint-disable-next-line no-control-regex
const IS_ASCII = /^[\u0000-\u007f]*$/

/** A right token in any of them is enough: SDKs fill some of them by themselves. */
const TOKEN_HEADERS = ['authorization', 'x-api-key', 'api-key']

/**
 * Whose token a request shows, as `ownerOf` finds it; `invalid_api_key` for one that shows none. The message never quotes
 * what was given.
 */
export function shownToken<Owner extends object | string>(
  headers: HeaderBag,
  ownerOf: (given: string) => Owner | undefined,
): Owner | GatewayError {
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
    const owner = ownerOf(given) ?? (IS_ASCII.test(given) ? undefined : ownerOf(readAsUtf8(given)))
    if (owner !== undefined) return owner
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
