import * as v from 'valibot'
import { abilities, type Ability, type Lesson, type Size } from '../pool/outcome.ts'
import type { Upstream } from '../pool/upstream.ts'

/** What one request needs of whoever answers it. */
export interface Needs {
  readonly abilities: readonly Ability[]
  /** Estimated input tokens, with the most output tokens that were asked for. */
  readonly context: number
  /** The most output tokens that were asked for; 0 = not said. */
  readonly output: number
  /** Of the body. */
  readonly body: number
}

/** Whether an upstream can do what a request needs: `no` is asked last, never left out. */
export type Fit = 'yes' | 'unknown' | 'no'

/** Where a piece of knowledge comes from. The configuration stands above all of them and is kept by itself. */
type Source = 'preset' | 'models' | 'refused' | 'worked'
/** Times are ms on the clock. */
type Known = {
  readonly can: boolean
  readonly source: Source
  readonly since: number
  readonly until: number
}
type Limit = {
  readonly most: number
  readonly source: Source
  readonly since: number
  readonly until: number
}
/** What is known of one upstream. Plain data. */
export interface Knowledge {
  readonly can: Partial<Record<Ability, Known>>
  readonly sizes: Partial<Record<Size, Limit>>
  /** Refusals without words of requests that needed an ability, since the last success that needed it. */
  readonly suspects: Readonly<Partial<Record<Ability, number>>>
  /** It has answered embeddings. */
  readonly embeds?: true | undefined
}

const NOTHING: Knowledge = { can: {}, sizes: {}, suspects: {} }
/** A refusal is believed for so long, and what `/v1/models` says. */
const BELIEVED_MS = 86_400_000
const REFUSALS_ENOUGH = 3
const READ_PAUSE_MS = 3_600_000
const sizes = ['context', 'output', 'body'] as const

export type Abilities = ReturnType<typeof createAbilities>

/**
 * What each upstream can do, as far as it is known: from the configuration, its `/v1/models`, what it refused and what
 * worked. It only orders; see `Fit`. Plain data by upstream id.
 */
