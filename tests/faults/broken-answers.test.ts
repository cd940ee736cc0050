import { gzipSync } from 'node:zlib'
import { completion } from '../support/believable.ts'
import { answer, close, raw, reset } from '../support/scripted-scenes.ts'
import { failureRest, plays, testFaults, type Fault } from './matrix-bed.ts'

const disconnected = { exhausted: { status: 502, code: 'upstream_unavailable' }, rests: failureRest }
const bad = { exhausted: { status: 502, code: 'upstream_bad_response' }, rests: failureRest }
const gzip = { 'content-encoding': 'gzip' }
const cutText = completion('a long answer').slice(0, 120)

/** Bytes and then the end of the connection. */
const cut = (bytes: string | Uint8Array, how: 'close' | 'reset' = 'close'): Fault['place'] =>
  plays(() => raw(bytes, how))

testFaults([
  {
    fault: 'close before the answer',
    because: 'it may never have been read',
    place: plays(close),
    ...disconnected,
  },
  {
    fault: 'reset before the answer',
    because: 'it may never have been read',
    place: plays(reset),
    ...disconnected,
  },
  {
    fault: 'junk',
    because: 'that is not HTTP',
    place: cut('\u0000\u0001\u0002 what?\r\n\r\n'),
    ...disconnected,
  },
  {
    fault: 'the banner of another protocol',
    because: 'that is not HTTP',
    place: cut('SSH-2.0-OpenSSH_9.2\r\n'),
    ...disconnected,
  },
  {
    fault: 'partial headers',
    because: 'the answer has not begun',
    place: cut('HTTP/1.1 200 OK\r\ncontent-ty'),
    ...disconnected,
  },
  {
    fault: 'half a status line',
    because: 'the answer has not begun',
    place: cut('HTTP/1.', 'reset'),
    ...disconnected,
  },
  {
    fault: 'a switch of protocols that nobody asked for',
    because: 'that is no answer',
    place: cut('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'),
    ...disconnected,
  },
  {
    fault: 'two lengths that contradict each other',
    because: 'nobody knows where the answer ends',
    place: cut('HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 9\r\n\r\n{"a":1}'),
    ...disconnected,
  },
  {
    fault: 'an endless header',
    because: 'memory is not given to it',
    place: cut(`HTTP/1.1 200 OK\r\nx-junk: ${'j'.repeat(1_000_000)}`),
    ...disconnected,
  },
  {
    fault: 'JSON shorter than its length',
    because: 'half an answer is none',
    place: plays(() => answer({ body: cutText, framing: 5_000, ending: 'close' })),
    ...disconnected,
  },
  {
    fault: 'JSON reset in its middle',
    because: 'half an answer is none',
    place: plays(() => answer({ body: cutText, framing: 'chunked', ending: 'reset' })),
    ...disconnected,
  },
  {
    fault: 'chunks without a last one',
    because: 'half an answer is none',
    place: plays(() => answer({ body: completion(), framing: 'chunked', ending: 'close' })),
    ...disconnected,
  },
  {
    fault: 'truncated JSON with an honest length',
    because: 'it was cut before it was sent',
    place: plays(() => answer({ body: cutText })),
    ...bad,
  },
  {
    fault: 'truncated JSON that ends with its connection',
    because: 'half an answer is none',
    place: plays(() => answer({ body: cutText, framing: 'close' })),
    ...bad,
  },
  {
    fault: 'broken gzip',
    because: 'nobody can read it',
    place: plays(() => answer({ headers: gzip, body: Buffer.from('this is not gzip at all') })),
    ...bad,
  },
  {
    fault: 'cut gzip',
    because: 'its end is missing',
    place: plays(() => answer({ headers: gzip, body: gzipSync(completion()).subarray(0, 60) })),
    ...bad,
  },
])
