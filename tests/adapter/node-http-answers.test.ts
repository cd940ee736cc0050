import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { createAnswerReader } from '../../src/adapter/node-http-answers.ts'
import { createHeadReader } from '../../src/adapter/node-http-head.ts'
import { cut } from '../support/cut.ts'

interface Read {
  readonly status: number
  readonly headers: Record<string, string>
  body: string
  isPersistent?: boolean
}

/** What a reader makes of pieces of a connection, each in memory that is overwritten afterwards. */
function readAnswers(pieces: readonly string[], method = 'POST') {
  const answers: Read[] = []
  let isJunk = false
  const reader = createAnswerReader(createHeadReader(), {
    head: ({ status, headers }) => answers.push({ status, headers: { ...headers }, body: '' }),
    data(chunk) {
      const last = answers.at(-1)
      if (last) last.body += Buffer.from(chunk).toString('latin1')
    },
    end(isPersistent) {
      const last = answers.at(-1)
      if (last) last.isPersistent = isPersistent
    },
  })
  const shared = Buffer.alloc(100_000)
  reader.expect(method)
  for (const piece of pieces) {
    const bytes = shared.subarray(0, shared.write(piece, 'latin1'))
    isJunk ||= !reader.push(bytes)
    shared.fill(0x21)
  }
  return { answers, isJunk, finish: () => reader.finish() }
}

const chunked = (parts: readonly string[], extension = ''): string =>
  `${parts.map((part) => `${part.length.toString(16)}${extension}\r\n${part}\r\n`).join('')}0\r\nx-trailer: 1\r\n\r\n`

test('an answer is the same wherever the connection cuts it', () => {
  const part = fc.string({ minLength: 1, maxLength: 40, unit: fc.constantFrom(...'ab0\r\n;\u00ff') })
  fc.assert(
    fc.property(
      fc.array(part),
      fc.boolean(),
      fc.array(fc.nat()),
      fc.boolean(),
      (parts, hasLength, cuts, isEarly) => {
        const body = parts.join('')
        const framing = hasLength ? `content-length: ${body.length}` : 'Transfer-Encoding: Chunked'
        const early = isEarly ? 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n' : ''
        const text = `${early}HTTP/1.1 200 OK\r\n${framing}\r\nX-A:  1 \r\nx-a: 2\r\n\r\n${hasLength ? body : chunked(parts, ';a=b')}`
        const { answers, isJunk } = readAnswers(cut(text, cuts))
        expect(isJunk).toBe(false)
        expect(answers).toEqual([
          {
            status: 200,
            headers: expect.objectContaining({ 'x-a': '1, 2' }) as unknown,
            body,
            isPersistent: true,
          },
        ])
      },
    ),
  )
})

test('all frames that arrive together are handed on as one chunk', () => {
  const chunks: string[] = []
  const reader = createAnswerReader(createHeadReader(), {
    head: () => {},
    data: (chunk) => void chunks.push(Buffer.from(chunk).toString()),
    end: () => {},
  })
  reader.expect('POST')
  reader.push(Buffer.from('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n'))
  reader.push(Buffer.from('1\r\nf\r\n0\r\n\r\n'))
  expect(chunks).toEqual(['abcde', 'f'])
})

