/**
 * The upstream of the HTTP bench: as little work as an answer can cost, so that what is measured is the proxy.
 *
 * Reads whole requests from raw sockets and answers by a word in the first message: a JSON answer of some 600
 * bytes (`json`), the same with that word in it (`echo-…`), or 100 events, 10 ms apart (`sse-paced`), 50 ms apart
 * (`sse-slow`), all at once (`sse-flat`), or one and then none (`sse-held`). Events that are paced say when they were
 * written. On a second port it speaks TLS.
 * Counts the requests that still ask for the model `auto`, which a proxy has to write over.
 */
import net from 'node:net'
import tls from 'node:tls'
import { testCertificate } from '../../tests/support/test-certificate.ts'
import { stamp } from './stamp.ts'
import { securePortOf } from './start-proxy.ts'

const answerText = (content: string): string =>
  JSON.stringify({
    id: 'chatcmpl-9aXkQ2',
    object: 'chat.completion',
    created: 1_763_900_000,
    model: 'm',
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 141, completion_tokens: 88, total_tokens: 229 },
  })
const withHead = (text: string): Buffer =>
  Buffer.from(
    `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-ratelimit-limit-requests: 1000000\r\nx-ratelimit-remaining-requests: 999999\r\ncontent-length: ${text.length}\r\n\r\n${text}`,
  )
const JSON_ANSWER = withHead(answerText('y'.repeat(350)))
const SSE_HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n'
const eventOf = (content: string): string =>
  `data: ${JSON.stringify({
    id: 'chatcmpl-9aXkQ2',
    object: 'chat.completion.chunk',
    created: 1_763_900_000,
    model: 'm',
    choices: [{ index: 0, delta: { content }, finish_reason: null }],
  })}\n\n`
const chunkOf = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`
const EVENT_CHUNK = Buffer.from(chunkOf(eventOf(' token')))
const [BEFORE_STAMP = '', BEHIND_STAMP = ''] = chunkOf(eventOf(` token ${stamp()}`)).split(/@\d+/)
const stampedChunk = (): string => BEFORE_STAMP + stamp() + BEHIND_STAMP
const LAST_CHUNKS = Buffer.from(`${chunkOf('data: [DONE]\n\n')}0\r\n\r\n`)
const EVENTS = 100
/** As much of a body's beginning and end as is looked at, bytes. */
const LOOKED_AT = 300

let requests = 0
let unwritten = 0

function answer(socket: net.Socket, opening: string, closing: string): void {
  requests += 1
  if (/"model":\s*"auto"/.test(opening) || /"model":\s*"auto"/.test(closing)) unwritten += 1
  const kind = /\b(?:sse|echo)-\w+/.exec(opening)?.[0]
  if (kind === undefined) return void socket.write(JSON_ANSWER)
  if (kind.startsWith('echo')) return void socket.write(withHead(answerText(kind)))
  socket.write(SSE_HEAD)
  if (kind === 'sse-held') return void socket.write(EVENT_CHUNK)
  if (kind === 'sse-flat') {
    for (let sent = 0; sent < EVENTS; sent++) socket.write(EVENT_CHUNK)
    return void socket.write(LAST_CHUNKS)
  }
  socket.write(stampedChunk(), 'latin1')
  let sent = 1
  const timer = setInterval(
    () => {
      if (sent++ < EVENTS && !socket.destroyed) return void socket.write(stampedChunk(), 'latin1')
      clearInterval(timer)
      socket.write(LAST_CHUNKS)
    },
    kind === 'sse-slow' ? 50 : 10,
  )
}

/** Follows one connection: a head, then as many bytes as it announces, or chunks up to the empty one. */
function serve(socket: net.Socket): void {
  let head = ''
  let left = -1
  let opening = ''
  let isChunked = false
  socket.setNoDelay(true)
  socket.on('error', () => socket.destroy())
  socket.on('data', (bytes) => {
    if (left < 0) {
      head += bytes.toString('latin1')
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      const fields = head.slice(0, end).toLowerCase()
      isChunked = fields.includes('transfer-encoding: chunked')
      const length = /\ncontent-length: (\d+)/.exec(fields)?.[1]
      opening = head.slice(end + 4, end + 4 + LOOKED_AT)
      left = isChunked ? Infinity : Number(length ?? 0)
      left -= head.length - end - 4
      if (isChunked && head.endsWith('0\r\n\r\n')) left = 0
      head = ''
    } else {
      if (opening.length < LOOKED_AT) opening += bytes.toString('latin1', 0, LOOKED_AT)
      left -= bytes.length
      if (isChunked && bytes.toString('latin1', bytes.length - 5) === '0\r\n\r\n') left = 0
    }
    if (left > 0) return
    left = -1
    answer(socket, opening, bytes.toString('latin1', Math.max(0, bytes.length - LOOKED_AT)))
  })
}

const port = Number(process.argv[2])
const secure = tls.createServer(testCertificate, serve).listen(securePortOf(port), '127.0.0.1', 4_096)
const server = net.createServer(serve).listen(port, '127.0.0.1', 4_096, () => process.send?.('ready'))
process.on('disconnect', () => process.exit(0))
process.on('message', (message) => {
  if (message === 'count') process.send?.({ requests, unwritten })
  if (message === 'stop') {
    server.close()
    secure.close()
    process.exit(0)
  }
})