export function createAbilities() {
  const known = new Map<string, Knowledge>()
  /** Upstreams of whom something is known that they can't do: while there are none, nobody has to be compared. */
  const limited = new Set<string>()
  const readAt = new Map<string, number>()
  const presumed = new Set<string>()
  let changeCount = 0

  function put(id: string, knowledge: Knowledge): void {
    known.set(id, knowledge)
    const isLimited =
      Object.values(knowledge.can).some(({ can }) => !can) || Object.keys(knowledge.sizes).length > 0
    if (isLimited) limited.add(id)
    else limited.delete(id)
    changeCount += 1
  }

  function teach(id: string, can: Knowledge['can'], limits: Knowledge['sizes'] = {}): void {
    const before = known.get(id) ?? NOTHING
    put(id, { ...before, can: { ...before.can, ...can }, sizes: { ...before.sizes, ...limits } })
  }

  return {
    /** How often something changed that is worth keeping; moves only up. */
    get changes() {
      return changeCount
    },
    /** Whether anything is known that may tell upstreams apart. */
    isTelling: (upstreams: readonly Upstream[]): boolean =>
      upstreams.some(
        ({ id, can, contextTokens }) => limited.has(id) || can !== undefined || contextTokens !== undefined,
      ),
    fit(upstream: Upstream, needs: Needs, now: number): Fit {
      const { can, sizes: limits } = known.get(upstream.id) ?? NOTHING
      let fit: Fit = 'yes'
      for (const ability of needs.abilities) {
        const entry = can[ability]
        const answer =
          upstream.can?.[ability] ?? (entry !== undefined && entry.until > now ? entry.can : undefined)
        if (answer === false) return 'no'
        if (answer === undefined) fit = 'unknown'
      }
      for (const size of sizes) {
        const own = size === 'context' ? upstream.contextTokens : undefined
        const entry = limits[size]
        const most = own ?? (entry !== undefined && entry.until > now ? entry.most : Infinity)
        if (needs[size] > most) return 'no'
      }
      return fit
    },
    /**
     * An upstream refused a request. Its words teach at once. What has none teaches only what three such refusals, and
     * no success ever, have needed.
     */
    refused(id: string, needs: Needs, { lesson, now }: { lesson: Lesson | undefined; now: number }): void {
      const entry = { source: 'refused', since: now, until: now + BELIEVED_MS } as const
      if (lesson === undefined) {
        const before = known.get(id) ?? NOTHING
        const suspects = { ...before.suspects }
        for (const one of needs.abilities)
          if (before.can[one]?.source !== 'worked') suspects[one] = (suspects[one] ?? 0) + 1
        known.set(id, { ...before, suspects })
        const proven = needs.abilities.filter((one) => (suspects[one] ?? 0) >= REFUSALS_ENOUGH)
        if (proven.length > 0)
          teach(id, Object.fromEntries(proven.map((one) => [one, { ...entry, can: false }])))
        return
      }
      const { about: named, limit } = lesson
      // Without a word of a limit, who did not say how much may come has sent too much.
      const about = named === 'output' && needs.output === 0 && limit === undefined ? 'context' : named
      if (about === 'context' || about === 'output' || about === 'body') {
        // Our estimates and a vendor's tokens differ: a limit that was named stands above what was estimated.
        const refused = needs[about] > 0 ? needs[about] - 1 : Infinity
        teach(id, {}, { [about]: { ...entry, most: limit ?? refused } })
      } else if (needs.abilities.includes(about)) teach(id, { [about]: { ...entry, can: false } })
    },
    /** An upstream answered a request: what it was held to be unable to do, it can. */
    worked(id: string, needs: Needs, now: number): void {
      const before = known.get(id)
      if (before === undefined && needs.abilities.length === 0) return
      const { can, sizes: limits, suspects } = before ?? NOTHING
      const news = needs.abilities.filter((one) => can[one]?.source !== 'worked')
      const wider = sizes.filter((size) => needs[size] > (limits[size]?.most ?? Infinity))
      if (needs.abilities.some((one) => suspects[one] !== undefined))
        known.set(id, { ...(before ?? NOTHING), suspects: withoutKeys(suspects, needs.abilities) })
      if (news.length === 0 && wider.length === 0) return
      const entry = { can: true, source: 'worked', since: now, until: Infinity } as const
      teach(id, Object.fromEntries(news.map((one) => [one, entry])))
      const after = known.get(id) ?? NOTHING
      if (wider.length > 0) put(id, { ...after, sizes: withoutKeys(after.sizes, wider) })
    },
    /** An upstream answered embeddings: from then on a 404 does not take them to another model. */
    embedded(id: string): void {
      const before = known.get(id) ?? NOTHING
      if (before.embeds !== true) put(id, { ...before, embeds: true })
    },
    hasEmbedded: (id: string): boolean => known.get(id)?.embeds === true,
    /** Whether its list of models may be asked for now: at most once an hour. Then it counts as asked for. */
    mayRead(id: string, now: number): boolean {
      if (now < (readAt.get(id) ?? -Infinity) + READ_PAUSE_MS) return false
      readAt.set(id, now)
      return true
    },
    /** What a preset says, once: whatever else is known already, or will be, goes before. */
    presume({ id, presumed: { can = {}, contextTokens } = {} }: Upstream, now: number): void {
      if (presumed.has(id)) return
      presumed.add(id)
      const before = known.get(id) ?? NOTHING
      const entry = { source: 'preset', since: now, until: Infinity } as const
      const news = Object.entries(can).filter(([name]) => before.can[name as Ability] === undefined)
      const limits =
        contextTokens === undefined || before.sizes.context !== undefined
          ? {}
          : { context: { ...entry, most: contextTokens } }
      if (news.length > 0 || limits.context !== undefined)
        teach(id, Object.fromEntries(news.map(([name, is]) => [name, { ...entry, can: is }])), limits)
    },
    /** What an upstream's own list of models says. A refusal and a success are newer. */
    read(
      id: string,
      told: { can: Partial<Record<Ability, boolean>>; context: number | undefined },
      now: number,
    ): void {
      const before = known.get(id) ?? NOTHING
      const entry = { source: 'models', since: now, until: now + BELIEVED_MS } as const
      const news = Object.entries(told.can).filter(
        ([name]) => !isLearned(before.can[name as Ability]?.source),
      )
      const limits =
        told.context === undefined || before.sizes.context?.source === 'refused'
          ? {}
          : { context: { ...entry, most: told.context } }
      teach(id, Object.fromEntries(news.map(([name, can]) => [name, { ...entry, can }])), limits)
    },
    /** What is known of one upstream, but for its configuration; another object as soon as that has changed. */
    of: (id: string): Knowledge => known.get(id) ?? NOTHING,
    /** All of it as it is, for `put`. */
    all: (): [id: string, Knowledge][] => [...known],
    /** Has it known of an upstream, whatever was known before. */
    put,
    /** Forgets all but `ids`; for after a reload. */
    prune(ids: Iterable<string>): void {
      const kept = new Set(ids)
      for (const id of known.keys())
        if (!kept.has(id)) for (const table of [known, limited, readAt, presumed]) table.delete(id)
    },
    keep: (): KeptAbilities =>
      [...known].map(([id, { can, sizes: limits, embeds }]) => [
        id,
        { can: finiteTimes(can), sizes: finiteTimes(limits), ...(embeds && { embeds }) },
      ]),
    /** Takes back what was kept, moved by `shiftMs` onto this clock; what none of ours wrote is left out. */
    restore(kept: unknown, shiftMs: number): void {
      for (const row of Array.isArray(kept) ? (kept as unknown[]) : []) {
        const read = v.safeParse(keptSchema, row)
        if (!read.success || known.has(read.output[0])) continue
        const [id, { can, sizes: limits, embeds }] = read.output
        put(id, { ...NOTHING, can: moved(can, shiftMs), sizes: moved(limits, shiftMs), embeds })
      }
    },
  }
}

