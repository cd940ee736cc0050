import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { createRequestHeadReader } from '../../src/adapter/node-http-request-head.ts'
import { createRequestReader } from '../../src/adapter/node-http-requests.ts'
import { GatewayError } from '../../src/errors.ts'
import { cut } from '../support/cut.ts'

interface Read {
  readonly line: string
  readonly headers: Record<string, string>
  readonly isPersistent: boolean
  body: string
  isWhole: boolean
}

/** What a reader makes of the pieces of a connection; an error ends the reading. */
function readRequests(pieces: readonly string[]) {
  const requests: Read[] = []
  let error: unknown
  const last = (): Read => requests.at(-1)!
  const reader = createRequestReader(createRequestHeadReader(), {
    head: ({ method, target, headers, isPersistent }) =>
      requests.push({
        line: `${method} ${target}`,
        headers: { ...headers },
        isPersistent,
        body: '',
        isWhole: false,
      }),
    data: (chunk) => void (last().body += Buffer.from(chunk).toString('latin1')),
    end: () => void (last().isWhole = true),
  })
  try {
    for (const piece of pieces) {
      const bytes = Buffer.from(piece, 'latin1')
      for (let at = 0; at < bytes.length;) at = reader.push(bytes, at)
    }
  } catch (thrown) {
    error = thrown
  }
  return { requests, error, isAmidHead: reader.isAmidHead }
}

const chunked = (parts: readonly string[]): string =>
  `${parts.map((part) => `${part.length.toString(16)};a="b"\r\n${part}\r\n`).join('')}0\r\nx-trailer: 1\r\n\r\n`

const POST = 'POST /v1/x?a=b HTTP/1.1\r\nHost: h\r\n'

test('requests are the same wherever the connection cuts them, one behind the other', () => {
  const part = fc.string({ minLength: 1, maxLength: 40, unit: fc.constantFrom(...'ab0\r\n;\u00ff') })
  const one = fc.record({ parts: fc.array(part), hasLength: fc.boolean(), isBlankBefore: fc.boolean() })
  fc.assert(
    fc.property(fc.array(one, { minLength: 1, maxLength: 4 }), fc.array(fc.nat()), (sent, cuts) => {
      const text = sent
        .map(({ parts, hasLength, isBlankBefore }) => {
          const body = parts.join('')
          const framing = hasLength ? `Content-Length:  ${body.length} ` : 'Transfer-Encoding: Chunked'
          return `${isBlankBefore ? '\r\n' : ''}${POST}${framing}\r\nX-A: 1\r\nx-a:2\r\n\r\n${hasLength ? body : chunked(parts)}`
        })
        .join('')
      const { requests, error, isAmidHead } = readRequests(cut(text, cuts))
      expect([error, isAmidHead]).toEqual([undefined, false])
      expect(requests).toEqual(
        sent.map(({ parts }) => ({
          line: 'POST /v1/x?a=b',
          headers: expect.objectContaining({ host: 'h', 'x-a': '1, 2' }) as unknown,
          isPersistent: true,
          body: parts.join(''),
          isWhole: true,
        })),
      )
    }),
  )
})

