/**
 * Proxies that others wrote, as processes: tinyproxy for HTTP CONNECT, microsocks for SOCKS 5. They come with the system
 * (`apt-get install tinyproxy microsocks`); `npm run test:proxy` fails where one is missing.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Proxy } from '../../src/pool/route.ts'
import { freePort } from '../support/free-port.ts'

/** A program that listens. */
export interface ProxyProgram {
  readonly proxy: Proxy
  stop(): Promise<void>
}

type Login = Proxy['login']

/** tinyproxy on a free port of the loopback address. It answers 500 where it can't connect, and lets only TLS ports pass unless told. */
export async function startTinyproxy(login?: Login): Promise<ProxyProgram> {
  const port = await freePort()
  const directory = mkdtempSync(join(tmpdir(), 'aiload-tinyproxy-'))
  const file = join(directory, 'tinyproxy.conf')
  const lines = [`Port ${port}`, 'Listen 127.0.0.1', 'Timeout 60', 'MaxClients 200', 'LogLevel Critical']
  if (login !== undefined) lines.push(`BasicAuth ${login.user} ${login.password}`)
  writeFileSync(file, `${lines.join('\n')}\n`)
  return launch(['tinyproxy', '-d', '-c', file], { kind: 'http', port, login, directory })
}

/** microsocks on a free port of the loopback address. */
export async function startMicrosocks(kind: 'socks5' | 'socks5h', login?: Login): Promise<ProxyProgram> {
  const port = await freePort()
  const own = login === undefined ? [] : ['-u', login.user, '-P', login.password]
  return launch(['microsocks', '-i', '127.0.0.1', '-p', String(port), ...own], { kind, port, login })
}

interface Launch {
  readonly kind: Proxy['kind']
  readonly port: number
  readonly login: Login
  readonly directory?: string
}

async function launch(
  [command = '', ...args]: readonly string[],
  { kind, port, login, directory }: Launch,
): Promise<ProxyProgram> {
  if (spawnSync('which', [command]).status !== 0)
    throw new Error(`${command} is not installed; apt-get install tinyproxy microsocks`)
  const child = spawn(command, args, { stdio: 'ignore' })
  const ended = new Promise((resolve) => void child.once('close', resolve))
  const kill = (): void => void child.kill('SIGKILL')
  process.once('exit', kill)
  while (!(await isListening(port))) {
    if (child.exitCode !== null) throw new Error(`${command} ended with ${child.exitCode}`)
    await new Promise((go) => setTimeout(go, 20))
  }
  const proxy: Proxy = { kind, host: '127.0.0.1', port, from: 'settings.proxy', ...(login && { login }) }
  return {
    proxy,
    async stop() {
      kill()
      await ended
      process.off('exit', kill)
      if (directory !== undefined) rmSync(directory, { recursive: true, force: true })
    },
  }
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
