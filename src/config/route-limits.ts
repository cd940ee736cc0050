import type { Proxy } from '../pool/route.ts'
import type { Config } from './config.ts'
import { finding, type Finding, type Path } from './problem.ts'

/** A sort of route that not every runtime has. */
type RouteKind =
  | 'an HTTP proxy'
  | 'a SOCKS proxy'
  | 'a certificate authority of your own'
  | 'unchecked certificates'

/** What the connections of a runtime can't do. */
export interface RouteLimits {
  /** As people call it. */
  readonly runtime: string
  readonly lacks: readonly RouteKind[]
}

/** For runtimes whose fetch takes nothing but what every fetch does. */
export const NO_ROUTES: readonly RouteKind[] = [
  'an HTTP proxy',
  'a SOCKS proxy',
  'a certificate authority of your own',
  'unchecked certificates',
]

/** Everything that a configuration asks of connections and this runtime can't do, each at its key. */
export function* routesBeyond(config: Config, { runtime, lacks }: RouteLimits): Generator<Finding> {
  function* beyond(path: Path, kind: RouteKind, variable?: string): Generator<Finding> {
    if (!lacks.includes(kind)) return
    const [who, out] =
      variable === undefined ? ['', 'take it out'] : [` (${variable})`, 'write "proxy": "direct" here']
    const message = `asks for ${kind}${who}, which ${runtime} does not have`
    yield finding(path, message, `${out}, or run the gateway on Node`)
  }
  const { proxy } = config.settings
  if (isProxy(proxy)) yield* beyond(['settings', 'proxy'], kindOf(proxy))
  for (const [at, { proxy: own, trust = {} }] of config.models.entries()) {
    if (isProxy(own) && own.from === 'models[].proxy') yield* beyond(['models', at, 'proxy'], kindOf(own))
    else if (isProxy(own)) yield* beyond(['models', at, 'base_url'], kindOf(own), own.from)
    if (trust.ca !== undefined)
      yield* beyond(['models', at, 'tls', 'ca'], 'a certificate authority of your own')
    if (trust.insecure) yield* beyond(['models', at, 'tls', 'insecure'], 'unchecked certificates')
  }
}

const isProxy = (proxy: Proxy | 'direct' | undefined): proxy is Proxy => typeof proxy === 'object'
const kindOf = ({ kind }: Proxy): RouteKind => (kind.startsWith('socks') ? 'a SOCKS proxy' : 'an HTTP proxy')
