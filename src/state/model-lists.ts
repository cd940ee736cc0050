import * as v from 'valibot'
import type { ListedModel } from '../config/upstreams.ts'
import { endpoints } from '../pool/upstream.ts'

/** As it stands in the state file; the keys are fingerprints. */
export type KeptModelLists = readonly (readonly [key: string, models: readonly ListedModel[]])[]

export type ModelLists = ReturnType<typeof createModelLists>

/**
 * The lists of models that upstreams have given, kept over a restart: a vendor whose list is away then is served by what it
 * listed before.
 */
export function createModelLists() {
  const lists = new Map<string, readonly ListedModel[]>()
  let changeCount = 0
  return {
    /** How often something changed that is worth keeping; moves only up. */
    get changes() {
      return changeCount
    },
    of: (key: string): readonly ListedModel[] | undefined => lists.get(key),
    put(key: string, models: readonly ListedModel[]): void {
      lists.set(key, models)
      changeCount += 1
    },
    /** Forgets all but these; for after a reload. */
    prune(keys: ReadonlySet<string>): void {
      for (const key of lists.keys()) if (!keys.has(key)) lists.delete(key)
    },
    keep: (): KeptModelLists => [...lists],
    /** Takes back what was kept; what none of ours wrote is left out. */
    restore(kept: unknown): void {
      for (const row of Array.isArray(kept) ? (kept as unknown[]) : []) {
        const read = v.safeParse(keptSchema, row)
        if (read.success && !lists.has(read.output[0])) lists.set(...read.output)
      }
    },
  }
}

const listedModel = v.object({
  id: v.pipe(v.string(), v.nonEmpty()),
  endpoints: v.exactOptional(v.array(v.picklist(endpoints))),
})
const keptSchema = v.tuple([v.string(), v.array(listedModel)])
