import type { Mutation } from './mutations.ts'

const file = 'src/adapter/node/server.ts'
const messages = 'src/adapter/node/messages.ts'
const tests = ['tests/adapter/node/server.test.ts']
const shapes = ['tests/faults/http-shapes.test.ts']

/** The rules of the server, one broken at a time. */
export const serverMutations: readonly Mutation[] = [
  {
    file,
    search: "coding.toLowerCase() !== 'chunked'",
    replace: "!coding.toLowerCase().includes('chunked')",
    because: 'chunks are the only transfer coding',
    tests: shapes,
  },
  {
    file,
    search: 'if (headers.host === undefined && httpVersionMinor === 1)',
    replace: "if (headers.host === '')",
    because: 'HTTP/1.1 names its host',
    tests: shapes,
  },
  {
    file,
    search: "~%!$&'()*+;=]*|",
    replace: "~%!$&'()*+;=?/]*|",
    because: 'a host is no path',
    tests,
  },
  {
    file,
    search: 'if (hostsIn(rawHeaders) > 1)',
    replace: 'if (hostsIn(rawHeaders) > 2)',
    because: 'two hosts are refused',
    tests: shapes,
  },
  {
    file,
    search: 'if (rawHeaders.length > 2 * MOST_HEADERS)',
    replace: 'if (rawHeaders.length > 4 * MOST_HEADERS)',
    because: 'more than a thousand headers are refused',
    tests: shapes,
  },
  {
    file,
    search: 'if (active === undefined && !isOver) return serve(',
    replace: 'if (!isOver) return serve(',
    because: 'a request that is sent ahead waits',
    tests,
  },
  {
    file,
    search: 'else hold(connection)',
    replace: '',
    because: 'a client that sends too much ahead is not read on',
    tests,
  },
  {
    file,
    search: 'if (!isWhole(incoming)) await setImmediate()',
    replace: '',
    because: 'a body that has come leaves the connection open, though nobody read it',
    tests,
  },
  {
    file,
    search: '      outgoing.shouldKeepAlive &&= isWhole(incoming)\n      return response',
    replace: '      return response',
    because: 'an answer before the end of its request is the last',
    tests,
  },
  {
    file,
    search: "if (code === 'HPE_INVALID_EOF_STATE') return undefined",
    replace: '',
    because: 'a client that leaves in the middle of a body has left',
    tests,
  },
  {
    file,
    search: 'if (connection.active !== undefined) socket.destroy()',
    replace: '',
    because: 'a client that closes its side has left',
    tests,
  },
  {
    file,
    search: 'socket.destroySoon = () => end(connection)',
    replace: '',
    because: 'the last answer arrives although the client is still sending',
    tests,
  },
  {
    file,
    search: 'connections.size - refused <= mostConnections',
    replace: 'connections.size <= mostConnections',
    because: 'a client that was refused takes no place',
    tests,
  },
  {
    file,
    search: 'const longest = setTimeout(() => socket.destroy(), longestMs).unref()',
    replace: 'const longest = setTimeout(() => {}, longestMs).unref()',
    because: 'a client that goes on sending is cut in the end',
    tests,
  },
  {
    file,
    search: 'else if (connection.fault !== undefined) answerAndClose(connection, connection.fault)',
    replace: '',
    because: 'junk behind a request is refused',
    tests,
  },
  {
    file,
    search: 'if (socket.writableLength === 0) return',
    replace: 'if (socket.writableLength >= 0) return',
    because: 'a client that takes nothing is cut',
    tests,
  },
  {
    file,
    search: 'if (isDraining || incoming.headers.upgrade',
    replace: 'if (incoming.headers.upgrade',
    because: 'half a request is answered as the last of its connection while the server drains',
    tests,
  },
  {
    file,
    search: 'if (active !== undefined) active.outgoing.shouldKeepAlive = false',
    replace: '',
    because: 'an answer under way is the last of its connection while the server drains',
    tests,
  },
  {
    file: messages,
    search: 'incoming.httpVersionMinor === 1 && hasBody(incoming)',
    replace: 'hasBody(incoming)',
    because: 'only who waits to be asked for a body is asked',
    tests,
  },
  {
    file: messages,
    search: 'isFull = !outgoing.write(value)',
    replace: 'isFull = !outgoing.write(value) && isDone',
    because: 'a client that does not read stops the stream',
    tests,
  },
  {
    file: messages,
    search: 'if (!isDone) reader.cancel()',
    replace: 'if (isFull && isDone) reader.cancel()',
    because: 'a client that leaves ends the stream',
    tests,
  },
  {
    file: messages,
    search: 'else outgoing.socket?.resetAndDestroy()',
    replace: 'else outgoing.destroy()',
    because: 'a part without frames is not taken for whole',
    tests,
  },
]
