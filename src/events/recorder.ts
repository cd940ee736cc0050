import type { Instant } from '../lib/clock.ts'
import { createPools, type Pools } from '../pool/pool.ts'
import type { Claim, Endpoint, Upstream } from '../pool/upstream.ts'
import type { Settings } from '../config/config.ts'
import type { ChoiceNote, ChoiceRecorder, NotedRequest, RequestEvent } from '../relay/deps.ts'
import type { Demand } from '../relay/demand.ts'
import type { Abilities } from '../state/abilities.ts'
import type { CapturedState, MemoryStore } from '../state/memory.ts'
import type { Ask, Lease } from '../state/store.ts'
import { createKnownConfigs, knownConfigOf, type KnownConfig, type RecordedConfig } from './configs.ts'
import { FrameWriter } from './frames.ts'
import {
  FRAMES,
  writeAbility,
  writeAnswer,
  writeBegin,
  writeChoice,
  writeEnd,
  writeLease,
  writeScopes,
  writeSettle,
} from './record.ts'

/** What a segment begins with, behind its configuration. */
export interface RecordedState extends Omit<CapturedState, 'leases'> {
  readonly credits: readonly (readonly [upstreamId: string, credit: number])[]
  readonly leases: readonly RecordedLease[]
}

/** Its claim as in `LeaseFrame.claims`, or as it is where no upstream of the configuration has the same. */
type RecordedLease = Omit<CapturedState['leases'][number], 'lease'> & {
  readonly lease: Omit<Lease, 'claim'> & { readonly claim: number | Claim }
}

/** What is recorded from one snapshot to the next. */
export interface Segment {
  /** Counted from 1 in each process. */
  readonly number: number
  readonly config: RecordedConfig
  /** Frames behind the configuration, from the state on. */
  readonly bytes: Uint8Array
}

/** What a recorder is given. */
export interface RecorderOptions {
  /** Uniform in [0, 1): the dice of the store. */
  readonly random: () => number
  /** What masks the hashes of affinity keys: four words. Whoever has it and the log can try out addresses. */
  readonly secret: Uint32Array
  /** A segment ends after so many requests; 1,000 unless given. */
  readonly segmentRequests?: number
  /** Given each segment that is whole. */
  readonly onSealed?: (segment: Segment) => void
}

/** What a recorder looks at. */
interface Recorded {
  readonly store: MemoryStore
  readonly at: () => Instant
  readonly credits: ReadonlyMap<string, number>
}

export type Recorder = ReturnType<typeof createRecorder>

const SEGMENT_REQUESTS = 1_000
const NOBODY: readonly number[] = []
const NO_DEMANDS: readonly [number, Demand][] = []
const NO_CONFIG = knownConfigOf(
  { settings: { strategy: 'random', unknownModel: 'reject' }, upstreams: [] },
  createPools([], 'reject'),
)

/** A request that is under way. */
interface OpenRequest {
  readonly number: number
  /** Undefined from its end on: an old table of the map may still hold this, and with it the bodies of the request. */
  noted: NotedRequest | undefined
  /** That it began with. */
  readonly known: KnownConfig
  /** The segment that knows of it. */
  segment: number
}

/**
 * Writes down all that choices depend on: the configuration, the state at times, and in the order in which it happened
 * what was asked of the store, with what and when. On the hot path: a request costs a few µs and about 200 bytes.
 */
