/**
 * AILoad as a process of its own, as users start it.
 *
 * ```ts
 * const gateway = await startGateway({ models: [{ base_url: upstream.url, model: 'm', api_key: 'k' }] })
 * const answer = await gateway.chat()
 * await gateway.printed(/stopped/)
 * await gateway.stop()                       // or leave it to the end of the test
 *
 * const { code, stderr } = await runAiload(['check'], { directory })
 * ```
 *
 * A process started inside a test is killed at its end; one started in a hook is stopped by the caller.
 * All of them end with the test run, however that ends.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { onTestFinished } from 'vitest'
import { vendorPresets } from '../../src/config/presets.ts'

/** How a process ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** Where and how a process runs. */
export interface ProcessOptions {
  /** The working directory. */
  readonly directory: string
  /** Added to the environment, where nothing is set for AILoad. */
  readonly env?: Readonly<Record<string, string>>
  /** Starts as another user; only root may. */
  readonly uid?: number
  /** Starts from the sources, as `npm start` does, and not from what was built of them for the test run. */
  readonly from?: 'sources'
  /** How many descriptors it may have open. */
  readonly descriptors?: number
  /** What starts it, such as `['strace', '-o', 'file']`. */
  readonly through?: readonly string[]
  /** Puts a shell between it and us, as npm does; the pid and signals are those of the shell then. */
  readonly parent?: 'sh'
}

/** A process and what it has printed. */
export interface AiloadProcess {
  readonly pid: number
  readonly stdout: string
  readonly stderr: string
  /** Settles when it has ended and everything it printed is there. */
  readonly exit: Promise<Exit>
  signal(signal: NodeJS.Signals): void
  /** Resolves when stdout or stderr fits; rejects with all output when the process ends first, or after 15 s. */
  printed(pattern: RegExp): Promise<RegExpExecArray>
  /** Closes our end of its stdout and stderr, as a reader does that goes away. */
  hangUpOutput(): void
  /** SIGTERM, and SIGKILL after 15 s. */
  stop(): Promise<Exit>
}

/** A gateway that answers. */
export interface GatewayProcess extends AiloadProcess {
  readonly port: number
  /** `http://127.0.0.1:port`, without `/v1`. */
  readonly url: string
  readonly token: string
  readonly directory: string
  readonly configFile: string
  /** Replaces the file; what is not given is as in the beginning, text is written as it is. */
  writeConfig(config: object | string): void
  /** Any request, with the token. */
  fetch(path: string, init?: RequestInit): Promise<Response>
  /** `POST /v1/chat/completions`, with the token; the body is a small question unless parts of it are given. */
  chat(body?: object, init?: RequestInit): Promise<Response>
}

/** Options of `startGateway`. */
export interface GatewayOptions extends Partial<ProcessOptions> {
  /** After `start`. */
  readonly args?: readonly string[]
}

export const testToken = 'sk-the-token-of-the-tests'

const root = fileURLToPath(new URL('../../', import.meta.url))
const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
const sources = ['--import', tsx, join(root, 'src', 'cli', 'main.ts')] as const
const build = process.env['AILOAD_TEST_BUILD']
const PATIENCE_MS = 15_000

/** A directory that is removed at the end of the test; in a hook, by the caller. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'aiload-'))
  atTestEnd(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** Starts a command. */
export function spawnAiload(
  args: readonly string[],
  { directory, env = {}, uid, parent, from, descriptors, through = [] }: ProcessOptions,
): AiloadProcess {
  const isBuilt = build !== undefined && from !== 'sources'
  const command = [
    ...through,
    process.execPath,
    ...(isBuilt ? [join(build, 'dist/cli/main.js')] : sources),
    ...args,
  ]
  // The second command keeps the shell from becoming the first one.
  const shell = descriptors === undefined ? '"$@"; true' : `ulimit -n ${descriptors}; exec "$@"`
  const isShell = parent === 'sh' || descriptors !== undefined
  const [program = '', ...words] = isShell ? ['sh', '-c', shell, 'sh', ...command] : command
  const child = spawn(program, words, {
    cwd: directory,
    env: { ...inheritedEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  })
  const printed = { stdout: '', stderr: '' }
  const readers = new Set<() => void>()
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      printed[stream] += text
      for (const read of readers) read()
    })
  }
  const exit = exitOf(child)
  atTestEnd(() => child.kill('SIGKILL'))
  return {
    pid: child.pid ?? 0,
    get stdout() {
      return printed.stdout
    },
    get stderr() {
      return printed.stderr
    },
    exit,
    signal: (signal) => void child.kill(signal),
    printed: (pattern) =>
      new Promise((resolve, reject) => {
        const all = (): string => `${printed.stdout}${printed.stderr}`
        const fail = (why: string) => () =>
          settle(() => reject(new Error(`${why} before ${pattern} was printed:\n${all()}`)))
        const timer = setTimeout(fail(`${PATIENCE_MS} ms went by`), PATIENCE_MS)
        const settle = (how: () => void): void => {
          clearTimeout(timer)
          readers.delete(look)
          how()
        }
        const look = (): void => {
          const found = pattern.exec(all())
          if (found !== null) settle(() => resolve(found))
        }
        readers.add(look)
        look()
        void exit.then(fail('the process ended'))
      }),
    hangUpOutput() {
      child.stdout.destroy()
      child.stderr.destroy()
    },
    stop() {
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS)
      return exit.finally(() => clearTimeout(timer))
    },
  }
}

