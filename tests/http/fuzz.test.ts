import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { OWN_PATHS } from '../../src/http/paths.ts'
import { answer, configOf, createTestApp, TOKEN, type TestApp } from '../support/test-app.ts'

const METHODS = [
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
  'TRACE',
  'PROPFIND',
  'x-y',
  'QUERY',
]
const PIECES = [
  '/',
  '//',
  '/v1',
  '/v1/',
  'models',
  'chat',
  'completions',
  '%2e%2e',
  '..',
  '%2f',
  '%',
  '%ff',
  '%00',
  ';',
  '?',
  '#',
  '\\',
  '/admin',
  '/metrics',
  'é',
  ' ',
  '💥',
  '{',
  "'",
]

const path = fc.oneof(
  fc.constantFrom(...OWN_PATHS, '/', '/healthz', '/readyz', '/metrics', '/admin/status', '/v1/files'),
  fc
    .array(fc.oneof(fc.constantFrom(...PIECES), fc.string({ maxLength: 6 })), { maxLength: 8 })
    .map((parts) => `/${parts.join('')}`),
)

/** What HTTP lets through: bytes that are no line breaks and no NUL. */
const headerValue = fc
  .array(
    fc.integer({ min: 1, max: 255 }).filter((code) => code !== 10 && code !== 13),
    { maxLength: 40 },
  )
  .map((codes) => String.fromCharCode(...codes))
const HEADERS = [
  'authorization',
  'x-api-key',
  'content-type',
  'x-request-id',
  'origin',
  'access-control-request-headers',
  'x-forwarded-for',
  'x-real-ip',
  'content-length',
  'accept',
  'openai-beta',
  'x-session',
  '__proto__',
  'constructor',
]
const TYPES = [
  'application/json',
  'multipart/form-data',
  'multipart/form-data; boundary=b',
  'multipart/form-data; boundary="',
  'text/plain',
  '',
]
const headers = fc
  .tuple(
    fc.dictionary(fc.constantFrom(...HEADERS), headerValue, { maxKeys: 4 }),
    fc.option(fc.constantFrom(...TYPES)),
    fc.boolean(),
  )
  .map(([some, type, isAllowed]): [string, string][] => [
    ...Object.entries(some),
    ...(type === null ? [] : [['content-type', type] as [string, string]]),
    ...(isAllowed ? [['api-key', TOKEN] as [string, string]] : []),
  ])

const text = fc.oneof(
  fc.json(),
  fc.json().map((json) => json.slice(0, -1)),
  fc
    .record(
      {
        model: fc.jsonValue(),
        stream: fc.jsonValue(),
        messages: fc.jsonValue(),
        n: fc.jsonValue(),
        conversation: fc.jsonValue(),
        input: fc.jsonValue(),
      },
      { requiredKeys: [] },
    )
    .map((body) => JSON.stringify(body)),
  fc.constantFrom(
    '{"model":"\\ud800"}',
    '{"model":"auto","messages":[{"role":"user","content":null}]}',
    '--b\r\n\r\n--b--',
    '--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nauto\r\n--b--',
  ),
)
const body = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  text.map((some) => new TextEncoder().encode(some)),
  fc.constant(undefined),
)

interface Sent {
  readonly method: string
  readonly path: string
  readonly headers: readonly [string, string][]
  readonly body: Uint8Array | undefined
  /** Whether the URL reaches the app as the client wrote it, as it does on Node, or parsed. */
  readonly isRaw: boolean
}

/** A request as a runtime makes it; undefined for what none lets through. */
function requestOf({ method, path, headers, body, isRaw }: Sent): Request | undefined {
  try {
    const url = `http://gateway.test${path}`
    const hasBody = body !== undefined && method !== 'GET' && method !== 'HEAD' && method !== 'TRACE'
    const request = new Request(url, {
      method: method === 'TRACE' ? 'GET' : method,
      headers: headers.map(([name, value]): [string, string] => [name, value]),
      ...(hasBody && { body: Buffer.from(body) }),
    })
    if (method === 'TRACE') Object.defineProperty(request, 'method', { value: method })
    if (isRaw) Object.defineProperty(request, 'url', { value: url })
    return request
  } catch {
    return undefined
  }
}

async function expectWell(gateway: TestApp, sent: Sent): Promise<void> {
  const request = requestOf(sent)
  if (request === undefined) return
  const response = await gateway.app.fetch(request, {})
  expect(response.status).not.toBe(500)
  expect(response.headers.get('x-request-id')).toMatch(/^[A-Za-z0-9._-]{1,128}$/)
  const said = await response.text()
  expect(gateway.events.filter(({ kind }) => kind === 'notice')).toEqual([])
  expect([gateway.memory.held, gateway.openLeases]).toEqual([0, 0])
  if (response.status < 400 || sent.method === 'HEAD') return
  const { error }: { error: object } = JSON.parse(said)
  expect(Object.keys(error).sort()).toEqual(['code', 'message', 'param', 'type'])
  expect(said).not.toContain(TOKEN)
}

test.each([
  { hosts: ['a.test'], settings: { affinity: 'conversation' } },
  { hosts: ['a.test', 'b.test'], settings: { affinity: 'ip', unknown_model: 'auto' } },
  { hosts: ['a.test', 'b.test'], settings: { affinity: 'header:x-session', passthrough: 'b.test' } },
])('nothing that a client sends is a mistake of ours (case %#)', async ({ hosts, settings }) => {
  const config = configOf(hosts, { settings, server: { cors: ['https://app.example'], max_body: 150 } })
  const gateway = createTestApp(config, ({ host }) => answer(host))
  const sent = fc.record({ method: fc.constantFrom(...METHODS), path, headers, body, isRaw: fc.boolean() })
  await fc.assert(
    fc.asyncProperty(sent, (one) => expectWell(gateway, one)),
    { numRuns: 1500 },
  )
})
