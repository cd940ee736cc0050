/**
 * How long does a start take, and what does the gateway hold when nothing is asked of it?
 *
 * `npm run bench:start -- [times]` starts it from `dist/` ten times, asks `/healthz` until it
 * answers, and looks at its resident memory two seconds later. Prints the medians and the best. Linux.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { residentBytes } from '../tests/support/process-facts.ts'

const times = Number(process.argv[2] ?? 10)
const port = 19_480
const main = join(import.meta.dirname, '../dist/cli/main.js')
const directory = mkdtempSync(join(tmpdir(), 'aiload-start-'))
const file = join(directory, 'config.json')
const models = [{ base_url: 'http://127.0.0.1:19481/v1', model: 'm', api_key: 'k' }]
writeFileSync(file, JSON.stringify({ auth_token: 'sk-start', server: { host: '127.0.0.1', port }, models }))

const isReady = (): Promise<boolean> =>
  new Promise((resolve) => {
    const request = http.get({ host: '127.0.0.1', port, path: '/healthz', agent: false }, (answer) => {
      answer.resume()
      resolve(answer.statusCode === 200)
    })
    request.on('error', () => resolve(false))
  })

const readyMs: number[] = []
const residentMb: number[] = []
for (let nth = 0; nth < times; nth++) {
  const began = performance.now()
  const child = spawn(process.execPath, [main, 'start', '--config', file], { stdio: 'ignore' })
  while (!(await isReady())) await pause(1)
  readyMs.push(performance.now() - began)
  await pause(2_000)
  residentMb.push(residentBytes(child.pid ?? 0) / 1e6)
  child.kill()
  await once(child, 'exit')
}
rmSync(directory, { recursive: true })

const told = (values: readonly number[], unit: string): string => {
  const sorted = values.toSorted((a, b) => a - b)
  return `${sorted[times >> 1]?.toFixed(0)} ${unit} (at best ${sorted[0]?.toFixed(0)})`
}
console.log(
  `ready after ${told(readyMs, 'ms')}, ${told(residentMb, 'MB')} at rest; ${times} starts, Node ${process.version}`,
)
