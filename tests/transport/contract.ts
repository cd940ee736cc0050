import { describe } from 'vitest'
import { answersContract } from './answers.ts'
import { type Capabilities, type CreateSubject, createBed } from './bed.ts'
import { codingsContract } from './codings.ts'
import { failuresContract } from './failures.ts'
import { leavingContract } from './leaving.ts'
import { streamsContract } from './streams.ts'

/** What every transport does, and what it does where it can. */
export function transportContract(name: string, create: CreateSubject, capabilities: Capabilities): void {
  describe(name, () => {
    const bed = createBed(create)
    answersContract(bed, capabilities)
    streamsContract(bed, capabilities)
    codingsContract(bed, capabilities)
    failuresContract(bed, capabilities)
    leavingContract(bed, capabilities)
  })
}
