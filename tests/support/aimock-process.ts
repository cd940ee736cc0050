import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

/** An OpenAI-compatible upstream that others wrote, as a process of its own. */
export interface AimockProcess {
  /** Root URL with `/v1`. */
  readonly root: string
  /** Every request that it received, as it recorded them. */
  journal(): Promise<
    readonly {
      path: string
      method: string
      body?: Record<string, unknown>
      headers?: Record<string, string>
    }[]
  >
  stop(): void
}

/** Starts aimock with the given fixtures and flags, and waits until it answers. */
export async function startAimock(
  fixtures: readonly object[],
  flags: readonly string[] = [],
): Promise<AimockProcess> {
  const directory = mkdtempSync(join(tmpdir(), 'aimock-'))
  writeFileSync(join(directory, 'fixtures.json'), JSON.stringify({ fixtures }))
  const port = await freePort()
  const cli = new URL('../../node_modules/@copilotkit/aimock/dist/cli.js', import.meta.url).pathname
  const child = spawn(
    process.execPath,
    [cli, '-p', String(port), '-f', directory, '--log-level', 'silent', ...flags],
    { stdio: 'ignore' },
  )
  const base = `http://127.0.0.1:${port}`
  await answering(child, `${base}/__aimock/journal`)
  return {
    root: `${base}/v1`,
    async journal() {
      const answer = await fetch(`${base}/__aimock/journal`)
      const body = await answer.json()
      return (Array.isArray(body) ? body : (body as { entries: unknown }).entries) as never
    },
    stop() {
      child.kill('SIGKILL')
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** A port that was free a moment ago: aimock does not say which one it took. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

async function answering(child: ChildProcess, url: string): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (child.exitCode !== null) throw new Error(`aimock ended with ${child.exitCode}`)
    const isUp = await fetch(url)
      .then(({ ok }) => ok)
      .catch(() => false)
    if (isUp) return
    await pause(50)
  }
  throw new Error('aimock did not answer within 15 s')
}