test.each([
  ['no HTTP', 'SSH-2.0-OpenSSH\r\n'],
  ['HTTP/2', 'HTTP/2.0 200 OK\r\n\r\n'],
  ['a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n'],
  ['a change of protocols', 'HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n'],
  ['lines that end without a CR', 'HTTP/1.1 200 OK\nx: 1\n\n'],
  ['a bare LF in a value', 'HTTP/1.1 200 OK\r\nx: 1\ny: 2\r\n\r\n'],
  ['a control character in a value', 'HTTP/1.1 200 OK\r\nx: \u0000\r\n\r\n'],
  ['a blank before the colon', 'HTTP/1.1 200 OK\r\ncontent-length : 5\r\n\r\nhello'],
  ['a field without a name', 'HTTP/1.1 200 OK\r\n: 1\r\n\r\n'],
  ['a line without a colon', 'HTTP/1.1 200 OK\r\nnothing\r\n\r\n'],
  ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\na'],
  ['a length with a sign', 'HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\na'],
  [
    'a length and chunks',
    'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  ['a coding of the transfer', 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
  ['a frame without a size', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\n'],
  ['a size with a sign', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n\r\n'],
  [
    'a size beyond all measure',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffff\r\n\r\n',
  ],
  [
    'a frame longer than its size',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n',
  ],
  [
    'a frame that ends with a bare LF',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n',
  ],
  ['an extension of 100 KB', `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;${'x'.repeat(90_000)}`],
  ['a trailer of 100 KB', `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n${'x'.repeat(90_000)}`],
  ['a head of 100 KB', `HTTP/1.1 200 OK\r\nx: ${'x'.repeat(90_000)}`],
  ['a second answer', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n'],
])('%s is junk, in one piece and byte by byte', (_what, text) => {
  expect(readAnswers([text]).isJunk).toBe(true)
  expect(readAnswers(text.length > 1_000 ? cut(text, [30_000, 60_000]) : Array.from(text)).isJunk).toBe(true)
})

test.each([
  { head: 'HTTP/1.1 200 OK', method: 'POST', isPersistent: false, because: 'it ends with its connection' },
  {
    head: 'HTTP/1.1 200 OK\r\ncontent-length: 0',
    method: 'POST',
    isPersistent: true,
    because: 'its end is told',
  },
  {
    head: 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: Close',
    method: 'POST',
    isPersistent: false,
    because: 'it says so',
  },
  {
    head: 'HTTP/1.0 200 OK\r\ncontent-length: 0',
    method: 'POST',
    isPersistent: false,
    because: 'HTTP/1.0 closes',
  },
  {
    head: 'HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: Keep-Alive',
    method: 'POST',
    isPersistent: true,
    because: 'it says so',
  },
  {
    head: 'HTTP/1.1 200 OK\r\ncontent-length: 9',
    method: 'HEAD',
    isPersistent: true,
    because: 'HEAD has no body',
  },
  {
    head: 'HTTP/1.1 304 Not Modified\r\ncontent-length: 9',
    method: 'GET',
    isPersistent: true,
    because: '304 has no body',
  },
  { head: 'HTTP/1.1 204\r\n', method: 'POST', isPersistent: true, because: '204 has no body' },
])('$method, $head: kept is $isPersistent, since $because', ({ head, method, isPersistent }) => {
  const { answers, finish } = readAnswers([`${head.trimEnd()}\r\n\r\n`], method)
  if (answers[0]?.isPersistent === undefined) expect(finish()).toBe(true)
  expect(answers).toMatchObject([{ body: '', isPersistent }])
})

test('a folded line goes on with the value before it', () => {
  const { answers } = readAnswers(['HTTP/1.1 200 OK\r\nx-a: one\r\n\t two\r\ncontent-length: 0\r\n\r\n'])
  expect(answers[0]?.headers['x-a']).toBe('one two')
})

test('a header called __proto__ is a header, and none is there that was not sent', () => {
  const read = createHeadReader()('HTTP/1.1 200 OK\r\n__proto__: 1\r\ncontent-length: 0', 'POST')
  expect(Object.keys(read?.headers ?? {})).toEqual(['__proto__', 'content-length'])
  expect(read?.headers['constructor']).toBeUndefined()
  expect(read?.headers['toString']).toBeUndefined()
})

test('whatever comes, nothing is thrown and nothing is told of an answer after its end', () => {
  const piece = fc.oneof(
    fc.string({ unit: fc.constantFrom(...'HTP/1. 02\r\n:;a\u00ff\u0000') }),
    fc.constantFrom(
      'HTTP/1.1 200 OK\r\n',
      'transfer-encoding: chunked\r\n\r\n',
      'content-length: 3\r\n\r\n',
      '3\r\nabc\r\n',
      '0\r\n\r\n',
    ),
  )
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      const { answers } = readAnswers(pieces)
      expect(answers.length).toBeLessThanOrEqual(1)
    }),
    { numRuns: 2_000 },
  )
})
