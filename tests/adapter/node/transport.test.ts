import { createNodeTransport } from '../../../src/adapter/node/transport.ts'
import { transportContract } from '../../transport/contract.ts'

transportContract(
  'the Node transport',
  () => {
    const send = createNodeTransport()
    return { send, close: () => send.close() }
  },
  {
    ownConnections: true,
    highestStatus: 999,
    noticesCutCoding: true,
    noticesResetOfUndelimitedBody: true,
    takesLengthOfBodiless: true,
  },
)
