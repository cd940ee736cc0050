import * as v from 'valibot'
import { isInRange, parseIp, parseRange } from '../lib/ip.ts'
import type { Proxy } from '../pool/route.ts'
import { finding, type Environment, type Finding } from './problem.ts'
import { message, parseUrl, text } from './rules.ts'

/** What of an address counts where somebody may be exempt from a proxy. */
interface Destination {
  /** `http:` or `https:`. */
  readonly protocol: string
  /** Lower-case, IPv6 without brackets, without a dot at the end. */
  readonly host: string
  readonly port: number
}

const proxyHint =
  'write http://, https://, socks5:// or socks5h:// with host and port, such as "socks5h://127.0.0.1:1080", or "direct"'

/** The variables that `environmentProxy` reads. */
export const PROXY_VARIABLES: readonly string[] = [
  'http_proxy',
  'https_proxy',
  'all_proxy',
  'no_proxy',
].flatMap((name) => [name, name.toUpperCase()])

const DEFAULT_PORTS = { http: 80, https: 443, socks5: 1080, socks5h: 1080 } as const
/** RFC 1929: a length is one byte. */
const LONGEST_SOCKS_TEXT = 255

/**
 * The proxy that an URL names; or why there is none, in words that repeat nothing of it. What stands before the last `@`
 * is the login whatever is in it: it may come out of a variable, where nobody has escaped it. `%XX` is decoded.
 * @param from who says so
 */
function parseProxy(written: string, from: string): Proxy | { readonly message: string } {
  const [, scheme = '', login, address = ''] =
    /^([a-z][a-z\d+.-]*):\/\/(?:(.*)@)?(.*)$/is.exec(written.trim()) ?? []
  if (scheme === '') return { message: 'is not the URL of a proxy' }
  const kind = scheme.toLowerCase()
  if (!isKind(kind)) return { message: 'has a scheme that is none of http, https, socks5 and socks5h' }
  // Read as an http URL: the parser looks into the host only of those that it knows.
  const url = /[\s\\]/.test(address) ? undefined : parseUrl(`http://${address}`)
  if (url === undefined) return { message: 'is not the URL of a proxy' }
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '')
    return { message: 'has something behind host and port' }
  // The parser leaves out a port of 80.
  const port = Number(/:(\d+)\/?$/.exec(address)?.[1] ?? DEFAULT_PORTS[kind])
  if (port === 0) return { message: 'has port 0' }
  const proxy = { kind, host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port, from }
  if (login === undefined || login === '') return proxy
  const [, user = '', password = ''] = /^([^:]*):?(.*)$/s.exec(login) ?? []
  const own = { user: decoded(user), password: decoded(password) }
  const problem = loginProblem(kind, own)
  return problem === undefined ? { ...proxy, login: own } : { message: problem }
}

const isProblem = (parsed: Proxy | { readonly message: string }): parsed is { readonly message: string } =>
  'message' in parsed

/** A proxy of the configuration, or `direct`. @param from its key */
export const proxySchema = (from: string) =>
  v.pipe(
    text(proxyHint),
    v.rawTransform(({ dataset, addIssue, NEVER }): Proxy | 'direct' => {
      if (dataset.value.trim() === 'direct') return 'direct'
      const proxy = parseProxy(dataset.value, from)
      if (!isProblem(proxy)) return proxy
      addIssue({ message: message(proxy.message, proxyHint) })
      return NEVER
    }),
  )

const isKind = (scheme: string): scheme is Proxy['kind'] => Object.hasOwn(DEFAULT_PORTS, scheme)

function loginProblem(
  kind: Proxy['kind'],
  { user, password }: NonNullable<Proxy['login']>,
): string | undefined {
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(user + password)) return 'has a control character in its login'
  if (!kind.startsWith('socks')) return undefined
  if (user === '' || password === '') return 'has a user name without a password, or the other way round'
  const bytes = (text: string): number => new TextEncoder().encode(text).length
  return Math.max(bytes(user), bytes(password)) > LONGEST_SOCKS_TEXT
    ? 'has a login that is longer than SOCKS can carry'
    : undefined
}

