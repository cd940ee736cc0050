import type { Mutation } from './mutations.ts'

const adapter = (file: string): string => `src/adapter/node-${file}.ts`
const reader = ['tests/adapter/node-http-requests.test.ts']
const server = ['tests/adapter/node-server.test.ts']

/** The rules of the HTTP server, one broken at a time. */
export const serverMutations: readonly Mutation[] = [
  {
    file: adapter('http-request-head'),
    search: "createFieldReader('refused')",
    replace: "createFieldReader('joined')",
    because: 'a folded line is refused',
    tests: reader,
  },
  {
    file: adapter('http-request-head'),
    search: "if (announced !== undefined) throw malformed('it has both",
    replace: "if (announced === '') throw malformed('it has both",
    because: 'a length and chunks are refused',
    tests: reader,
  },
  {
    file: adapter('http-request-head'),
    search: "if (coding.toLowerCase() !== 'chunked')",
    replace: "if (!coding.toLowerCase().includes('chunked'))",
    because: 'chunks are the only transfer coding',
    tests: reader,
  },
  {
    file: adapter('http-request-head'),
    search: 'if (!IS_LENGTH.test(announced)) throw',
    replace: 'if (Number.isNaN(Number(announced))) throw',
    because: 'a length is digits alone',
    tests: reader,
  },
  {
    file: adapter('http-request-head'),
    search: 'if (HAS_JUNK.test(text)) throw',
    replace: "if (text === '') throw",
    because: 'control characters are refused',
    tests: reader,
  },
  {
    file: adapter('http-request-head'),
    search: "if (host?.includes(',') === true)",
    replace: "if (host === ',')",
    because: 'two hosts are refused',
    tests: reader,
  },
  {
    file: adapter('http-gather'),
    search: "if (held[at - 1] !== CR) return 'junk'",
    replace: '',
    because: 'lines that end without a CR are refused at once',
    tests: ['tests/faults/http-shapes.test.ts'],
  },
  {
    file: adapter('http-gather'),
    search: 'before - HEAD_END.length + 1',
    replace: 'before',
    because: 'the blank line is found where the connection cuts it',
    tests: reader,
  },
  {
    file: adapter('http-answer-text'),
    search: '!areFields(names, values)',
    replace: "!areFields(names, '')",
    because: 'a header of an answer is one header',
    tests: server,
  },
  {
    file: adapter('server-connection'),
    search: 'isPersistent && isWhole && !isRetired',
    replace: 'isPersistent && !isRetired',
    because: 'an answer before the end of its request is the last',
    tests: server,
  },
  {
    file: adapter('server-connection'),
    search: 'if (exchange !== undefined && isWhole) keepAhead(bytes)',
    replace: 'if (exchange === null) keepAhead(bytes)',
    because: 'a request that is sent ahead waits',
    tests: server,
  },
  {
    file: adapter('server-connection'),
    search: 'exchange === undefined ? socket.end() : socket.destroy()',
    replace: 'socket.end()',
    because: 'a client that closes its side has left',
    tests: server,
  },
  {
    file: adapter('server-connection'),
    search: 'left?.outgoing.lost()',
    replace: '',
    because: 'a client that resets its connection has left',
    tests: server,
  },
  {
    file: adapter('server-connection'),
    search: 'socket.end()\n    if (socket.isPaused())',
    replace: 'socket.destroySoon()\n    if (socket.isPaused())',
    because: 'the last answer arrives although the client is still sending',
    tests: server,
  },
  {
    file: adapter('server-answer'),
    search: "return this.#head.method !== 'HEAD' && ",
    replace: 'return ',
    because: 'an answer to HEAD has no body',
    tests: server,
  },
  {
    file: adapter('server-answer'),
    search: 'void (this.#isChunked ? socket.destroy() : socket.resetAndDestroy())',
    replace: 'void socket.destroy()',
    because: 'a part without frames is not taken for whole',
    tests: server,
  },
  {
    file: adapter('server-request'),
    search: 'length !== 0 && !isHttp10 && ',
    replace: '',
    because: 'only who waits to be asked for a body is asked',
    tests: server,
  },
  {
    file: adapter('respond'),
    search: 'isFull = !outgoing.write(value)',
    replace: 'isFull = !outgoing.write(value) && isOver',
    because: 'a client that does not read stops the stream',
    tests: server,
  },
  {
    file: adapter('respond'),
    search: 'if (!isOver) reader.cancel()',
    replace: 'if (isFull && isOver) reader.cancel()',
    because: 'a client that leaves ends the stream',
    tests: server,
  },
  {
    file: adapter('patience'),
    search: 'start: 15_000',
    replace: 'start: Infinity',
    because: 'a connection over which nothing comes is closed',
    tests: server,
  },
]
