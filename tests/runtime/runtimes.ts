import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../support/free-port.ts'
import { edgeBundle, workerBundle } from './bundles.ts'
import { root, tools, tsx, versions, workerd, workerdVersion } from './tools.ts'

export const TOKEN = 'sk-the-token-of-the-runtimes'

/** A gateway in a runtime of its own, on the loopback address. */
export interface Running {
  readonly url: string
  readonly pid: number
  /** From the start of the process to the first answer of `/healthz`. */
  readonly startedInMs: number
  /** All that it printed. */
  output(): string
  /** Ends the process and removes its directory, unless that is to be kept. */
  stop(how?: { readonly keep: string }): Promise<void>
}

/** What a runtime cannot do, each with a test that shows what happens instead. */
export interface Limits {
  /** A client's abort before the first byte is told to the gateway. */
  readonly tellsEarlyAbort: boolean
  /** An answer that breaks off breaks the connection; else streams are handed on in whole events. */
  readonly breaksConnection: boolean
  /** It has `DecompressionStream`, or codings of its own; else a packed body is 415. */
  readonly decodes: boolean
}

/** Where it runs and what is in its environment besides. */
export interface More {
  readonly directory?: string
  readonly env?: Readonly<Record<string, string>>
}

/** A runtime and how a gateway is started in it. */
export interface Runtime {
  readonly name: string
  readonly limits: Limits
  start(config: object, more?: More): Promise<Running>
}

const ABLE: Limits = { tellsEarlyAbort: true, breaksConnection: true, decodes: true }

/** A configuration with the token, on a port of the loopback address. */
export const configured = (config: object, port: number): object => ({
  auth_token: TOKEN,
  ...config,
  server: { ...('server' in config ? (config.server as object) : {}), host: '127.0.0.1', port },
})

export function node(version: '20' | '24'): Runtime {
  const key = `node${version}` as const
  return {
    name: `Node ${versions[key]}`,
    limits: ABLE,
    start: (config, more) =>
      onFiles(config, more, (file) => [
        tools[key],
        '--import',
        tsx,
        join(root, 'src/cli/main.ts'),
        'start',
        '--config',
        file,
      ]),
  }
}

export const bun: Runtime = {
  name: `Bun ${versions.bun}`,
  limits: ABLE,
  start: (config, more) => onFiles(config, more, () => [tools.bun, 'run', join(root, 'src/adapter/bun.ts')]),
}

export const deno: Runtime = {
  name: `Deno ${versions.deno}`,
  limits: ABLE,
  start: (config, more) =>
    onFiles(config, more, (_file, port) => {
      const where = ['--host', '127.0.0.1', '--port', String(port)]
      return [
        tools.deno,
        'serve',
        '-A',
        '--unstable-no-legacy-abort',
        ...where,
        join(root, 'src/adapter/deno.ts'),
      ]
    }),
}

export const edgeRuntime: Runtime = {
  name: `edge-runtime ${versions.edgeRuntime}`,
  limits: { tellsEarlyAbort: false, breaksConnection: false, decodes: false },
  async start(config) {
    const port = await freePort()
    const directory = temporaryDirectory()
    const script = join(directory, 'function.js')
    writeFileSync(
      script,
      `globalThis.AILOAD = ${JSON.stringify(configured(config, port))};\n${await edgeBundle()}`,
    )
    return launch([tools.node20, tools.edgeRuntime, '--listen', '--port', String(port), script], {
      port,
      directory,
    })
  },
}

export const worker: Runtime = {
  name: `workerd ${workerdVersion()}`,
  limits: { tellsEarlyAbort: false, breaksConnection: false, decodes: true },
  start: (config, { directory } = {}) =>
    startWorkers(config, { directory, sockets: 1 }).then(([only]) => only!),
}

/** The same without the Durable Object. */
export const workerAlone: Runtime = {
  ...worker,
  name: `${worker.name}, no object`,
  start: (config) => startWorkers(config, { object: 'none' }).then(([only]) => only!),
}

/** How Workers are started. */
export interface WorkersOptions {
  /** Where the object's storage is; a new directory unless given. */
  readonly directory?: string | undefined
  /** How many isolates, each with its own port. */
  readonly sockets?: number
  /** Instead of the texts that make a working one. */
  readonly texts?: Readonly<Record<string, string>>
  /** The body of the object's `fetch(request)`, around or instead of its own; `none` = no object is bound. */
  readonly object?: string
  /** The page among the assets; none unless given. */
  readonly page?: string
}