test.each([
  ['no HTTP', 'SSH-2.0-OpenSSH\r\n', /no HTTP/],
  ['a TLS greeting', '\u0016\u0003\u0001', /no HTTP/],
  ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', /first line/],
  ['HTTP/1.2', 'GET / HTTP/1.2\r\nhost: h\r\n\r\n', /first line/],
  ['a method in small letters', 'get / HTTP/1.1\r\nhost: h\r\n\r\n', /no HTTP|first line/],
  ['a blank in the target', 'GET /a b HTTP/1.1\r\nhost: h\r\n\r\n', /first line/],
  ['two blanks', 'GET  / HTTP/1.1\r\nhost: h\r\n\r\n', /first line/],
  ['a tab for a blank', 'GET\t/ HTTP/1.1\r\nhost: h\r\n\r\n', /no HTTP|first line/],
  ['no target', 'GET HTTP/1.1\r\nhost: h\r\n\r\n', /first line/],
  ['a target with bytes beyond ASCII', 'GET /\u00fc HTTP/1.1\r\nhost: h\r\n\r\n', /first line/],
  ['a host that is a path', 'GET / HTTP/1.1\r\nhost: a/b?\r\n\r\n', /Host/],
  ['a host with a user', 'GET / HTTP/1.1\r\nhost: a@b\r\n\r\n', /Host/],
  ['1,001 headers', `${POST}${'a:b\r\n'.repeat(1_001)}\r\n`, /more than 1000/],
  ['no version', 'GET /\r\nhost: h\r\n\r\n', /first line/],
  ['lines that end without a CR', 'GET / HTTP/1.1\nhost: h\n\n', /CR and LF/],
  ['a bare LF in a value', 'GET / HTTP/1.1\r\nhost: h\nx: 1\r\n\r\n', /control character|CR and LF/],
  ['a bare CR in a value', 'GET / HTTP/1.1\r\nhost: h\rx: 1\r\n\r\n', /control character/],
  ['a zero byte in a value', 'GET / HTTP/1.1\r\nhost: h\r\nx: \u0000\r\n\r\n', /control character/],
  ['a folded line', 'GET / HTTP/1.1\r\nhost: h\r\nx: 1\r\n 2\r\n\r\n', /"name: value"/],
  ['a blank line start', 'GET / HTTP/1.1\r\n host: h\r\n\r\n', /"name: value"/],
  ['a blank before the colon', 'GET / HTTP/1.1\r\nhost : h\r\n\r\n', /"name: value"/],
  ['a field without a name', 'GET / HTTP/1.1\r\nhost: h\r\n: 1\r\n\r\n', /"name: value"/],
  ['a line without a colon', 'GET / HTTP/1.1\r\nhost: h\r\nnothing\r\n\r\n', /"name: value"/],
  ['no host', 'GET / HTTP/1.1\r\nx: 1\r\n\r\n', /no Host/],
  ['no header at all', 'GET / HTTP/1.1\r\n\r\n', /no Host/],
  ['two hosts', 'GET / HTTP/1.1\r\nhost: a\r\nHost: b\r\n\r\n', /not one name/],
  ['two lengths', `${POST}content-length: 1\r\ncontent-length: 2\r\n\r\na`, /Content-Length/],
  ['the same length twice', `${POST}content-length: 1\r\ncontent-length: 1\r\n\r\na`, /Content-Length/],
  ['an empty length', `${POST}content-length: \r\n\r\n`, /Content-Length/],
  ['a length with a sign', `${POST}content-length: +1\r\n\r\na`, /Content-Length/],
  ['a length in hexadecimal', `${POST}content-length: 0x1\r\n\r\na`, /Content-Length/],
  ['a length beyond all measure', `${POST}content-length: 9999999999999999\r\n\r\n`, /Content-Length/],
  ['a length and chunks', `${POST}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`, /both/],
  ['an empty transfer coding', `${POST}transfer-encoding: \r\n\r\n`, /Transfer-Encoding/],
  ['a coding of the transfer', `${POST}transfer-encoding: gzip, chunked\r\n\r\n`, /Transfer-Encoding/],
  ['chunks twice', `${POST}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n`, /Transfer-Enc/],
  ['chunks in HTTP/1.0', 'POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n', /HTTP\/1\.0/],
  ['a chunk without a size', `${POST}transfer-encoding: chunked\r\n\r\n\r\n`, /chunks/],
  ['a chunk size with a sign', `${POST}transfer-encoding: chunked\r\n\r\n-1\r\n\r\n`, /chunks/],
  ['a chunk size in 0x', `${POST}transfer-encoding: chunked\r\n\r\n0x1\r\na\r\n`, /chunks/],
  ['a chunk size with a word', `${POST}transfer-encoding: chunked\r\n\r\n1 x\r\na\r\n`, /chunks/],
  ['a zero byte in an extension', `${POST}transfer-encoding: chunked\r\n\r\n1;\u0000\r\na\r\n`, /chunks/],
  [
    'a trailer without a colon',
    `${POST}transfer-encoding: chunked\r\n\r\n0\r\nGET / HTTP/1.1\r\n\r\n`,
    /chunks/,
  ],
  ['a zero byte in a trailer', `${POST}transfer-encoding: chunked\r\n\r\n0\r\na: \u0000\r\n\r\n`, /chunks/],
  ['a chunk longer than its size', `${POST}transfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n`, /chunks/],
  [
    'a chunk that ends with a bare LF',
    `${POST}transfer-encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n`,
    /chunks/,
  ],
])('%s is refused with its reason, in one piece and byte by byte', (_what, text, reason) => {
  for (const pieces of [[text], Array.from(text)]) {
    const { error, requests } = readRequests(pieces)
    expect(error).toBeInstanceOf(GatewayError)
    expect(error).toMatchObject({ code: 'bad_request', message: expect.stringMatching(reason) as unknown })
    expect(requests.filter(({ isWhole }) => isWhole)).toEqual([])
  }
})

