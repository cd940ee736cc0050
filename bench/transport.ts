/**
 * What does a request cost through the Node transport, next to bare node:http?
 *
 * `node --import tsx bench/transport.ts [seconds per round]` prints CPU microseconds per request (of this
 * process alone, the upstream is another one) and their ratio, taken in one run with interleaved rounds.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import { fileURLToPath } from 'node:url'
import { createNodeTransport } from '../src/adapter/node/transport.ts'

const concurrency = 50
const rounds = 5

/** Sends one request and reads the answer to its end. */
type Call = (parts: readonly Uint8Array[]) => Promise<void>

const answer = Buffer.from(
  JSON.stringify({ id: 'chatcmpl-1', choices: [{ message: { content: 'x'.repeat(530) } }] }),
)

async function serve(): Promise<void> {
  const server = http.createServer((request, response) => {
    request.resume()
    request.on('end', () => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': answer.length })
      response.end(answer)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  process.send?.(typeof address === 'object' ? address?.port : undefined)
  process.on('disconnect', () => process.exit(0))
}

function throughTransport(url: string): Call {
  const send = createNodeTransport()
  return async (parts) => {
    const { body } = await send(
      {
        method: 'POST',
        url,
        headers: { 'content-type': 'application/json', 'accept-encoding': 'identity' },
        body: parts,
        connectTimeoutMs: 5000,
        timeoutMs: 60_000,
        gatherBytes: () => 1_000_000,
      },
      new AbortController().signal,
    )
    if (!(body instanceof Uint8Array) || body.length !== answer.length) throw new Error('wrong answer')
  }
}

function throughNodeHttp(url: string): Call {
  const agent = new http.Agent({ keepAlive: true })
  const { hostname, port, pathname } = new URL(url)
  return (parts) =>
    new Promise((resolve, reject) => {
      const length = parts.reduce((sum, part) => sum + part.length, 0)
      const headers = {
        'content-type': 'application/json',
        'accept-encoding': 'identity',
        'content-length': length,
      }
      const request = http.request({ method: 'POST', hostname, port, path: pathname, headers, agent })
      request.on('response', (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () => {
          if (Buffer.concat(chunks).length === answer.length) resolve()
          else reject(new Error('wrong answer'))
        })
      })
      request.on('error', reject)
      for (const part of parts) request.write(part)
      request.end()
    })
}

/** CPU microseconds per request, over `seconds` at full load. */
async function costOf(call: Call, parts: readonly Uint8Array[], seconds: number): Promise<number> {
  const until = performance.now() + seconds * 1000
  let requests = 0
  const before = process.cpuUsage()
  const worker = async () => {
    while (performance.now() < until) {
      await call(parts)
      requests++
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
  const { user, system } = process.cpuUsage(before)
  return (user + system) / requests
}

const median = (values: number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

async function measure(): Promise<void> {
  const seconds = Number(process.argv[2] ?? 2)
  const upstream = fork(fileURLToPath(import.meta.url), ['serve'])
  const [port] = (await once(upstream, 'message')) as [number]
  const url = `http://127.0.0.1:${port}/v1/chat/completions`
  const calls = { transport: throughTransport(url), 'node:http': throughNodeHttp(url) }

  const head = Buffer.from('{"model":"')
  const model = Buffer.from('gpt-4o')
  const profiles = {
    '657 B in 3 parts': [head, model, Buffer.alloc(641, 97)],
    '200 KB in 3 parts': [head, model, Buffer.alloc(200_000, 97)],
    '200 KB in 7 parts': [head, model, ...Array.from({ length: 5 }, () => Buffer.alloc(40_000, 97))],
    '200 KB in 1 part': [Buffer.alloc(200_016, 97)],
  }
  for (const [profile, parts] of Object.entries(profiles)) {
    const costs = new Map<string, number[]>()
    for (const call of Object.values(calls)) await costOf(call, parts, seconds)
    for (let round = 0; round < rounds; round++) {
      const order = Object.entries(calls)
      for (const [name, call] of round % 2 === 0 ? order : order.toReversed()) {
        costs.set(name, [...(costs.get(name) ?? []), await costOf(call, parts, seconds)])
      }
    }
    const ours = median(costs.get('transport') ?? [])
    const bare = median(costs.get('node:http') ?? [])
    const ratio = (ours / bare).toFixed(2)
    console.log(
      `${profile}: transport ${ours.toFixed(0)} µs, node:http ${bare.toFixed(0)} µs, ratio ${ratio}`,
    )
  }
  upstream.kill()
  process.exit(0)
}

await (process.argv[2] === 'serve' ? serve() : measure())
