import type { GatewayProcess } from './gateway-process.ts'
import { headOf } from './raw-client.ts'

/** One answer among the bytes of a connection. */
export interface RawAnswer {
  readonly status: number
  /** Status line and headers. */
  readonly head: string
  /** Without its chunks' frames, as latin1. */
  readonly body: string
}

/** The answers that are whole, in order; interim ones are left out. An answer without a length ends with the text. */
export function answersIn(text: string): RawAnswer[] {
  const answers: RawAnswer[] = []
  for (let at = 0; at < text.length;) {
    const headEnd = text.indexOf('\r\n\r\n', at)
    if (headEnd < 0) break
    const head = text.slice(at, headEnd)
    const status = Number(head.split(' ')[1])
    const found = status < 200 ? { body: '', end: headEnd + 4 } : bodyAt(text, headEnd + 4, head)
    if (found === undefined) break
    if (status >= 200) answers.push({ status, head, body: found.body })
    at = found.end
  }
  return answers
}

interface Body {
  readonly body: string
  readonly end: number
}

function bodyAt(text: string, start: number, head: string): Body | undefined {
  if (/^transfer-encoding: chunked$/im.test(head.replaceAll('\r', ''))) return chunkedBodyAt(text, start)
  const length = /^content-length: (\d+)$/im.exec(head.replaceAll('\r', ''))?.[1]
  const isBare = / (?:204|304) /.test(head.slice(0, 14))
  const end = isBare ? start : length === undefined ? text.length : start + Number(length)
  return end > text.length ? undefined : { body: text.slice(start, end), end }
}

function chunkedBodyAt(text: string, start: number): Body | undefined {
  let body = ''
  for (let at = start; ;) {
    const lineEnd = text.indexOf('\r\n', at)
    const size = lineEnd < 0 ? Number.NaN : Number.parseInt(text.slice(at, lineEnd), 16)
    at = lineEnd + 2 + size + 2
    // Both are false for a size that is not there yet.
    if (!(at <= text.length)) return undefined
    if (size === 0) return { body, end: at }
    body += text.slice(lineEnd + 2, lineEnd + 2 + size)
  }
}

/** A `POST` with the token; with a body its length is added. */
export function postOf(
  gateway: Pick<GatewayProcess, 'token'>,
  path: string,
  headers: Readonly<Record<string, string | number>>,
  body?: string,
): string {
  const head = headOf(`POST ${path} HTTP/1.1`, {
    authorization: `Bearer ${gateway.token}`,
    'content-type': 'application/json',
    ...(body !== undefined && { 'content-length': Buffer.byteLength(body) }),
    ...headers,
  })
  return `${head}${body ?? ''}`
}

/** A chat completion asked for, with the token. */
export const chatOf = (gateway: Pick<GatewayProcess, 'token'>, body: object): string =>
  postOf(gateway, '/v1/chat/completions', {}, JSON.stringify({ model: 'auto', ...body }))
