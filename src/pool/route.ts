/** A proxy between the gateway and an upstream. */
export interface Proxy {
  /** `socks5` has names resolved here, `socks5h` by the proxy. */
  readonly kind: 'http' | 'https' | 'socks5' | 'socks5h'
  /** A name or an address; IPv6 without brackets. */
  readonly host: string
  readonly port: number
  /** Absent where it wants none. A secret, the user too. */
  readonly login?: { readonly user: string; readonly password: string }
  /** The key of the configuration or the variable of the environment that names it. */
  readonly from: string
}

/** How certificates are checked, where it is not as the runtime does by itself. */
export interface Trust {
  /** Certificates (PEM) of authorities that are trusted besides the runtime's own. */
  readonly ca?: string
  /** Any certificate of the upstream's is taken. That of a proxy is checked all the same. */
  readonly insecure?: true
}

/** How connections to an upstream are made, where that is not straight and with the runtime's own certificates. */
export interface UpstreamRoute {
  /** Tells it from any other; a fingerprint, since a login is part of it. */
  readonly key: string
  readonly proxy?: Proxy
  readonly trust?: Trust
}

/** A proxy as logs and people may see it: never with its login. */
export const proxyText = ({ kind, host, port }: Proxy): string =>
  `${kind}://${host.includes(':') ? `[${host}]` : host}:${port}`

/** The same with its login, for those that want a URL. A secret. */
export function proxyUrl(proxy: Proxy): string {
  const { login } = proxy
  if (login === undefined) return proxyText(proxy)
  const { user, password } = login
  return proxyText(proxy).replace('://', `://${encodeURIComponent(user)}:${encodeURIComponent(password)}@`)
}

/** Upstreams named for a proxy; of more only the number is told. */
const MOST_NAMES = 8

/** Who goes through which proxy, a line for each; nothing where nobody does. Holds no login. */
export function routeLines(
  upstreams: readonly { readonly name: string; readonly route?: UpstreamRoute | undefined }[],
): string[] {
  const names = new Map<string, string[]>()
  for (const { name, route } of upstreams) {
    const way =
      route?.proxy === undefined ? DIRECT : `through ${proxyText(route.proxy)} (${route.proxy.from})`
    names.set(way, [...(names.get(way) ?? []), name])
  }
  if (names.size === 0 || (names.size === 1 && names.has(DIRECT))) return []
  return [...names].map(([way, all]) => {
    const left = all.length - MOST_NAMES
    return `${way}: ${all.slice(0, MOST_NAMES).join(', ')}${left > 0 ? ` and ${left} more` : ''}`
  })
}

const DIRECT = 'without a proxy'
