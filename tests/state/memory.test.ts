import { createMemoryStore } from '../../src/state/memory.ts'
import { storeContract } from './store-contract.ts'

storeContract('memory', (random) => createMemoryStore({ random }))
