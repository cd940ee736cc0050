/** Answers and requests of very many pieces: nothing may be lost, kept, or looked at again for each further piece. */
import { createHash } from 'node:crypto'
import http from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { chunkEvent, completion, streamEnd } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { cpuMs, residentBytes } from '../support/process-facts.ts'
import { postOf } from '../support/raw-answers.ts'
import { connectRaw } from '../support/raw-client.ts'
import { answer } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type Exchange, type ScriptedUpstream } from '../support/scripted-upstream.ts'

const MEBIBYTE = 1_048_576
const MOST_GROWTH = 192 * MEBIBYTE
const PATIENCE_MS = 60_000

/** What the upstream sends as its next stream, each piece in a write of its own. */
let pieces: () => Iterable<string | Uint8Array>
/** The digest of a whole one. */
let sent: string
let upstream: ScriptedUpstream
let gateway: GatewayProcess

beforeAll(async () => {
  upstream = await startScriptedUpstream(async (exchange) => {
    if (exchange.request.path.endsWith('/audio/speech')) return play(exchange, 'audio/mpeg')
    if (/"stream":true/.test(Buffer.from(exchange.request.body).toString('latin1', 0, 100)))
      return play(exchange, 'text/event-stream')
    return answer({ body: completion() })(exchange)
  })
  gateway = await startGateway({ models: [{ base_url: `${upstream.url}/v1`, model: 'm' }] })
})

afterAll(async () => {
  await gateway.stop()
  await upstream.close()
  expect(gateway.stderr).toBe('')
})

async function play(exchange: Exchange, type: string): Promise<void> {
  const hash = createHash('sha1')
  await exchange.head(200, { 'content-type': type, 'transfer-encoding': 'chunked' })
  for (const piece of pieces()) {
    hash.update(piece)
    if (!(await exchange.chunk(piece))) return
  }
  sent = hash.digest('hex')
  await exchange.lastChunk()
}

function* eventsOf(count: number): Iterable<string> {
  for (let nth = 0; nth < count; nth++) yield chunkEvent(`token ${nth}`)
  yield streamEnd
}

/** Every event in four pieces. */
function* piecesOf(count: number): Iterable<string> {
  for (const event of eventsOf(count / 4)) {
    const step = Math.ceil(event.length / 4)
    for (let at = 0; at < event.length; at += step) yield event.slice(at, at + step)
  }
}

function* blocksOf(count: number, bytes: number): Iterable<Uint8Array> {
  const block = Buffer.alloc(bytes, 'audio ')
  for (let nth = 0; nth < count; nth++) {
    block.writeUInt32BE(nth)
    yield Uint8Array.from(block)
  }
}

interface Download {
  readonly status: number
  readonly bytes: number
  readonly digest: string
}

/** Reads an answer to its end without keeping it; rejects when it breaks off. */
function download(path: string, body: object): Promise<Download> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${gateway.token}`, 'content-type': 'application/json' }
    const request = http.request({ host: '127.0.0.1', port: gateway.port, method: 'POST', path, headers })
    request.on('error', reject).on('response', (response) => {
      const hash = createHash('sha1')
      let bytes = 0
      response.on('error', reject).on('data', (chunk: Buffer) => {
        hash.update(chunk)
        bytes += chunk.length
      })
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, bytes, digest: hash.digest('hex') }),
      )
    })
    request.end(JSON.stringify(body))
  })
}

const streamed = (): Promise<Download> =>
  download('/v1/chat/completions', { model: 'auto', stream: true, messages: [] })

test(
  'a stream of 70,000 events arrives whole and unchanged',
  async () => {
    pieces = () => eventsOf(70_000)
    const { status, digest } = await streamed()
    expect(status).toBe(200)
    expect(digest).toBe(sent)
  },
  PATIENCE_MS,
)

test(
  'a stream in 200,000 chunks arrives whole and unchanged, and its last chunk costs no more than its first',
  async () => {
    const costOf = async (count: number): Promise<number> => {
      pieces = () => piecesOf(count)
      const before = cpuMs(gateway.pid)
      const { status, digest } = await streamed()
      expect(status).toBe(200)
      expect(digest).toBe(sent)
      return cpuMs(gateway.pid) - before
    }
    const quarter = await costOf(50_000)
    // With a cost that grows with what has come before it would be 16.
    expect((await costOf(200_000)) / quarter).toBeLessThan(10)
  },
  PATIENCE_MS,
)

test(
  'a download of 273 MiB in chunks of 4 KiB arrives whole, and the gateway keeps none of it',
  async () => {
    const count = 70_000
    pieces = () => blocksOf(count, 4096)
    const before = residentBytes(gateway.pid)
    let most = 0
    const watch = setInterval(() => {
      most = Math.max(most, residentBytes(gateway.pid) - before)
    }, 20)
    const { status, bytes, digest } = await download('/v1/audio/speech', { model: 'auto', input: 'Hello' })
    clearInterval(watch)
    expect(status).toBe(200)
    expect(bytes).toBe(count * 4096)
    expect(digest).toBe(sent)
    expect(most).toBeLessThan(MOST_GROWTH)
  },
  PATIENCE_MS,
)

const CHUNKS = 200_000

/** A request of so many chunks, ten bytes each but for the first and the last. */
function chunksOf(content: string): string[] {
  const body = JSON.stringify({ model: 'auto', messages: [{ role: 'user', content }] })
  const first = body.length - (CHUNKS - 1) * 10
  return Array.from({ length: CHUNKS }, (_, nth) =>
    nth === 0 ? body.slice(0, first) : body.slice(first + (nth - 1) * 10, first + nth * 10),
  )
}

test.each([
  { how: 'each in a write of its own', together: 1, extension: '' },
  { how: 'many in a packet', together: 1_000, extension: '' },
  { how: 'with an extension each', together: 1_000, extension: ';name=value;flag;text="a b"' },
])(
  `a request in ${CHUNKS.toLocaleString('en')} chunks, $how, reaches the upstream whole`,
  async ({ together, extension }) => {
    const before = upstream.requests.length
    const content = Array.from({ length: CHUNKS }, (_, nth) => `word ${nth % 9_000}`.padEnd(10)).join('')
    const chunks = chunksOf(content)
    const client = await connectRaw(gateway.port)
    client.send(postOf(gateway, '/v1/chat/completions', { 'transfer-encoding': 'chunked' }))
    for (let at = 0; at < CHUNKS; at += together) {
      const part = chunks.slice(at, at + together)
      client.send(part.map((text) => `${text.length.toString(16)}${extension}\r\n${text}\r\n`).join(''))
      if (client.socket.writableNeedDrain)
        await new Promise((resolve) => client.socket.once('drain', resolve))
    }
    client.send('0\r\n\r\n')
    await client.received(/"choices"|"error"/)
    expect(client.statuses).toEqual([200])
    const { body } = upstream.requests[before]!
    expect(Buffer.from(body).toString() === chunks.join('').replace('auto', 'm')).toBe(true)
    client.socket.destroy()
  },
  PATIENCE_MS,
)
