import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root, tools, tsx, versions } from '../../tests/runtime/tools.ts'
import { testCertificate } from '../../tests/support/test-certificate.ts'
import { securePortOf, type Ports, type Proxy } from './start-proxy.ts'

const fileOf = (name: string, text: string): string => {
  const file = join(mkdtempSync(join(tmpdir(), 'aiload-bench-')), name)
  writeFileSync(file, text)
  return file
}
const here = (name: string): string => join(root, 'bench/http', name)
const packageVersion = (directory: string): string =>
  (JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as { version: string }).version
const missingFile = (path: string): string | undefined => (existsSync(path) ? undefined : 'not installed')

/** With everything on: token, affinity, limits that are counted and never reached, one log line a request, metrics. */
export function ailoadConfig({ port, upstream }: Ports, upstreams = 2, isSecure = false): string {
  const root = isSecure ? `https://localhost:${securePortOf(upstream)}/v1` : `http://127.0.0.1:${upstream}/v1`
  const limits = { rpm: 10_000_000, tpm: 1_000_000_000_000, rpd: 10_000_000_000 }
  return JSON.stringify({
    server: { host: '127.0.0.1', port, mode: 'release' },
    auth_token: 'sk-bench',
    settings: { strategy: 'random', affinity: 'ip', affinity_ttl: 300 },
    models: Array.from({ length: upstreams }, (_, nth) => ({
      base_url: root,
      api_key: `k${nth}`,
      model: 'm',
      name: `m${nth}`,
      limits,
    })),
  })
}

function aiload(
  name: string,
  command: (file: string, ports: Ports) => string[],
  more: Partial<Proxy> = {},
): Proxy {
  return {
    name,
    rewrites: true,
    version: () => packageVersion(root),
    command: (ports) => command(fileOf('config.json', ailoadConfig(ports)), ports),
    ...more,
  }
}

const started = (node: string) => (file: string) => [
  node,
  join(root, 'dist/cli/main.js'),
  'start',
  '--config',
  file,
]

const nginxText = ({ port, upstream }: Ports): string => `
worker_processes 1; daemon off; pid /tmp/aiload-bench-nginx.pid; error_log /dev/null;
events { worker_connections 16384; }
http { access_log off; client_max_body_size 64m; client_body_buffer_size 8m; keepalive_requests 1000000000;
  upstream up { server 127.0.0.1:${upstream}; keepalive 512; keepalive_requests 1000000000; }
  server { listen 127.0.0.1:${port} backlog=4096;
    location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; } } }`

const haproxyText = ({ port, upstream }: Ports): string => `
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  option http-no-delay
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend in
  bind 127.0.0.1:${port}
  default_backend up
backend up
  http-reuse always
  server up 127.0.0.1:${upstream}
`

const peers = join(root, '.tools/peers')
const portkey = join(peers, 'node_modules/@portkey-ai/gateway')
const litellm = join(peers, 'litellm/bin/litellm')
const liteText = ({ upstream }: Ports): string =>
  JSON.stringify({
    model_list: [
      {
        model_name: 'auto',
        litellm_params: { model: 'openai/m', api_base: `http://127.0.0.1:${upstream}/v1`, api_key: 'k' },
      },
    ],
    general_settings: { master_key: 'sk-bench' },
  })
const firstLine = (command: string, ...args: string[]): string =>
  execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).split('\n')[0] ?? ''

/** All of them, those that are compared with first. */
export const proxies: readonly Proxy[] = [
  {
    name: 'bare node:http',
    rewrites: true,
    version: () => process.version,
    command: ({ port, upstream }) => [
      process.execPath,
      '--import',
      tsx,
      here('bare-proxy.ts'),
      `${port}`,
      `${upstream}`,
    ],
  },
  {
    name: 'nginx',
    rewrites: false,
    missing: missingFile('/usr/sbin/nginx'),
    version: () => '1.22',
    command: (ports) => ['/usr/sbin/nginx', '-c', fileOf('nginx.conf', nginxText(ports))],
  },
  {
    name: 'haproxy',
    rewrites: false,
    missing: missingFile('/usr/sbin/haproxy'),
    version: () => firstLine('/usr/sbin/haproxy', '-v').split(' ')[2] ?? '',
    command: (ports) => ['/usr/sbin/haproxy', '-db', '-f', fileOf('haproxy.cfg', haproxyText(ports))],
  },
  aiload(`AILoad on Node ${process.version.slice(1)}`, started(process.execPath)),
  aiload(`AILoad on Node ${versions.node24}`, started(tools.node24), { missing: missingFile(tools.node24) }),
  aiload(`AILoad on Bun ${versions.bun}`, () => [tools.bun, 'run', join(root, 'src/adapter/bun.ts')], {
    missing: missingFile(tools.bun),
    env: (ports) => ({ AILOAD_CONFIG: fileOf('config.json', ailoadConfig(ports)) }),
  }),
  aiload(
    `AILoad on Deno ${versions.deno}`,
    (_file, { port }) => [
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
    {
      missing: missingFile(tools.deno),
      env: (ports) => ({ AILOAD_CONFIG: fileOf('config.json', ailoadConfig(ports)) }),
    },
  ),
  aiload('AILoad with 100 upstreams', () => [], {
    command: (ports) => started(process.execPath)(fileOf('config.json', ailoadConfig(ports, 100))),
  }),
  aiload('AILoad, upstream over TLS', () => [], {
    command: (ports) => started(process.execPath)(fileOf('config.json', ailoadConfig(ports, 2, true))),
    env: () => ({ NODE_EXTRA_CA_CERTS: fileOf('ca.pem', testCertificate.cert) }),
  }),
  {
    name: 'the obvious port',
    rewrites: true,
    version: () => process.version,
    command: ({ port, upstream }) => [
      process.execPath,
      '--import',
      tsx,
      here('obvious-proxy.ts'),
      `${port}`,
      `${upstream}`,
    ],
  },
  {
    name: 'Portkey',
    rewrites: false,
    missing: missingFile(portkey),
    version: () => packageVersion(portkey),
    command: ({ port }) => [
      process.execPath,
      join(portkey, 'build/start-server.js'),
      `--port=${port}`,
      '--headless',
    ],
  },
  {
    name: 'LiteLLM',
    rewrites: true,
    missing: missingFile(litellm),
    version: () =>
      firstLine(
        join(peers, 'litellm/bin/python'),
        '-c',
        'from importlib.metadata import version; print(version("litellm"))',
      ),
    command: (ports) => [
      litellm,
      '--config',
      fileOf('config.yaml', liteText(ports)),
      '--host',
      '127.0.0.1',
      '--port',
      `${ports.port}`,
    ],
  },
  ...['Bifrost', 'one-api', 'gpt-load', 'TensorZero'].map((name): Proxy => ({
    name,
    rewrites: true,
    missing: 'a program in Go or Rust that its package registry does not serve to be built',
    version: () => '',
    command: () => [],
  })),
]
