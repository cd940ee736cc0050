import http from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { buildPage } from '../../config/page.ts'
import { inChinese } from '../../src/cli/chinese.ts'
import { pageOf } from '../../src/http/page.ts'
import { statusIn } from '../../src/telemetry/status.ts'
import * as scene from './scene.ts'

export const PRETENDED_TOKEN = 'sk-pretended-token'

/** What the page asked to be done. */
export interface Asked {
  readonly method: string
  readonly path: string
  readonly body: unknown
}

/** A gateway that is only told of: the page that was built, and what a busy one would answer, with every kind of state. */
export interface PretendedGateway {
  readonly url: string
  readonly asked: Asked[]
  /** Answers instead of the scene, by method and path; undefined = as the scene has it. */
  instead: (asked: Asked) => { status: number; body: unknown } | undefined
  /** Sends an event to every page that listens. */
  send(event: string, data: unknown): void
  /** Pages that listen. */
  readonly listening: number
  /** Ends all streams of events, as a gateway that stops does. */
  hangUp(): void
  close(): Promise<void>
}

let built: Promise<string> | undefined

export async function startPretendedGateway(now = Date.now()): Promise<PretendedGateway> {
  built ??= buildPage().then(({ html }) => html)
  const { html, policy } = pageOf(await built)
  const packed = gzipSync(html)
  const streams = new Set<http.ServerResponse>()
  const data = scene.sceneAt(now)
  const asked: Asked[] = []

  const server = http.createServer((request, response) => void answer(request, response))
  async function answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://gateway')
    if (url.pathname === '/') {
      response.writeHead(200, {
        'content-type': 'text/html; charset=utf-8',
        'content-encoding': 'gzip',
        'content-security-policy': policy,
      })
      return void response.end(packed)
    }
    const json = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(JSON.stringify(body))
    }
    if (request.headers.authorization !== `Bearer ${PRETENDED_TOKEN}`)
      return json(401, { error: { message: 'The token is wrong.', code: 'invalid_api_key' } })
    let text = ''
    for await (const chunk of request.setEncoding('utf8')) text += String(chunk)
    const one = {
      method: request.method ?? 'GET',
      path: url.pathname + url.search,
      body: text === '' ? undefined : (JSON.parse(text) as unknown),
    }
    asked.push(one)
    const status = statusIn(
      data.status,
      request.headers['accept-language'] === 'zh-CN' ? inChinese : undefined,
    )
    const other = gateway.instead(one)
    if (other !== undefined) return json(other.status, other.body)
    if (url.pathname === '/admin/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      streams.add(response)
      response.on('close', () => streams.delete(response))
      const { requests, usage } = data
      return void response.write(eventText('snapshot', { status, requests, usage }))
    }
    const id = /^\/admin\/requests\/(.+)$/.exec(url.pathname)?.[1]
    if (id !== undefined) {
      const found = data.explanations[id]
      return found === undefined ? json(404, { error: { message: 'none' } }) : json(200, found)
    }
    const found: Readonly<Record<string, unknown>> = {
      'GET /admin/status': status,
      'GET /admin/usage': data.usage,
      'GET /admin/requests': {
        requests: url.searchParams.has('before') ? [] : data.requests,
        oldest_kept: null,
        dropped: null,
      },
      'GET /admin/config': data.config,
      'GET /admin/presets': data.presets,
      'GET /admin/tokens': data.tokens,
      'POST /admin/pause': { upstream: 'groq', paused: true },
      'POST /admin/resume': { upstream: 'groq', paused: false },
      'POST /admin/forget': { upstream: 'groq', ended: ['upstream'] },
      'POST /admin/test': {
        upstream: 'groq',
        ok: true,
        status: 200,
        first_byte_ms: 212,
        total_ms: 230,
        error: null,
      },
      'POST /admin/config/upstreams': { etag: '"2"', problems: [], warnings: [] },
      'PUT /admin/config/upstreams': { etag: '"2"', problems: [], warnings: [] },
      'DELETE /admin/config/upstreams': { etag: '"2"', problems: [], warnings: [] },
      'POST /admin/config/settings': { etag: '"2"', problems: [], warnings: [] },
      'POST /admin/config/order': { etag: '"2"', problems: [], warnings: [] },
    }
    const body = found[`${one.method} ${url.pathname}`]
    if (body === undefined)
      json(404, { error: { message: `There is no ${url.pathname}.`, code: 'not_found' } })
    else json(200, body)
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const gateway: PretendedGateway = {
    url: `http://127.0.0.1:${port}`,
    asked,
    instead: () => undefined,
    send(event, value) {
      for (const stream of streams) stream.write(eventText(event, value))
    },
    get listening() {
      return streams.size
    },
    hangUp() {
      for (const stream of streams) stream.end()
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return gateway
}

const eventText = (event: string, data: unknown): string =>
  `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`
