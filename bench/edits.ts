/**
 * How long does a configuration of thousands of entries hold up everybody else: at a start, at a reload, at an edit?
 *
 * `npm run bench:edits -- [entries]` starts the gateway from `dist/` with 3,000 entries, one key and one model each, and
 * does everything that is done to them five times, while a client asks `/healthz` again and again: the longest that it
 * waited is how long the process did nothing else. Prints the medians, and the CPU time of its main thread, which other
 * programs on the machine move less. Linux.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

const entries = Number(process.argv[2] ?? 3_000)
const TIMES = 5
const port = 19_485
const url = `http://127.0.0.1:${port}`
const main = join(import.meta.dirname, '../dist/cli/main.js')
const directory = mkdtempSync(join(tmpdir(), 'aiload-edits-'))
const file = join(directory, 'config.json')
const headers = { authorization: 'Bearer sk-edits' }

const models = Array.from({ length: entries }, (_, at) => ({
  name: `upstream-${at}`,
  base_url: `http://host-${at % 100}.invalid/v1`,
  api_key: `key-${at}-of-somebody`,
  model: `model-${at % 50}`,
  limits: { rpm: 60 + at },
}))
const textOf = (list: readonly object[]): string =>
  JSON.stringify(
    { auth_token: 'sk-edits', server: { host: '127.0.0.1', port, admin: 'write' }, models: list },
    null,
    1,
  )
writeFileSync(file, textOf(models))

process.on('exit', () => {
  child.kill()
  rmSync(directory, { recursive: true })
})

const agent = new http.Agent({ keepAlive: true })
const isReady = (): Promise<boolean> =>
  new Promise((resolve) => {
    const request = http.get(`${url}/healthz`, { agent }, (answer) => {
      answer.resume()
      answer.on('end', () => resolve(answer.statusCode === 200))
    })
    request.on('error', () => resolve(false))
  })

/** What the main thread has worked by now, ms. */
const workedMs = (): number =>
  Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6

/** The longest wait of a client beside `work`, and what the main thread did for both, ms. */
async function heldUp(work: () => Promise<unknown>): Promise<readonly [waited: number, worked: number]> {
  const before = workedMs()
  const done = new AbortController()
  let longest = 0
  const looking = (async () => {
    while (!done.signal.aborted) {
      const began = performance.now()
      await isReady()
      longest = Math.max(longest, performance.now() - began)
      await pause(5)
    }
  })()
  await pause(20)
  await work()
  done.abort()
  await looking
  return [longest, workedMs() - before]
}

async function ask(path: string, method = 'GET', body?: object): Promise<Record<string, unknown>> {
  const sent = body && { body: JSON.stringify(body) }
  const answer = await fetch(url + path, { method, headers, ...sent })
  const told = (await answer.json()) as Record<string, unknown>
  if (!answer.ok && !('problems' in told)) throw new Error(JSON.stringify(told))
  return told
}
const reloads = async (): Promise<number> => {
  const { ok, refused } = (await ask('/admin/status'))['reloads'] as { ok: number; refused: number }
  return ok + refused
}
async function reloaded(cause: () => void): Promise<void> {
  const before = await reloads()
  cause()
  while ((await reloads()) === before) await pause(100)
}
let etag: unknown
const shown = async () => ({ etag } = await ask('/admin/config'))
const edit = async (path: string, method: string, body: object) =>
  ({ etag = etag } = await ask(`/admin/config/${path}`, method, { etag, ...body }))
const entry = { name: 'new', base_url: 'http://new.invalid/v1', api_key: 'key-of-the-new-one', model: 'new' }
const middle = entries >> 1
const changed = { ...models[middle], api_key: undefined, weight: 3 }
const turned = Array.from({ length: entries }, (_, at) => entries - 1 - at)

const began = performance.now()
const child = spawn(process.execPath, [main, 'start', '--config', file], { stdio: 'ignore' })
while (!(await isReady())) await pause(1)
console.log(
  `${entries} entries, ${(readFileSync(file).length / 1e6).toFixed(2)} MB, Node ${process.version}; medians of ${TIMES}`,
)
const row = (what: string, [waited, worked]: readonly [number, number]) =>
  console.log(`${what.padEnd(44)} ${waited.toFixed(0).padStart(6)} ms ${worked.toFixed(0).padStart(6)} ms`)
row('start, until it answers', [performance.now() - began, workedMs()])

const works: readonly (readonly [string, () => Promise<unknown>])[] = [
  ['GET /admin/config', shown],
  ['an entry is changed in the middle', () => edit('upstreams', 'PUT', { index: middle, entry: changed })],
  ['an entry is added at the front', () => edit('upstreams', 'POST', { at: 0, entry })],
  ['an entry is taken out at the front', () => edit('upstreams', 'DELETE', { index: 0 })],
  ['the order is turned round', () => edit('order', 'POST', { order: turned })],
  ['a setting is changed', () => edit('settings', 'POST', { settings: { strategy: 'headroom' } })],
  ['an edit is refused', () => edit('upstreams', 'POST', { entry: { ...entry, model: 7 } })],
  ['reload by SIGHUP', () => reloaded(() => child.kill('SIGHUP'))],
  ['reload of a changed file', () => reloaded(() => writeFileSync(file, textOf(models)))],
  [
    'reload that is refused: each entry is wrong',
    () => reloaded(() => writeFileSync(file, textOf(models.map((one) => ({ ...one, weight: 'x' }))))),
  ],
  ['GET /admin/config of that file', shown],
]
const times = new Map<string, (readonly [number, number])[]>()
for (let nth = 0; nth < TIMES; nth++) {
  for (const [what, work] of works) times.set(what, [...(times.get(what) ?? []), await heldUp(work)])
  await reloaded(() => writeFileSync(file, `${textOf(models)}${'\n'.repeat(nth + 1)}`))
}
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[TIMES >> 1] ?? 0
for (const [what, all] of times) row(what, [median(all.map(([ms]) => ms)), median(all.map(([, ms]) => ms))])
child.kill()
await once(child, 'exit')
agent.destroy()