const isLearned = (source: Source | undefined): boolean => source === 'refused' || source === 'worked'

type Dated = { readonly since: number; readonly until: number }

function withoutKeys<T extends object>(from: T, names: readonly (keyof T)[]): T {
  const rest = { ...from }
  for (const name of names) delete rest[name]
  return rest
}

/** JSON has no word for the infinities: what is known for good ends where no clock gets to. */
const finiteTimes = <T extends Dated>(entries: Readonly<Record<string, T>>): Record<string, T> =>
  Object.fromEntries(
    Object.entries(entries).map(([name, entry]) => [
      name,
      { ...entry, until: Math.min(entry.until, 8.64e15) },
    ]),
  )

const moved = <T extends Dated>(entries: Readonly<Record<string, T>>, shiftMs: number): Record<string, T> =>
  Object.fromEntries(
    Object.entries(entries).map(([name, entry]) => [
      name,
      {
        ...entry,
        since: entry.since + shiftMs,
        until: entry.until >= 8.64e15 ? Infinity : entry.until + shiftMs,
      },
    ]),
  )

const finite = v.pipe(v.number(), v.finite())
const source = v.picklist(['preset', 'models', 'refused', 'worked'])
const dated = { source, since: finite, until: finite }
const keptSchema = v.tuple([
  v.string(),
  v.object({
    can: v.record(v.picklist(abilities), v.object({ ...dated, can: v.boolean() })),
    sizes: v.record(v.picklist(sizes), v.object({ ...dated, most: v.pipe(finite, v.minValue(0)) })),
    embeds: v.optional(v.literal(true)),
  }),
])

/** As it stands in the state file. */
export type KeptAbilities = readonly (readonly [id: string, Pick<Knowledge, 'can' | 'sizes' | 'embeds'>])[]