export function createRecorder(options: RecorderOptions) {
  const { secret, segmentRequests = SEGMENT_REQUESTS, onSealed } = options
  let writer = new FrameWriter(0)
  const configs = createKnownConfigs()
  /** In force. */
  let present: KnownConfig = NO_CONFIG
  /** Of the present segment, and those before it of which it tells too, by their numbers in it. */
  let own = present
  let earlier = new Map<KnownConfig, number>()
  let previous: Segment | undefined
  let recorded: Recorded | undefined
  let segment = 0
  let ended = 0
  let requestCount = 0
  const open = new Map<string, OpenRequest>()
  let pending: { note: ChoiceNote; seed: number | undefined } | undefined
  let dice: number[] = []

  /** The store's dice, whose values are written down with what they were thrown for. */
  const random = (): number => {
    const value = options.random()
    dice.push(value)
    return value
  }

  function begin(): void {
    if (recorded === undefined || present === NO_CONFIG) return
    if (segment > 0) onSealed?.((previous = presentSegment()))
    segment += 1
    ended = 0
    own = present
    earlier = new Map()
    writer = new FrameWriter(Math.max(65_536, writer.length))
    writer.begin(FRAMES.state)
    writer.moment(recorded.at())
    writer.json(stateOf(recorded))
    writer.end()
  }

  const presentSegment = (): Segment => ({
    number: segment,
    config: own.config,
    bytes: writer.bytes.subarray(0, writer.length),
  })

  function stateOf({ store, credits }: Recorded): RecordedState {
    const { leases, ...state } = store.capture()
    return {
      ...state,
      credits: [...credits],
      leases: leases.map(({ lease, ...record }) => ({
        ...record,
        lease: { ...lease, claim: configs.refIn(lease.claim, own) ?? lease.claim },
      })),
    }
  }

  /** The number of a configuration in the present segment, which tells of it from now on. */
  function numberOf(known: KnownConfig): number {
    if (known === own) return 0
    const before = earlier.get(known)
    if (before !== undefined) return before
    earlier.set(known, earlier.size + 1)
    writer.begin(FRAMES.earlier)
    writer.json(known.config)
    writer.end()
    return earlier.size
  }

  function placesOf(upstreams: readonly Upstream[], { places }: KnownConfig): readonly number[] {
    return upstreams.length === 0 ? NOBODY : upstreams.flatMap(({ id }) => places.get(id) ?? [])
  }

  function openRequest(noted: NotedRequest, known: KnownConfig): number {
    let request = open.get(noted.ownId)
    if (request === undefined) {
      request = { number: requestCount++, noted, known, segment: 0 }
      open.set(noted.ownId, request)
    }
    if (request.segment === segment) return request.number
    request.segment = segment
    const { demands, since } = noted
    const { now, wall } = recorded?.at() ?? { now: since, wall: 0 }
    // Field by field: a copy of the whole request would cost more than all the rest.
    writeBegin(writer, {
      request: request.number,
      config: numberOf(known),
      ownId: noted.ownId,
      clientId: noted.id === noted.ownId ? undefined : noted.id,
      token: noted.token,
      endpoint: noted.endpoint,
      model: noted.requestedModel,
      stream: noted.stream,
      at: { now: since, wall: Math.round(wall - (now - since)) },
      maskedKey: masked(noted.keyHash, secret),
      demand: noted.demand,
      demands: demands === undefined ? NO_DEMANDS : placedDemands(demands, known),
    })
    return request.number
  }

  function placedDemands(
    demands: NonNullable<NotedRequest['demands']>,
    { places }: KnownConfig,
  ): [number, Demand][] {
    return Object.entries(demands).flatMap(([id, demand]): [number, Demand][] => {
      const place = places.get(id)
      return place === undefined ? [] : [[place, demand]]
    })
  }

  /** Writes the choice that was noted, and what came of it. */
  function writeNoted(asked: { lease: Lease | undefined; order: readonly Claim[] } | undefined): void {
    if (pending === undefined) return
    const { note, seed } = pending
    pending = undefined
    const { request, kind, at, base, left, ask } = note
    const known = (base[0] && configs.ownerOfClaim(base[0].claims.chat)) ?? present
    const all = known.pools.poolFor(request.requestedModel, request.endpoint)?.upstreams
    const placeOf = (id: string | undefined): number | undefined =>
      id === undefined ? undefined : known.places.get(id)
    writeChoice(writer, {
      request: openRequest(request, known),
      at,
      kind,
      isWaiting: note.isWaiting,
      lastResort: kind.endsWith('last-resort'),
      patienceMs: ask.patienceMs ?? 0,
      probeMs: ask.probeMs,
      base: base === all ? undefined : placesOf(base, known),
      left: kind === 'remaining' || left.length === base.length ? undefined : placesOf(left, known),
      refusers: placesOf(note.refusers, known),
      stickTo: placeOf(note.stickTo),
      owner: placeOf(note.owner),
      seed,
      order: kind === 'remaining' ? (asked?.order ?? []).flatMap(({ id }) => placeOf(id) ?? []) : NOBODY,
      isAsked: asked !== undefined,
      granted: placeOf(asked?.lease?.claim.id),
    })
  }

  const choices: ChoiceRecorder = {
    note(note) {
      pending = { note, seed: undefined }
    },
    dice() {
      const seed = Math.floor(options.random() * 2 ** 32)
      if (pending !== undefined) pending.seed = seed
      return seededDice(seed)
    },
  }

  /** An acquire that no choice was noted for. */
  function writeOther(
    order: readonly Claim[],
    { ask, at, lease }: { ask: Ask; at: Instant; lease: Lease | undefined },
  ) {
    const [first] = order
    const known = first && configs.ownerOfClaim(first)
    if (known === undefined) {
      writer.begin(FRAMES.foreignLease)
      writer.byte(lease === undefined ? 0 : 1)
      writer.end()
      return
    }
    writeLease(writer, {
      config: numberOf(known),
      at,
      lastResort: ask.lastResort,
      isTrial: ask.isTrial === true,
      patienceMs: ask.patienceMs ?? 0,
      probeMs: ask.probeMs,
      claims: order.map((claim) => configs.refOf(claim, known)),
      demand: { inputTokens: ask.inputTokens, outputTokens: ask.outputTokens },
      granted: lease && configs.refOf(lease.claim, known),
    })
  }

  /** Whether a replay knows of a lease: not of those within the limits of a client token. */
  const isKept = ({ claim }: Lease): boolean => configs.ownerOfClaim(claim) !== undefined

  return {
    random,
    choices,
    /** The store, and what is done to it from now on written down. */
    recordedStore(store: MemoryStore, at: () => Instant): MemoryStore {
      const own: MemoryStore = {
        ...store,
        get changes() {
          return store.changes
        },
        abilities: recordedAbilities(store.abilities),
        acquire(order, ask, moment) {
          dice = []
          const lease = store.acquire(order, ask, moment)
          if (pending === undefined) writeOther(order, { ask, at: moment, lease })
          else writeNoted({ lease, order })
          return lease
        },
        reclaim(moment) {
          store.reclaim(moment)
          writeNoted(undefined)
        },
        confirm(lease, answer, moment) {
          store.confirm(lease, answer, moment)
          if (isKept(lease)) writeAnswer(writer, { lease: Number(lease.id), at: moment, answer })
        },
        settle(lease, outcome, moment) {
          dice = []
          store.settle(lease, outcome, moment)
          if (isKept(lease)) writeSettle(writer, { lease: Number(lease.id), at: moment, outcome, dice })
        },
        closeBreakers(scopes, moment) {
          const resting = store.closeBreakers(scopes, moment)
          writeScopes(writer, 'breakers', { scopes, at: moment })
          return resting
        },
        pause(scope, isPaused, moment) {
          const isNews = store.pause(scope, isPaused, moment)
          if (isNews) writeScopes(writer, isPaused ? 'pause' : 'resume', { scopes: [scope], at: moment })
          return isNews
        },
      }
      recorded = { store, at, credits: recorded?.credits ?? new Map() }
      return own
    },
    /** Another configuration is in force: a new segment begins. */
    configured(next: { settings: Settings; pools: Pools; credits: ReadonlyMap<string, number> }): void {
      if (recorded === undefined) return
      present = configs.add(next.settings, next.pools)
      recorded = { ...recorded, credits: next.credits }
      begin()
    },
    /** A request has ended. */
    ended(event: RequestEvent): void {
      if (recorded === undefined || segment === 0) return
      const begun = open.get(event.ownId)
      const { noted = notedOf(event, recorded.at().now), known = present } = begun ?? {}
      const number = openRequest(noted, known)
      open.delete(event.ownId)
      if (begun !== undefined) begun.noted = undefined
      writeEnd(writer, {
        request: number,
        at: recorded.at(),
        status: event.status,
        code: event.code,
        upstream: event.upstream,
        queuedMs: event.queuedMs,
        firstByteMs: event.firstByteMs,
        durationMs: event.durationMs,
        inputTokens: event.inputTokens,
        outputTokens: event.outputTokens,
        attempts: event.attempts,
      })
      if (++ended >= segmentRequests) begin()
    },
    /** Ends the present segment, unless nothing has been recorded yet. */
    cut: (): void => begin(),
    /** The present segment and the one before it, as far as they are there; the oldest first. */
    segments: (): Segment[] => (segment === 0 ? [] : [...(previous ? [previous] : []), presentSegment()]),
    /** Requests that have begun and not ended. */
    openRequests: () => open.size,
  }

  function recordedAbilities(abilities: Abilities): Abilities {
    /** Does what may change what is known of an upstream, and writes down what is known then, if it has changed. */
    const watched =
      <Rest extends unknown[]>(id: string, step: (...rest: Rest) => void) =>
      (...rest: Rest): void => {
        const before = abilities.of(id)
        step(...rest)
        const after = abilities.of(id)
        if (after !== before && segment > 0) writeAbility(writer, id, after)
      }
    return {
      ...abilities,
      get changes() {
        return abilities.changes
      },
      refused: (id, ...rest) => watched(id, abilities.refused.bind(abilities, id))(...rest),
      worked: (id, ...rest) => watched(id, abilities.worked.bind(abilities, id))(...rest),
      embedded: (id) => watched(id, abilities.embedded.bind(abilities, id))(),
      presume: (upstream, now) => watched(upstream.id, abilities.presume.bind(abilities, upstream))(now),
      read: (id, ...rest) => watched(id, abilities.read.bind(abilities, id))(...rest),
    }
  }
}

