import { bytesBetween } from '../lib/bytes.ts'
import { digestOf, hash01 } from '../lib/hash.ts'
import type { HeaderBag } from '../lib/headers.ts'
import type { JsonScan } from '../lib/json/scan.ts'
import { stringField } from '../lib/json/values.ts'
import type { AffinityRule } from '../pool/upstream.ts'
import { firstMessages } from './messages.ts'

/** The top-level fields that an affinity key or an earlier answer is read from. */
export const AFFINITY_FIELDS = [
  'user',
  'prompt_cache_key',
  'instructions',
  'messages',
  'input',
  'prompt',
  'previous_response_id',
  'conversation',
] as const

/** What of a request can make it stick. */
interface AffinitySource {
  readonly rule: AffinityRule
  /** Part of every key: two pools never share one. */
  readonly poolId: string
  /** The client's; asked by the rule `ip` alone. */
  readonly address: string
  /** The client's, with lower-case names. */
  readonly headers: HeaderBag
  /** Undefined for bodies that are not JSON. */
  readonly scan: JsonScan | undefined
}

/**
 * The key under which a request sticks to its upstream; empty = it does not stick.
 *
 * A hash, so that neither the table nor the state file holds an address, a user or a piece of a prompt; the
 * same in every process, so that replicas agree.
 */
export function affinityKeyOf(source: AffinitySource): string {
  const value = affinityValue(source)
  return value === undefined ? '' : keyOf(hash01(`${source.poolId}\n${value}`))
}

/** All 53 bits as two whole numbers, which engines write down ten times as fast as a fraction. */
function keyOf(hash: number): string {
  const bits = hash * 2 ** 53
  const high = Math.floor(bits / 2 ** 27)
  return `${high}.${bits - high * 2 ** 27}`
}

function affinityValue({ rule, address, headers, scan }: AffinitySource): string | undefined {
  if (rule.kind === 'off') return undefined
  if (rule.kind === 'ip') return `ip ${address}`
  // One client token: everybody shares the key until there are more.
  if (rule.kind === 'token') return 'token'
  if (rule.kind === 'user') return prefixed('user', scan && stringField(scan, 'user'))
  const named = rule.kind === 'header' ? prefixed('header', headers[rule.name]) : undefined
  return named ?? conversationOf(scan)
}

function prefixed(label: string, value: string | undefined): string | undefined {
  return value === undefined || value === '' ? undefined : `${label} ${value}`
}

/** `prompt_cache_key` is the client's own word for what belongs together; else the beginning of the talk is. */
function conversationOf(scan: JsonScan | undefined): string | undefined {
  if (scan === undefined) return undefined
  const cacheKey = prefixed('cache', stringField(scan, 'prompt_cache_key'))
  if (cacheKey !== undefined) return cacheKey
  const span = (scan.fields.get('messages') ?? scan.fields.get('input') ?? scan.fields.get('prompt'))?.at(-1)
  if (span === undefined) return undefined
  const { system, user } = firstMessages(bytesBetween(scan.pieces, span.start, span.end))
  const instructions = scan.fields.get('instructions')?.at(-1)
  const opening =
    instructions === undefined ? system : bytesBetween(scan.pieces, instructions.start, instructions.end)
  if (opening === undefined && user === undefined) return undefined
  return `talk ${opening === undefined ? '-' : digestOf(opening)} ${user === undefined ? '-' : digestOf(user)}`
}

/** Ids of earlier answers that a request builds on. They exist on one account only. */
export function answerIdsOf(scan: JsonScan | undefined): string[] {
  if (scan === undefined) return []
  const ids = [stringField(scan, 'previous_response_id'), stringField(scan, 'conversation') ?? idInside(scan)]
  return ids.flatMap((id) => (id === undefined || id === '' ? [] : [id]))
}

const decoder = new TextDecoder()

/** `conversation` may also be an object with an `id`. */
function idInside({ fields, pieces }: JsonScan): string | undefined {
  const span = fields.get('conversation')?.at(-1)
  if (span?.kind !== 'object' || span.end - span.start > 1024) return undefined
  const text = decoder.decode(bytesBetween(pieces, span.start, span.end))
  return /"id"\s*:\s*"([^"\\]{1,256})"/.exec(text)?.[1]
}
