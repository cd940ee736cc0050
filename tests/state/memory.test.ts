import { createMemoryStore } from '../../src/state/memory.ts'
import { storeContract } from './store-contract.ts'

storeContract('memory', (draw) => createMemoryStore({ draw }))
