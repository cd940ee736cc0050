import { bytesBetween, createByteSearch, utf8Bytes, utf8Text } from '../lib/bytes.ts'
import { digestOf, hash01 } from '../lib/hash.ts'
import type { HeaderBag } from '../lib/headers.ts'
import { stringField, type JsonScan } from '../lib/json/scan.ts'
import {
  afterSpace,
  afterValue,
  CLOSE_BRACKET,
  COLON,
  COMMA,
  eachMember,
  oneSpelt,
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
  type ByteSpan,
} from '../lib/json/walk.ts'
import type { AffinityRule } from '../pool/upstream.ts'

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
  readonly headers: HeaderBag
  /** Undefined for bodies that are not JSON. */
  readonly scan: JsonScan | undefined
}

/**
 * The key under which a request sticks to its upstream; empty = it does not stick. A hash, so that neither the table nor
 * the state file holds an address, a user or a piece of a prompt; the same in every process, so that replicas agree.
 */
export function affinityKeyOf(source: AffinitySource): string {
  const value = affinityValue(source)
  if (value === undefined) return ''
  // All 53 bits as two whole numbers, which engines write down ten times as fast as a fraction.
  const bits = hash01(`${source.poolId}\n${value}`) * 2 ** 53
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
  // `prompt_cache_key` is the client's own word for what belongs together; else the beginning of the talk is.
  return named ?? (scan && (prefixed('cache', stringField(scan, 'prompt_cache_key')) ?? talkOf(scan)))
}

const prefixed = (label: string, value = ''): string | undefined =>
  value === '' ? undefined : `${label} ${value}`

function talkOf({ fields, pieces }: JsonScan): string | undefined {
  const span = (fields.get('messages') ?? fields.get('input') ?? fields.get('prompt'))?.at(-1)
  if (span === undefined) return undefined
  const { system, user } = firstMessages(bytesBetween(pieces, span.start, span.end))
  const instructions = fields.get('instructions')?.at(-1)
  const opening = instructions ? bytesBetween(pieces, instructions.start, instructions.end) : system
  if (opening === undefined && user === undefined) return undefined
  return `talk ${opening === undefined ? '-' : digestOf(opening)} ${user === undefined ? '-' : digestOf(user)}`
}

/** Ids of earlier answers that a request builds on. They exist on one account only. */
export function answerIdsOf(scan: JsonScan | undefined): string[] {
  if (scan === undefined) return []
  const ids = [stringField(scan, 'previous_response_id'), stringField(scan, 'conversation') ?? idInside(scan)]
  return ids.flatMap((id) => (id === undefined || id === '' ? [] : [id]))
}

/** The field of an item of a response that only the account which made it can read. */
const ENCRYPTED = utf8Bytes('"encrypted_content"')
const searchEncrypted = createByteSearch(ENCRYPTED)
/** So much of such a text tells it from all others. */
const ENCRYPTED_BYTES = 96

/** A key for the last encrypted item that a request brings along, which tells who made it; empty where there is none. */
export function ownerKeyOf(scan: JsonScan | undefined): string {
  const span = scan?.fields.get('input')?.at(-1)
  if (scan === undefined || span?.kind !== 'array') return ''
  return encryptedKeys(bytesBetween(scan.pieces, span.start, span.end)).at(-1) ?? ''
}

/** Keys of the encrypted items in some bytes, in their order; at most 64, the last. */
export function encryptedKeys(bytes: Uint8Array): string[] {
  const keys: string[] = []
  for (let at = searchEncrypted(bytes, 0); at >= 0; at = searchEncrypted(bytes, at + 1)) {
    const colon = afterSpace(bytes, at + ENCRYPTED.length)
    const quote = bytes[colon] === COLON ? afterSpace(bytes, colon + 1) : -1
    if (quote < 0 || bytes[quote] !== QUOTE || quote + ENCRYPTED_BYTES > bytes.length) continue
    keys.push(`item ${digestOf(bytes.subarray(quote + 1, quote + ENCRYPTED_BYTES))}`)
    if (keys.length > 64) keys.shift()
  }
  return keys
}

/** `conversation` may also be an object with an `id`. */
function idInside({ fields, pieces }: JsonScan): string | undefined {
  const span = fields.get('conversation')?.at(-1)
  if (span?.kind !== 'object' || span.end - span.start > 1024) return undefined
  const object = bytesBetween(pieces, span.start, span.end)
  return /"id"\s*:\s*"([^"\\]{1,256})"/.exec(utf8Text(object, 0, object.length))?.[1]
}

/** Raw bytes of JSON values (a string with its quotes), as they stand in the request. */
interface FirstMessages {
  readonly system?: Uint8Array
  readonly user?: Uint8Array
}

/**
 * The text that identifies a conversation: the first system (or developer) and the first user message, and none behind.
 *
 * `value` is that of `messages`, `input` or `prompt`, and has been checked. Of messages it gives the bytes of their
 * `content`; a string is the user's text itself, in a list of strings the first one, in a list of token lists the first
 * list; a list of tokens counts as a whole.
 */
export function firstMessages(value: Uint8Array): FirstMessages {
  if (value[0] === QUOTE) return { user: value }
  let found: FirstMessages = {}
  if (value[0] !== OPEN_BRACKET) return found
  let at = afterSpace(value, 1)
  while (value[at] !== CLOSE_BRACKET) {
    if (value[at] !== OPEN_BRACE) {
      const isPrompt = value[at] === QUOTE || value[at] === OPEN_BRACKET
      return { ...found, user: isPrompt ? value.subarray(at, afterValue(value, at)) : value }
    }
    const { role, content, end } = messageAt(value, at)
    if (content !== undefined) {
      const text = value.subarray(content.start, content.end)
      if (role === 'user') return { ...found, user: text }
      if (role !== undefined) found = { system: found.system ?? text }
    }
    at = afterSpace(value, end)
    if (value[at] === COMMA) at = afterSpace(value, at + 1)
  }
  return found
}

const MESSAGE_KEYS = ['role', 'content']
const ROLES = ['system', 'developer', 'user']

type Message = { role?: string | undefined; content?: ByteSpan; end: number }

function messageAt(bytes: Uint8Array, open: number): Message {
  const message: Message = { end: open }
  message.end = eachMember(bytes, open, (key, value) => {
    const name = oneSpelt(bytes, key, MESSAGE_KEYS)
    if (name === 'content') message.content = value
    if (name === 'role' && bytes[value.start] === QUOTE) message.role = oneSpelt(bytes, value, ROLES)
  })
  return message
}
