import { createFetchTransport } from '../../src/transport/fetch.ts'
import { transportContract } from './contract.ts'

const after = (ms: number, act: () => void) => {
  const timer = setTimeout(act, ms)
  return () => clearTimeout(timer)
}

// On Node's built-in fetch; what it can't do is written in the capabilities.
transportContract(
  'the fetch transport',
  () => ({ send: createFetchTransport(after), close: async () => {} }),
  {
    ownConnections: false,
    highestStatus: 599,
    noticesCutCoding: false,
    noticesResetOfUndelimitedBody: false,
    takesLengthOfBodiless: false,
  },
)
