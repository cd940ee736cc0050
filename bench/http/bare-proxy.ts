/**
 * What is compared with: a proxy on node:http that writes the model into the body, and does nothing else.
 *
 * The body is neither parsed nor printed: what stands before and behind the model's value is sent on as it came, a
 * small body in one piece, a large one in its parts, whichever costs less. No token is checked, nothing is retried,
 * counted or logged.
 */
import http from 'node:http'
import { modelSpan } from './model-span.ts'

const [port, upstream] = process.argv.slice(2).map(Number)
const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity })
const MODEL = Buffer.from('"m"')
/** Up to this size one write of a copy is cheaper than several. */
const SMALL_BYTES = 16_384

/** The model is nearly always in what came first: all of it is only looked through where it isn't. */
function withModel(chunks: readonly Buffer[]): readonly Buffer[] {
  const [first = Buffer.alloc(0), ...rest] = chunks
  const early = modelSpan(first)
  if (early !== undefined) return [...replaced(first, early), ...rest]
  const whole = Buffer.concat(chunks)
  const span = modelSpan(whole)
  return span === undefined ? [whole] : replaced(whole, span)
}

function replaced(bytes: Buffer, [from, to]: readonly [number, number]): readonly Buffer[] {
  return [bytes.subarray(0, from), MODEL, bytes.subarray(to)]
}

function send(incoming: http.IncomingMessage, outgoing: http.ServerResponse, body: readonly Buffer[]): void {
  const length = body.reduce((sum, part) => sum + part.length, 0)
  const request = http.request(
    {
      port: upstream,
      host: '127.0.0.1',
      path: incoming.url,
      method: 'POST',
      agent,
      headers: {
        'content-type': 'application/json',
        authorization: 'Bearer k',
        'content-length': length,
      },
    },
    (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(outgoing)
    },
  )
  request.on('error', () => outgoing.destroy())
  outgoing.on('close', () => {
    if (!outgoing.writableFinished) request.destroy()
  })
  if (length <= SMALL_BYTES) return void request.end(Buffer.concat(body, length))
  for (const part of body) request.write(part)
  request.end()
}

http
  .createServer((incoming, outgoing) => {
    const chunks: Buffer[] = []
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('end', () => send(incoming, outgoing, withModel(chunks)))
  })
  .listen(port, '127.0.0.1', 4_096)
