import type { Mutation } from './mutations.ts'

const transport = 'src/adapter/node/transport.ts'
const connection = 'src/adapter/node/connection.ts'
const decoder = 'src/adapter/node/decoder.ts'
const contract = ['tests/adapter/node/transport.test.ts']
const connections = ['tests/adapter/node/transport-connections.test.ts']

/** The rules of the Node transport, one broken at a time. */
export const transportMutations: readonly Mutation[] = [
  {
    file: transport,
    search: 'STALE_WITHIN_MS = 200',
    replace: 'STALE_WITHIN_MS = 1_000',
    because: 'what may have been worked on is not sent twice',
    tests: contract,
  },
  {
    file: transport,
    search: 'request.mayResend !== false &&',
    replace: '',
    because: 'what must go out once goes out once',
    tests: contract,
  },
  {
    file: transport,
    search: 'reuse.socket.bytesRead === reuse.bytesRead &&',
    replace: '',
    because: 'a connection that dies within an answer is not replaced',
    tests: contract,
  },
  {
    file: transport,
    search: 'setImmediate(() => call.isOver || pool().dispatch(options, handler))',
    replace: 'pool().dispatch(options, handler)',
    because: 'what came before the request is no answer to it',
    tests: connections,
  },
  {
    file: transport,
    search: 'if (connection?.isErrored)',
    replace: 'if (connection === undefined)',
    because: 'a reset is not the end of a body',
    tests: contract,
  },
  {
    file: transport,
    search: 'isBodiless(request.method, status) || ',
    replace: '',
    because: 'a 304 may announce a length',
    tests: contract,
  },
  {
    file: transport,
    search: 'if (at >= 0) clients.splice(at, 1)',
    replace: '',
    because: 'a burst leaves nothing behind',
    tests: connections,
  },
  {
    file: transport,
    search: "pool.on('connectionError', forgetUnused)",
    replace: '',
    because: 'an origin to which nobody can connect is forgotten',
    tests: connections,
  },
  {
    file: transport,
    search: 'idleTimeout.refresh()\n        sink?.data(chunk)',
    replace: 'sink?.data(chunk)',
    because: 'an answer that makes progress is not silent',
    tests: contract,
  },
  {
    file: connection,
    search: 'return !this.#isHeld',
    replace: 'return true',
    because: 'a body that nobody reads stops the upstream',
    tests: contract,
  },
  {
    file: connection,
    search: 'this.isReused = true\n    this.resume()',
    replace: 'this.isReused = true',
    because: 'a connection is not held back for the next answer',
    tests: contract,
  },
  {
    file: connection,
    search: "socket.on('drain', () => this.#call?.taken())",
    replace: '',
    because: 'an upstream that takes a body slowly is not silent',
    tests: connections,
  },
  {
    file: connection,
    search: 'this.socket?.destroy(aborted())',
    replace: '',
    because: 'nobody waits for what a caller has left',
    tests: contract,
  },
  {
    file: 'src/lib/bytes.ts',
    search: '} else this.#chunks.pop()',
    replace: '}',
    because: 'small chunks are copied together once',
    tests: ['tests/lib/chunks.test.ts'],
  },
  {
    file: connection,
    search: 'status === 100 ? 102 : status',
    replace: 'status',
    because: 'a 100 that nobody asked for is skipped',
    tests: contract,
  },
  {
    file: decoder,
    search: ' || isPlain(first)',
    replace: '',
    because: 'JSON under the label of a coding is taken as it is',
    tests: contract,
  },
  {
    file: decoder,
    search: 'if (!decoder.destroyed && !decoder.write(chunk)) source.pause()',
    replace: 'if (!decoder.destroyed) decoder.write(chunk)',
    because: 'a coded body that nobody reads stops the upstream',
    tests: contract,
  },
  {
    file: 'src/relay/passthrough.ts',
    search: '!IDEMPOTENT.has(request.method) && ',
    replace: '',
    because: 'what may be sent twice is replaced on a dead connection',
    tests: ['tests/http/passthrough.test.ts'],
  },
]
