import { describe } from 'vitest'
import { answersContract } from './transport-answers.ts'
import { type Capabilities, type CreateSubject, createBed } from './transport-bed.ts'
import { codingsContract } from './transport-codings.ts'
import { failuresContract } from './transport-failures.ts'
import { leavingContract } from './transport-leaving.ts'
import { streamsContract } from './transport-streams.ts'

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
