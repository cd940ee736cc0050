/**
 * What a request costs on each runtime: CPU of the gateway's process for a small chat answer, in one run.
 *
 *     node --import tsx bench/runtimes.ts [requests] [connections]
 *
 * Read the ratios, not the figures: the machine, the load and the accounting (10 ms ticks) are the same for
 * all, and everything is warmed up first. Needs what `npm run test:runtimes` fetches.
 */
import http from 'node:http'
import { answer } from '../tests/support/scripted-scenes.ts'
import { startScriptedUpstream } from '../tests/support/scripted-upstream.ts'
import {
  bun,
  cpuMsOf,
  deno,
  edgeRuntime,
  node,
  TOKEN,
  worker,
  workerAlone,
  type Runtime,
} from '../tests/runtime/runtimes.ts'

const REQUESTS = Number(process.argv[2] ?? 3_000)
const CONNECTIONS = Number(process.argv[3] ?? 8)
/** The same gateway costs twice as much in its first seconds. */
const WARM_UP_MS = 12_000

const BODY = JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'x'.repeat(600) }] })
const ANSWER = JSON.stringify({
  id: 'c',
  choices: [{ index: 0, message: { role: 'assistant', content: 'y'.repeat(400) }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 200, completion_tokens: 100, total_tokens: 300 },
})

const upstream = await startScriptedUpstream(answer({ body: ANSWER }))
const config = {
  models: [{ base_url: `${upstream.url}/v1`, api_key: 'k', model: 'm' }],
  settings: { affinity: 'off' },
}
const rows: {
  runtime: string
  'CPU µs a request': number
  'to Node 20': string
  'requests a second': number
  'first answer ms': number
}[] = []

for (const runtime of [node('20'), node('24'), workerAlone, worker, bun, deno, edgeRuntime]) {
  const row = await measure(runtime)
  const base = rows[0]?.['CPU µs a request'] ?? row['CPU µs a request']
  rows.push({ ...row, 'to Node 20': (row['CPU µs a request'] / base).toFixed(2) })
}
await upstream.close()
// oxlint-disable-next-line no-console
console.table(rows)

async function measure(runtime: Runtime): Promise<Omit<(typeof rows)[number], 'to Node 20'>> {
  const gateway = await runtime.start(config)
  const agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS })
  const warm = performance.now() + WARM_UP_MS
  while (performance.now() < warm) await load(gateway.url, { agent, requests: 500 })
  const [cpu, since] = [cpuMsOf(gateway.pid), performance.now()]
  await load(gateway.url, { agent, requests: REQUESTS })
  const [spent, took] = [cpuMsOf(gateway.pid) - cpu, performance.now() - since]
  agent.destroy()
  await gateway.stop()
  return {
    runtime: runtime.name,
    'CPU µs a request': Math.round((spent * 1_000) / REQUESTS),
    'requests a second': Math.round((REQUESTS * 1_000) / took),
    'first answer ms': Math.round(gateway.startedInMs),
  }
}

async function load(
  url: string,
  { agent, requests }: { agent: http.Agent; requests: number },
): Promise<void> {
  let left = requests
  const client = async (): Promise<void> => {
    while (left-- > 0) await chat(url, agent)
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, client))
}

function chat(url: string, agent: http.Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${TOKEN}`,
      'content-type': 'application/json',
      'content-length': BODY.length,
    }
    const request = http.request(
      `${url}/v1/chat/completions`,
      { agent, method: 'POST', headers },
      (response) => {
        if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode}`))
        response.resume().once('end', resolve)
      },
    )
    request.once('error', reject).end(BODY)
  })
}