/** A request that no choice was made for, as far as its end tells of it. */
const notedOf = (event: RequestEvent, now: number): NotedRequest => ({
  ...event,
  endpoint: event.endpoint as Endpoint,
  since: now - event.durationMs,
  keyHash: 0,
  demand: NO_DEMAND,
  demands: undefined,
})

const NO_DEMAND = {
  inputTokens: undefined,
  outputTokens: undefined,
  choices: 1,
  needs: { abilities: [], context: 0, output: 0, body: 0 },
}

/** Dice that fall the same way again for the same seed (mulberry32, Tommy Ettinger, public domain). */
export function seededDice(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let word = Math.imul(state ^ (state >>> 15), 1 | state)
    word = (word + Math.imul(word ^ (word >>> 7), 61 | word)) ^ word
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32
  }
}

const HASH_BITS = 53
const LOW_BITS = 32
const HIGH_MASK = 2 ** (HASH_BITS - LOW_BITS) - 1

/**
 * The 53 bits of a hash of `hash01`, mixed with a secret so that only who has it gets them back: a Feistel network of
 * eight rounds. 0 stays 0, which is no hash.
 */
export function masked(hash: number, secret: Uint32Array): number {
  if (hash === 0) return 0
  const bits = hash * 2 ** HASH_BITS
  let [high, low] = [Math.floor(bits / 2 ** LOW_BITS), bits >>> 0]
  for (let round = 0; round < 8; round++) {
    if (round % 2 === 0) high ^= scrambled(low, secret, round) & HIGH_MASK
    else low = (low ^ scrambled(high, secret, round)) >>> 0
  }
  return high * 2 ** LOW_BITS + low + 1
}

/** The hash that `masked` made this of. */
export function unmasked(mask: number, secret: Uint32Array): number {
  if (mask === 0) return 0
  const bits = mask - 1
  let [high, low] = [Math.floor(bits / 2 ** LOW_BITS), bits >>> 0]
  for (let round = 7; round >= 0; round--) {
    if (round % 2 === 0) high ^= scrambled(low, secret, round) & HIGH_MASK
    else low = (low ^ scrambled(high, secret, round)) >>> 0
  }
  return (high * 2 ** LOW_BITS + low) / 2 ** HASH_BITS
}

function scrambled(word: number, secret: Uint32Array, round: number): number {
  let value = word ^ (secret[round % secret.length] ?? 0)
  for (let turn = 0; turn < 2; turn++) {
    value = Math.imul(value ^ (value >>> 16) ^ round, 0x85ebca6b)
    value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35) + (secret[(round + turn + 1) % secret.length] ?? 0)
    value ^= value >>> 16
  }
  return value
}