test.each([
  ['one header of 100 KB', `${POST}x: ${'x'.repeat(100_000)}`],
  ['a target of 100 KB', `GET /${'x'.repeat(100_000)}`],
  ['5,000 headers', POST + 'x-a: 12345678\r\n'.repeat(5_000)],
  ['a head of 100 KB that is whole', `${POST}x: ${'x'.repeat(100_000)}\r\n\r\n`],
])('%s is refused as too large, in one piece and in many', (_what, text) => {
  for (const pieces of [[text], cut(text, [1, 10_000, 20_000, 40_000, 60_000])])
    expect(readRequests(pieces).error).toMatchObject({ code: 'headers_too_large', status: 431 })
})

test.each([
  { request: 'GET / HTTP/1.1\r\nhost: h', isPersistent: true, because: 'HTTP/1.1 stays' },
  { request: 'GET / HTTP/1.1\r\nhost: h\r\nConnection: Close', isPersistent: false, because: 'it says so' },
  { request: 'GET / HTTP/1.0', isPersistent: false, because: 'HTTP/1.0 closes' },
  { request: 'GET / HTTP/1.0\r\nconnection: Keep-Alive', isPersistent: true, because: 'it says so' },
])('$request: kept is $isPersistent, since $because', ({ request, isPersistent }) => {
  expect(readRequests([`${request}\r\n\r\n`]).requests).toMatchObject([{ isPersistent, isWhole: true }])
})

test.each(['h', 'h:2081', '127.0.0.1:1', '[::1]:2081', 'a_b.example', 'xn--4gbrim.example:', ''])(
  'the host "%s" is one',
  (host) => {
    const { requests } = readRequests([`GET / HTTP/1.1\r\nhost: ${host}\r\n\r\n`])
    expect(requests).toMatchObject([{ headers: { host }, isWhole: true }])
  },
)

test('a header called __proto__ is a header, and none is there that was not sent', () => {
  const { requests } = readRequests([`${POST}__proto__: 1\r\n\r\n`])
  expect(Object.keys(requests[0]!.headers)).toEqual(['host', '__proto__'])
})

test('whatever comes, only errors of the catalog are thrown, and no request goes on behind its end', () => {
  const piece = fc.oneof(
    fc.string({ unit: fc.constantFrom(...'GET /HTP1. 0\r\n:;a\u00ff\u0000') }),
    fc.constantFrom(
      POST,
      'GET / HTTP/1.1\r\nhost: h\r\n\r\n',
      'transfer-encoding: chunked\r\n\r\n',
      'content-length: 3\r\n\r\n',
      '3\r\nabc\r\n',
      '0\r\n\r\n',
    ),
  )
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      const { error, requests } = readRequests(pieces)
      expect(error === undefined || error instanceof GatewayError).toBe(true)
      expect(requests.slice(0, -1).every(({ isWhole }) => isWhole)).toBe(true)
    }),
    { numRuns: 2_000 },
  )
})