/** What is no escape of UTF-8 stays as it is. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/**
 * The proxy of the environment for an address, undefined for none; or what is wrong with its variable.
 *
 * `https_proxy` or `http_proxy` by the scheme of the address, else `all_proxy`; in lower case before upper case, and an
 * empty one counts as not set (curl's manual, "Environment"; undici's `EnvHttpProxyAgent`). `HTTP_PROXY` in upper case is
 * taken as undici does: curl leaves it out for the sake of CGI, where a client's header could set it, and nothing starts
 * a gateway by CGI. A value without a scheme is http, as curl has it, and `socks` is SOCKS 5, as undici has it.
 */
export function environmentProxy(root: string, env: Environment): Proxy | Finding | undefined {
  const destination = destinationOf(root)
  if (destination === undefined || isLoopback(destination.host)) return undefined
  const names = [destination.protocol === 'https:' ? 'https_proxy' : 'http_proxy', 'all_proxy']
  const name = names
    .flatMap((lower) => [lower, lower.toUpperCase()])
    .find((each) => (env[each]?.trim() ?? '') !== '')
  if (name === undefined) return undefined
  if (isExempt(destination, env['no_proxy'] || env['NO_PROXY'] || '')) return undefined
  const value = env[name]?.trim() ?? ''
  const url = value.includes('://') ? value.replace(/^socks:/i, 'socks5:') : `http://${value}`
  const proxy = parseProxy(url, name)
  if (!isProblem(proxy)) return proxy
  const hint = `set it to a URL such as http://proxy.example.com:3128, or write "proxy": "direct" here`
  return finding([], `would go through the proxy of ${name} in the environment, which ${proxy.message}`, hint)
}

function destinationOf(root: string): Destination | undefined {
  const url = parseUrl(root)
  if (url === undefined) return undefined
  const host = plainHost(url.hostname)
  return { protocol: url.protocol, host, port: Number(url.port || (url.protocol === 'https:' ? 443 : 80)) }
}

const plainHost = (host: string): string =>
  host
    .toLowerCase()
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '')

const LOOPBACK = ['127.0.0.0/8', '::1'].flatMap((range) => parseRange(range) ?? [])

/** Whether a URL leads to this machine. */
export const isOnThisMachine = (url: string): boolean => isLoopback(destinationOf(url)?.host ?? '')

/** Whether a name or an address is this machine: every name below `localhost` is (RFC 6761 §6.3). */
export function isLoopback(host: string): boolean {
  const ip = parseIp(host)
  if (ip !== undefined) return LOOPBACK.some((range) => isInRange(ip, range))
  return host === 'localhost' || host.endsWith('.localhost')
}

/**
 * Whether a list such as NO_PROXY names an address: `*`, a host, which is its subdomains too, `.suffix` and `*.suffix`,
 * an address, a range (CIDR), each but ranges also with `:port`. Names are compared as they are written and never looked up.
 */
function isExempt(destination: Destination, list: string): boolean {
  return list.split(/[\s,]+/).some((entry) => entry !== '' && isNamedBy(entry, destination))
}

function isNamedBy(entry: string, { host, port }: Destination): boolean {
  if (entry === '*') return true
  const whole = parseRange(plainHost(entry))
  const [, bare = entry, own] = whole === undefined ? (/^(.*):(\d+)$/.exec(entry) ?? []) : []
  if (own !== undefined && Number(own) !== port) return false
  const range = whole ?? parseRange(plainHost(bare))
  const ip = parseIp(host)
  if (range !== undefined) return ip !== undefined && isInRange(ip, range)
  const name = plainHost(bare).replace(/^\*?\./, '')
  return host === name || (ip === undefined && host.endsWith(`.${name}`))
}
