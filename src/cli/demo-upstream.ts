import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { completionOf, parseAsked, type Asked } from './demo-completion.ts'
import { createMinuteLimit, type Allowance } from './demo-limit.ts'
import type { Nature } from './demo-natures.ts'

/** A pretend vendor: a real HTTP server that speaks OpenAI's chat format. */
export interface PretendUpstream {
  readonly nature: Nature
  /** `http://127.0.0.1:port`; the API is below `/v1`, and a POST to `/break` breaks or mends it. */
  readonly url: string
  close(): Promise<void>
}

/** Starts one on a free port of the loopback address. */
export async function startPretendUpstream(nature: Nature): Promise<PretendUpstream> {
  const allow = createMinuteLimit(nature.perMinute ?? Infinity, () => performance.now())
  let isBroken = false

  async function answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const text = await textOf(incoming)
    if (incoming.method === 'POST' && incoming.url === '/break') {
      isBroken = !isBroken
      return void outgoing.end(
        isBroken ? `${nature.name} answers 500 from now on\n` : `${nature.name} works again\n`,
      )
    }
    if (incoming.method !== 'POST' || incoming.url !== '/v1/chat/completions') {
      return sendError(outgoing, {
        status: 404,
        code: 'not_found',
        message: 'Only chat completions are pretended.',
      })
    }
    if (isBroken)
      return sendError(outgoing, { status: 500, code: 'server_error', message: 'Broken for the demo.' })
    const asked = parseAsked(text)
    if (asked === undefined) {
      return sendError(outgoing, {
        status: 400,
        code: 'invalid_request',
        message: 'A JSON object with messages is wanted.',
      })
    }
    const allowance = allow()
    if (nature.perMinute !== undefined) tellLimit(outgoing, nature.perMinute, allowance)
    if (!allowance.isAllowed) {
      outgoing.setHeader('retry-after', Math.ceil(allowance.resetMs / 1000))
      const message = `Rate limit reached: ${nature.perMinute} requests a minute.`
      return sendError(outgoing, { status: 429, code: 'rate_limit_exceeded', message })
    }
    await complete(outgoing, asked, nature)
  }

  const server = createServer((incoming, outgoing) => {
    // A client that leaves ends its request and nothing else.
    answer(incoming, outgoing).catch(() => outgoing.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    nature,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

async function complete(outgoing: ServerResponse, asked: Asked, nature: Nature): Promise<void> {
  const left = new AbortController()
  outgoing.once('close', () => left.abort())
  const { signal } = left
  const id = `chatcmpl-${randomUUID().slice(0, 8)}`
  const completion = completionOf(asked, nature, { id, created: Math.floor(Date.now() / 1000) })
  await pause(nature.thinkingMs, undefined, { signal })
  if (!asked.stream) {
    outgoing.setHeader('content-type', 'application/json')
    return void outgoing.end(completion.whole)
  }
  outgoing.setHeader('content-type', 'text/event-stream')
  outgoing.write(completion.opening)
  for (const word of completion.words) {
    outgoing.write(word)
    await pause(nature.wordMs, undefined, { signal })
  }
  outgoing.end(completion.closing)
}

/** OpenAI's rate limit headers; the reset is a duration. */
function tellLimit(outgoing: ServerResponse, perMinute: number, { left, resetMs }: Allowance): void {
  outgoing.setHeader('x-ratelimit-limit-requests', perMinute)
  outgoing.setHeader('x-ratelimit-remaining-requests', left)
  outgoing.setHeader('x-ratelimit-reset-requests', `${(resetMs / 1000).toFixed(3)}s`)
}

interface Failure {
  readonly status: number
  readonly code: string
  readonly message: string
}

function sendError(outgoing: ServerResponse, { status, code, message }: Failure): void {
  outgoing.writeHead(status, { 'content-type': 'application/json' })
  outgoing.end(JSON.stringify({ error: { message, type: 'demo_error', param: null, code } }))
}

async function textOf(incoming: IncomingMessage): Promise<string> {
  incoming.setEncoding('utf8')
  let text = ''
  for await (const part of incoming) text += part
  return text
}
