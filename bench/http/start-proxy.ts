import { spawn, type ChildProcess } from 'node:child_process'
import { connect } from 'node:net'

/** One of those that are compared. */
export interface Proxy {
  readonly name: string
  /** Undefined where it can be started; else why not. */
  readonly missing?: string | undefined
  /** Whether it writes the model into the body. nginx and haproxy can't. */
  readonly rewrites: boolean
  readonly version: () => string
  /** The command, for these two ports. */
  readonly command: (ports: Ports) => readonly string[]
  readonly env?: (ports: Ports) => Record<string, string>
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
  stop(): Promise<void>
}

/** Starts a command on one core and waits until its port is open. */
export async function startProxy(proxy: Proxy, ports: Ports, core: number): Promise<RunningProxy> {
  if (await isOpen(ports.port)) throw new Error(`somebody else listens on port ${ports.port}`)
  const [command = '', ...args] = proxy.command(ports)
  const child = spawn('taskset', ['-c', `${core}`, command, ...args], {
    stdio: ['ignore', 'ignore', 'ignore'],
    env: { ...process.env, ...proxy.env?.(ports) },
  })
  process.once('exit', () => child.kill('SIGKILL'))
  await opened(ports.port, child)
  return {
    pid: child.pid ?? 0,
    stop: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve())
        child.kill('SIGTERM')
        setTimeout(() => child.kill('SIGKILL'), 2_000).unref()
      }),
  }
}

async function opened(port: number, child: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`)
    if (await isOpen(port)) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error('it never listened')
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