/** Isolates in one workerd over one Durable Object on disk. */
export async function startWorkers(config: object, options: WorkersOptions = {}): Promise<Running[]> {
  const { directory = temporaryDirectory(), sockets = 1, object } = options
  const ports = await Promise.all(Array.from({ length: sockets }, freePort))
  writeFileSync(join(directory, 'worker.js'), workerBundle())
  const body = object === undefined || object === 'none' ? 'return super.fetch(request)' : object
  const around = `import { AiloadState as Own } from 'own.js'
export class AiloadState extends Own { async fetch(request) { ${body} } }
export default {}`
  writeFileSync(join(directory, 'object.js'), around)
  const texts = options.texts ?? { AILOAD_CONFIG: JSON.stringify(config), AUTH_TOKEN: TOKEN }
  if (options.page !== undefined) writeFileSync(join(directory, 'page.html'), options.page)
  const hasPage = options.page !== undefined
  writeFileSync(
    join(directory, 'workerd.capnp'),
    workerdConfig(ports, texts, { hasObject: object !== 'none', hasPage }),
  )
  const command = [
    workerd(),
    'serve',
    '--experimental',
    `-ddisk=${directory}`,
    join(directory, 'workerd.capnp'),
  ]
  const first = await launch(command, { port: ports[0]!, directory })
  return [first, ...ports.slice(1).map((port) => ({ ...first, url: `http://127.0.0.1:${port}` }))]
}

const STATE =
  '(name = "AILOAD_STATE", durableObjectNamespace = (className = "AiloadState", serviceName = "state"))'

function workerdConfig(
  ports: readonly number[],
  texts: Readonly<Record<string, string>>,
  { hasObject, hasPage }: { readonly hasObject: boolean; readonly hasPage: boolean },
): string {
  const bindings = Object.entries(texts).map(
    ([name, text]) => `(name = "${name}", text = ${JSON.stringify(text)})`,
  )
  if (hasObject) bindings.push(STATE)
  // A disk of workerd answers as the assets of the platform do.
  if (hasPage) bindings.push('(name = "PAGE", service = "disk")')
  const isolate = (modules: string, own = ''): string => `(
    modules = [${modules}],
    compatibilityDate = "2026-04-01",
    compatibilityFlags = ["enable_request_signal"],
    globalOutbound = "network",
    bindings = [${bindings.join(', ')}],
    ${own})`
  const object = `durableObjectNamespaces = [(className = "AiloadState", uniqueKey = "aiload-state", enableSql = true)],
    durableObjectStorage = (localDisk = "disk")`
  const own = (name: string): string => `(name = "${name}", esModule = embed "worker.js")`
  const around = `(name = "object.js", esModule = embed "object.js"), ${own('own.js')}`
  const services = ports.map((_port, at) => `(name = "isolate${at}", worker = ${isolate(own('worker.js'))})`)
  const sockets = ports.map(
    (port, at) => `(name = "http${at}", address = "127.0.0.1:${port}", http = (), service = "isolate${at}")`,
  )
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "network", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
    (name = "disk", disk = (path = "/nowhere", writable = true)),
    (name = "state", worker = ${isolate(around, object)}),
    ${services.join(',\n')}
  ],
  sockets = [${sockets.join(',\n')}]
);\n`
}

async function onFiles(
  config: object,
  more: More | undefined,
  commandOf: (file: string, port: number) => string[],
): Promise<Running> {
  const port = await freePort()
  const directory = more?.directory ?? temporaryDirectory()
  const file = join(directory, 'config.json')
  writeFileSync(file, JSON.stringify(configured(config, port)))
  return launch(commandOf(file, port), { port, directory, env: { ...more?.env, AILOAD_CONFIG: file } })
}

interface Launch {
  readonly port: number
  readonly directory: string
  readonly env?: Readonly<Record<string, string>>
}

const PATIENCE_MS = 30_000

async function launch(
  [command = '', ...args]: readonly string[],
  { port, directory, env = {} }: Launch,
): Promise<Running> {
  const since = performance.now()
  const child = spawn(command, args, {
    cwd: root,
    env: { ...process.env, NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let printed = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => void (printed += text))
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const kill = (): void => void child.kill('SIGKILL')
  process.once('exit', kill)
  const url = `http://127.0.0.1:${port}`
  const stop: Running['stop'] = async (how) => {
    child.kill('SIGTERM')
    const timer = setTimeout(kill, 2_000)
    await ended
    clearTimeout(timer)
    process.off('exit', kill)
    if (how?.keep !== directory) rmSync(directory, { recursive: true, force: true })
  }
  while (!(await answers(url))) {
    if (child.exitCode !== null || performance.now() - since > PATIENCE_MS) {
      await stop()
      throw new Error(`${command} does not answer:\n${printed}`)
    }
    await new Promise((go) => setTimeout(go, 5))
  }
  return { url, pid: child.pid ?? 0, startedInMs: performance.now() - since, output: () => printed, stop }
}

/** A gateway without a configuration answers 503. */
async function answers(url: string): Promise<boolean> {
  try {
    const answer = await fetch(`${url}/healthz`)
    await answer.arrayBuffer()
    return answer.status === 200 || answer.status === 503
  } catch {
    return false
  }
}

export const temporaryDirectory = (): string => mkdtempSync(join(tmpdir(), 'aiload-runtime-'))

/** Clock ticks of user and system time, in ms, of a process with all its threads (Linux, 100 Hz). */
export function cpuMsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}
