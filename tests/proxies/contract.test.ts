import { afterAll, beforeAll, describe } from 'vitest'
import { createNodeTransport } from '../../src/adapter/node/transport.ts'
import { transportContract } from '../transport/contract.ts'
import { startMicrosocks, startTinyproxy, type ProxyProgram } from './programs.ts'

describe.each([
  { name: 'tinyproxy', isHttp: true, start: () => startTinyproxy() },
  {
    name: 'tinyproxy with a password',
    isHttp: true,
    start: () => startTinyproxy({ user: 'me', password: 'secret' }),
  },
  { name: 'microsocks', isHttp: false, start: () => startMicrosocks('socks5') },
  {
    name: 'microsocks with a password',
    isHttp: false,
    start: () => startMicrosocks('socks5h', { user: 'me', password: 'secret' }),
  },
])('through $name', ({ start, isHttp }) => {
  let program: ProxyProgram
  beforeAll(async () => void (program = await start()))
  afterAll(() => program.stop())

  transportContract(
    'the Node transport',
    () => {
      const transport = createNodeTransport()
      const route = { key: 'a proxy', proxy: program.proxy }
      return {
        send: (request, signal) => transport({ ...request, route }, signal),
        close: () => transport.close(),
      }
    },
    {
      ownConnections: true,
      highestStatus: 999,
      noticesCutCoding: true,
      proxy: isHttp ? 'http' : 'socks',
      // Both end a connection in order that was reset on their other side.
      noticesResetOfUndelimitedBody: false,
      takesLengthOfBodiless: true,
    },
  )
})
