import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'

/** One of those that are compared. */
export interface Proxy {
  /** What it is called on a command line. */
  readonly id: string
  readonly name: string
  /** Why it can't be started here; undefined where it can. What has to be built is built now. */
  readonly missing?: () => string | undefined
  readonly version: () => string
  /** The command, for these two ports. */
  readonly command: (ports: Ports) => readonly string[]
  readonly env?: (ports: Ports) => Record<string, string>
  /** Where it writes the port that it has chosen; without, it listens where it is told to. */
  readonly portFile?: string
  /** Where it takes chat requests, unless at `/v1/chat/completions`. */
  readonly path?: string
  /** The name by which it knows its model, unless that is `auto`. */
  readonly model?: string
  /** Done once it listens; what it gives is done before it ends. */
  readonly started?: (port: number) => () => void
}

/** Where a proxy listens, and where its upstream does. */
export interface Ports {
  readonly port: number
  readonly upstream: number
}

/** Where the upstream speaks TLS. */
export const securePortOf = (upstream: number): number => upstream + 100

/** A started proxy. */
export interface RunningProxy {
  readonly pid: number
  readonly port: number
  stop(): Promise<void>
}

const children = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})

/** Starts a command on one core and waits until its port is open. */
export async function startProxy(proxy: Proxy, ports: Ports, core: number): Promise<RunningProxy> {
  if (await isOpen(ports.port)) throw new Error(`somebody else listens on port ${ports.port}`)
  const [command = '', ...args] = proxy.command(ports)
  const child = spawn('taskset', ['-c', `${core}`, command, ...args], {
    stdio: ['ignore', 'ignore', 'ignore'],
    env: { ...process.env, ...proxy.env?.(ports) },
  })
  children.add(child)
  const port = await opened(() => (proxy.portFile === undefined ? ports.port : portIn(proxy.portFile)), child)
  const beforeEnd = proxy.started?.(port)
  return {
    pid: child.pid ?? 0,
    port,
    stop: () =>
      new Promise((resolve) => {
        beforeEnd?.()
        child.once('exit', () => resolve())
        child.kill('SIGTERM')
        setTimeout(() => child.kill('SIGKILL'), 2_000).unref()
      }),
  }
}

async function opened(portNow: () => number, child: ChildProcess): Promise<number> {
  for (let tries = 0; tries < 600; tries++) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`)
    const port = portNow()
    if (port > 0 && (await isOpen(port))) return port
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error('it never listened')
}

/** 0 as long as nothing is written there. */
function portIn(file: string): number {
  return existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1').on('error', () => resolve(false))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}