/** Runs a command to its end. */
export async function runAiload(
  args: readonly string[],
  options: ProcessOptions,
): Promise<Exit & { stdout: string; stderr: string; ms: number }> {
  const since = performance.now()
  const child = spawnAiload(args, options)
  const timer = setTimeout(() => child.signal('SIGKILL'), PATIENCE_MS)
  const exit = await child.exit
  clearTimeout(timer)
  return { ...exit, stdout: child.stdout, stderr: child.stderr, ms: performance.now() - since }
}

/**
 * Starts a gateway on a free port of the loopback address and waits until it answers. The configuration is
 * completed with a token, `server.host` and `server.port`, and stands in `data/config/config.json` of the
 * directory; given as text it is written as it is, and should bring all of them.
 */
export async function startGateway(
  config: object | string,
  options: GatewayOptions = {},
): Promise<GatewayProcess> {
  const directory = options.directory ?? temporaryDirectory()
  const configFile = join(directory, 'data', 'config', 'config.json')
  const writeConfig = (next: object | string): void => {
    mkdirSync(dirname(configFile), { recursive: true })
    writeFileSync(configFile, typeof next === 'string' ? next : JSON.stringify(completed(next), undefined, 2))
  }
  writeConfig(config)
  const child = spawnAiload(['start', ...(options.args ?? [])], { ...options, directory })
  const port = await portOf(child)
  const url = `http://127.0.0.1:${port}`
  const token = typeof config === 'object' && 'auth_token' in config ? String(config.auth_token) : testToken
  const ask: GatewayProcess['fetch'] = (path, init = {}) => {
    const headers = new Headers(init.headers)
    if (!headers.has('authorization')) headers.set('authorization', `Bearer ${token}`)
    return fetch(url + path, { ...init, headers })
  }
  const extra = {
    port,
    url,
    token,
    directory,
    configFile,
    writeConfig,
    fetch: ask,
    chat: (body: object = {}, init: RequestInit = {}) => {
      const question = { model: 'auto', messages: [{ role: 'user', content: 'Hello' }], ...body }
      const headers = new Headers(init.headers)
      headers.set('content-type', 'application/json')
      return ask('/v1/chat/completions', { ...init, method: 'POST', headers, body: JSON.stringify(question) })
    },
  }
  return extended(child, extra)
}

/** The port in the first lines, once it answers. */
export async function portOf(child: AiloadProcess): Promise<number> {
  const [, port] = await child.printed(/http:\/\/[^\s"]+:(\d+)\/v1/)
  const health = await fetch(`http://127.0.0.1:${port}/healthz`)
  if (health.status !== 200) throw new Error(`/healthz answers ${health.status}`)
  return Number(port)
}

const completed = (config: object): object => ({
  auth_token: testToken,
  ...config,
  server: { host: '127.0.0.1', port: 0, ...('server' in config ? (config.server as object) : {}) },
})

/** Keeps the getters of the process alive. */
function extended<Extra extends object>(child: AiloadProcess, extra: Extra): AiloadProcess & Extra {
  return Object.defineProperties(extra, Object.getOwnPropertyDescriptors(child)) as AiloadProcess & Extra
}

/** Under npm a gateway ends with its parent: so it does when somebody kills the test run. */
function inheritedEnvironment(): NodeJS.ProcessEnv {
  const isOurs = (name: string): boolean =>
    /^(?:AILOAD_|OTEL_|NODE_OPTIONS$|VITEST)/.test(name) ||
    vendorPresets.some(([, preset]) => preset.key_variables.includes(name))
  const own = Object.entries(process.env).filter(([name]) => !isOurs(name))
  // What it prints is looked for in English, whatever the language of who runs the tests.
  return { ...Object.fromEntries(own), npm_lifecycle_event: 'test', LC_ALL: 'C' }
}

function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ code, signal }))
  })
}

/** In a hook there is no test that could end. */
function atTestEnd(task: () => void): void {
  try {
    onTestFinished(task)
  } catch {
    process.once('exit', task)
  }
}
