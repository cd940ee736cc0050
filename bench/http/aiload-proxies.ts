import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { root, tools, versions } from '../../tests/runtime/tools.ts'
import { testCertificate } from '../../tests/support/test-certificate.ts'
import { fileOf } from './config-files.ts'
import { securePortOf, type Ports, type Proxy } from './start-proxy.ts'

/** Which of the project's forms is asked for. */
interface Form {
  readonly upstreams?: number
  readonly scheme?: 'http' | 'https'
}

/** With everything on: token, affinity, limits that are counted and never reached, one log line a request, metrics. */
function configText({ port, upstream }: Ports, { upstreams = 2, scheme = 'http' }: Form = {}): string {
  const at =
    scheme === 'https' ? `https://localhost:${securePortOf(upstream)}` : `http://127.0.0.1:${upstream}`
  const limits = { rpm: 10_000_000, tpm: 1_000_000_000_000, rpd: 10_000_000_000 }
  return JSON.stringify({
    server: { host: '127.0.0.1', port, mode: 'release' },
    auth_token: 'sk-bench',
    settings: { strategy: 'random', affinity: 'ip', affinity_ttl: 300 },
    models: Array.from({ length: upstreams }, (_, nth) => ({
      base_url: `${at}/v1`,
      api_key: `k${nth}`,
      model: 'm',
      name: `m${nth}`,
      limits,
    })),
  })
}

const configFile = (ports: Ports, form?: Form): string => fileOf('config.json', configText(ports, form))
const runtimes = {
  aiload: { node: process.execPath, version: process.version.slice(1) },
  aiload24: { node: tools.node24, version: versions.node24 },
} as const

/** A file that has to be there, or why something can't be started. */
export const missingFile = (path: string) => (): string | undefined =>
  existsSync(path) ? undefined : `${path} is not there`

/** The version that a directory's `package.json` tells; empty where there is none. */
export function packageVersion(directory: string): string {
  const file = join(directory, 'package.json')
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version : ''
}

function onNode(id: keyof typeof runtimes, form?: Form): Proxy {
  const { node, version } = runtimes[id]
  return {
    id,
    name: `AILoad on Node ${version}`,
    missing: missingFile(node),
    version: () => packageVersion(root),
    command: (ports) => [node, join(root, 'dist/cli/main.js'), 'start', '--config', configFile(ports, form)],
  }
}

/**
 * Another build of the gateway: `aiload@DIR` or, on Node 24, `aiload24@DIR`, where DIR holds `dist/`, with `config/`
 * and `package.json` beside it; undefined where a text says nothing of the kind.
 */
export function builtElsewhere(text: string): Proxy | undefined {
  const [, id, given = ''] = /^(aiload|aiload24)@(.+)$/.exec(text) ?? []
  if (id !== 'aiload' && id !== 'aiload24') return undefined
  const directory = resolve(given)
  const main = join(directory, 'dist/cli/main.js')
  const { node, version } = runtimes[id]
  return {
    id: text,
    name: `AILoad of ${given} on Node ${version}`,
    missing: () => missingFile(node)() ?? missingFile(main)(),
    version: () => packageVersion(directory),
    command: (ports) => [node, main, 'start', '--config', configFile(ports)],
  }
}

const onFetchRuntime = (proxy: Pick<Proxy, 'id' | 'name' | 'missing' | 'command'>): Proxy => ({
  ...proxy,
  version: () => packageVersion(root),
  env: (ports) => ({ AILOAD_CONFIG: configFile(ports) }),
})

/** Reads the stream of events as an open page does. */
function watch(port: number): () => void {
  const page = new AbortController()
  const headers = { authorization: 'Bearer sk-bench' }
  async function read(): Promise<void> {
    const { body } = await fetch(`http://127.0.0.1:${port}/admin/events`, { headers, signal: page.signal })
    if (body === null) throw new Error('there is no stream of events')
    for await (const _ of body) if (page.signal.aborted) return
  }
  void read().catch((error: unknown) => {
    if (!page.signal.aborted) throw error
  })
  return () => page.abort()
}

/** The gateway in all its forms. */
export const ailoadProxies: readonly Proxy[] = [
  onNode('aiload'),
  onNode('aiload24'),
  onFetchRuntime({
    id: 'aiload-bun',
    name: `AILoad on Bun ${versions.bun}`,
    missing: missingFile(tools.bun),
    command: () => [tools.bun, 'run', join(root, 'src/adapter/bun.ts')],
  }),
  onFetchRuntime({
    id: 'aiload-deno',
    name: `AILoad on Deno ${versions.deno}`,
    missing: missingFile(tools.deno),
    command: ({ port }) => [
      tools.deno,
      'serve',
      '-A',
      '--unstable-no-legacy-abort',
      '--host',
      '127.0.0.1',
      '--port',
      `${port}`,
      join(root, 'src/adapter/deno.ts'),
    ],
  }),
  { ...onNode('aiload'), id: 'aiload-watched', name: 'AILoad with its page open', started: watch },
  { ...onNode('aiload', { upstreams: 100 }), id: 'aiload-100', name: 'AILoad with 100 upstreams' },
  {
    ...onNode('aiload', { scheme: 'https' }),
    id: 'aiload-tls',
    name: 'AILoad, upstream over TLS',
    env: () => ({ NODE_EXTRA_CA_CERTS: fileOf('ca.pem', testCertificate.cert) }),
  },
]
