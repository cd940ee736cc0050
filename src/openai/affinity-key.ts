import { GatewayError } from '../errors.ts'
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
  JsonSyntaxError,
  oneSpelt,
  stringValue,
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
  'metadata',
] as const

/** A name or an id is not longer, as it is sent: longer ones are refused before they are decoded or hashed. */
export const MOST_NAME_BYTES = 4096

/** The top-level fields that become a name or a key. */
const NAME_FIELDS = ['model', 'user', 'prompt_cache_key', 'previous_response_id', 'conversation'] as const

/** @throws GatewayError `invalid_model` or `bad_request` for a name that is too long */
export function checkNames({ fields }: JsonScan): void {
  for (const name of NAME_FIELDS)
    for (const { kind, start, end } of fields.get(name) ?? []) {
      const isName = kind === 'string' || (kind === 'object' && name === 'conversation')
      if (isName && end - start > MOST_NAME_BYTES + QUOTES) throw nameTooLong(name)
    }
}

const QUOTES = 2

export function nameTooLong(name: string): GatewayError {
  const code = name === 'model' ? 'invalid_model' : 'bad_request'
  return new GatewayError(code, `\`${name}\` must not be longer than ${MOST_NAME_BYTES} bytes.`, {
    param: name,
  })
}

/** What of a request can make it stick. */
interface AffinitySource {
  readonly rule: AffinityRule
  /** Part of every key: two pools never share one. */
  readonly poolId: string
  /** The client's; asked by the rule `ip` alone. */
  readonly address: string
  /** What stands for the token that the client showed; see `fingerprint`. */
  readonly token: string
  readonly headers: HeaderBag
  /** Undefined for bodies that are not JSON. */
  readonly scan: JsonScan | undefined
}

/**
 * The key under which a request sticks to its upstream; empty = it does not stick. A hash, so that neither the table nor
 * the state file holds an address, a user or a piece of a prompt; the same in every process, so that replicas agree.
 *
 * @throws GatewayError `bad_request` for a header that is too long to be a key
 */
export function affinityKeyOf(source: AffinitySource): string {
  const value = affinityValue(source)
  if (value === undefined) return ''
  // All 53 bits as two whole numbers, which engines write down ten times as fast as a fraction.
  const bits = hash01(`${source.poolId}\n${value}`) * 2 ** 53
  const high = Math.floor(bits / 2 ** 27)
  return `${high}.${bits - high * 2 ** 27}`
}

function affinityValue({ rule, address, token, headers, scan }: AffinitySource): string | undefined {
  if (rule.kind === 'off') return undefined
  if (rule.kind === 'ip') return `ip ${address}`
  if (rule.kind === 'token') return `token ${token}`
  if (rule.kind === 'user') return prefixed('user', scan && stringField(scan, 'user'))
  const header = rule.kind === 'header' ? headers[rule.name] : undefined
  if (rule.kind === 'header' && (header?.length ?? 0) > MOST_NAME_BYTES) throw nameTooLong(rule.name)
  return prefixed('header', header) ?? sessionOf(headers, scan) ?? (scan && talkOf(scan))
}

const prefixed = (label: string, value = ''): string | undefined =>
  value === '' ? undefined : `${label} ${value}`

/**
 * Headers in which agents name their session, in the order in which they are asked; who sends several sends one value.
 *
 * `x-claude-code-session-id`: Claude Code (code.claude.com/docs/en/llm-gateway-protocol, "Request headers"), through
 * translators that hand it on. `session-id`: Codex, which wrote `session_id` until 2025 (codex-rs/codex-api,
 * requests/headers.rs). `x-session-id`, `x-session-affinity` and `x-opencode-session`: opencode (packages/core,
 * session/model-headers.ts), and others in their likeness; `x-session-affinity` is what Fireworks takes. Cline sends
 * none to a server of one's own.
 */
const SESSION_HEADERS = [
  'x-session-id',
  'session_id',
  'session-id',
  'x-session-affinity',
  'x-opencode-session',
  'x-claude-code-session-id',
] as const

/**
 * What the client itself says belongs together: agents change their first messages from turn to turn (the date, the
 * state of a repository), so that the talk alone would not be known again. It is a hint that nobody has to send, so one
 * that can't be a session's is passed over.
 */
function sessionOf(headers: HeaderBag, scan: JsonScan | undefined): string | undefined {
  for (const name of SESSION_HEADERS) {
    const value = headers[name]
    if (value !== undefined && isSession(value)) return `session ${value}`
  }
  if (scan === undefined) return undefined
  const cacheKey = stringField(scan, 'prompt_cache_key')
  if (cacheKey !== undefined && isSession(cacheKey)) return `cache ${cacheKey}`
  const session = sessionIn(userIdOf(scan)) ?? sessionIn(stringField(scan, 'user'))
  return session !== undefined && isSession(session) ? `session ${session}` : undefined
}

/** What programs write for no value at all, the null UUID too: it would tie strangers together. */
const IS_NOTHING = /^(?:undefined|null|none|nil|nan|\[object \w+\]|[0-]*)$/i

const isSession = (value: string): boolean =>
  value.length <= MOST_NAME_BYTES && !IS_NOTHING.test(value.trim())

/** OpenAI's own bound of a value of `metadata`. */
const MOST_USER_ID_LENGTH = 512

/**
 * The session in a user's id as Claude Code writes it: `user_…_account_…_session_ID`, and since 2.1.78 a JSON object
 * with a `session_id` (github.com/ding113/claude-code-hub/pull/939). Of any other id nothing, since one person has many
 * conversations. LiteLLM hands it on as `user`.
 */
const SESSION_IN_USER = /^user_.*_session_([\w-]+)$|^\s*\{.*"session_id"\s*:\s*"([^"\\]+)"/s

function sessionIn(userId = ''): string | undefined {
  const [, behind, inside] = SESSION_IN_USER.exec(userId.slice(0, MOST_USER_ID_LENGTH)) ?? []
  return behind ?? inside
}

/** Several times what OpenAI allows, which is 16 such values. */
const MOST_METADATA_BYTES = 65_536

/** `metadata.user_id`. */
function userIdOf({ fields, pieces }: JsonScan): string | undefined {
  const span = fields.get('metadata')?.at(-1)
  if (span?.kind !== 'object' || span.end - span.start > MOST_METADATA_BYTES) return undefined
  return textsInside(bytesBetween(pieces, span.start, span.end), 'user_id').at(-1)
}

/** So much of a conversation tells it from others; a vendor's cache knows it by its beginning too. */
const MOST_TALK_BYTES = 512 * 1024

function talkOf({ fields, pieces }: JsonScan): string | undefined {
  const span = (fields.get('messages') ?? fields.get('input') ?? fields.get('prompt'))?.at(-1)
  if (span === undefined) return undefined
  const openingOf = ({ start, end }: ByteSpan): Uint8Array =>
    bytesBetween(pieces, start, Math.min(end, start + MOST_TALK_BYTES))
  const { system, user } = firstMessages(openingOf(span))
  const instructions = fields.get('instructions')?.at(-1)
  const opening = instructions ? openingOf(instructions) : system
  if (opening === undefined && user === undefined) return undefined
  return `talk ${opening === undefined ? '-' : digestOf(opening)} ${user === undefined ? '-' : digestOf(user)}`
}

/**
 * Ids of earlier answers, and of items of such, that a request builds on: they exist on one account only. Of what stands
 * twice all are there, since nobody knows which of them an upstream reads.
 *
 * @throws GatewayError `bad_request` for more than anybody builds on
 */
export function answerIdsOf(scan: JsonScan | undefined): string[] {
  if (scan === undefined) return []
  const ids = ['previous_response_id', 'conversation', 'input'].flatMap((name) =>
    (scan.fields.get(name) ?? []).flatMap(({ kind, start, end }) => {
      const isList = name === 'input' && kind === 'array'
      if (!isList && (name === 'input' || (kind !== 'string' && kind !== 'object'))) return []
      const bytes = bytesBetween(scan.pieces, start, end)
      if (isList) return referencesIn(bytes)
      return kind === 'string'
        ? [stringValue(bytes, { start: 0, end: bytes.length })]
        : textsInside(bytes, 'id')
    }),
  )
  const named = new Set(ids.filter((id) => id !== ''))
  if (named.size <= MOST_IDS) return [...named]
  throw new GatewayError('bad_request', `\`input\` refers to more than ${MOST_IDS} items.`, {
    param: 'input',
  })
}

/** Several times what a long talk refers to, or an answer holds. */
export const MOST_IDS = 1_000

const ITEM_KEYS = ['id', 'type', 'role', 'content', 'encrypted_content', 'result']
/** What an upstream looks up by its id where an item brings nothing along; one without a type is the first. */
const LOOKED_UP = ['item_reference', 'reasoning', 'image_generation_call']

/** The ids of those items in a list that stand for what an upstream has kept. */
function referencesIn(list: Uint8Array): string[] {
  return itemsIn(list).flatMap((item) => {
    const ids: string[] = []
    const types: (string | undefined)[] = []
    const brought = new Map<string, boolean>()
    eachMember(list, item, (key, { start, end }) => {
      const name = oneSpelt(list, key, ITEM_KEYS)
      const isText = list[start] === QUOTE
      if (name === 'id' && isText) ids.push(stringValue(list, { start, end }))
      else if (name === 'type' && isText) types.push(oneSpelt(list, { start, end }, LOOKED_UP))
      else if (name !== undefined && name !== 'type') {
        // Not null, and not empty.
        const isThere = end - start > QUOTES && list[start] !== SMALL_N
        brought.set(name, isThere && brought.get(name) !== false)
      }
    })
    const isLookedUp = types.length === 0 || types.some((type) => type !== undefined)
    const isReference =
      types.includes('item_reference') || (isLookedUp && ![...brought.values()].includes(true))
    return isReference ? ids : []
  })
}

/** Of `null`. */
const SMALL_N = 0x6e

/** Where the objects of a list begin. */
function itemsIn(list: Uint8Array): number[] {
  const items: number[] = []
  let at = afterSpace(list, 1)
  while (list[at] !== CLOSE_BRACKET) {
    if (list[at] === OPEN_BRACE) items.push(at)
    at = afterSpace(list, afterValue(list, at))
    if (list[at] === COMMA) at = afterSpace(list, at + 1)
  }
  return items
}

/** The ids of the items of a whole response. */
export function itemIdsOf(response: Uint8Array): string[] {
  const ids: string[] = []
  try {
    eachMember(response, afterSpace(response, 0), (key, { start, end }) => {
      if (response[start] !== OPEN_BRACKET || oneSpelt(response, key, ['output']) === undefined) return
      const output = response.subarray(start, end)
      for (const item of itemsIn(output)) ids.push(...textsInside(output, 'id', item))
    })
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error
  }
  return ids.slice(0, MOST_IDS)
}

const searchItemEvent = createByteSearch(utf8Bytes('response.output_item.'))
const ITEM_EVENT = /^event:[ ]?response\.output_item\.|"type"\s*:\s*"response\.output_item\./m
/** Behind scalars alone: in what an item holds, or a client has said, there may be other ids. */
const ITEM_ID = /"item"\s*:\s*\{[^{}[\]]*?"id"\s*:\s*"([^"\\]{1,256})"/

/** The id of the item that an event of a response begins or ends, by its first bytes. */
export function itemIdIn(opening: Uint8Array): string | undefined {
  if (searchItemEvent(opening, 0) < 0) return undefined
  const text = utf8Text(opening, 0, opening.length)
  return ITEM_EVENT.test(text) ? ITEM_ID.exec(text)?.[1] : undefined
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

/** The texts that the object at `open` has under a name; who reads one goes by the last. */
function textsInside(bytes: Uint8Array, name: string, open = 0): string[] {
  const texts: string[] = []
  eachMember(bytes, open, (key, value) => {
    if (bytes[value.start] === QUOTE && oneSpelt(bytes, key, [name]) !== undefined)
      texts.push(stringValue(bytes, value))
  })
  return texts
}

/** Raw bytes of JSON values (a string with its quotes), as they stand in the request. */
interface FirstMessages {
  system?: Uint8Array
  user?: Uint8Array
}

/**
 * The text that identifies a conversation: the first system (or developer) and the first user message, and none behind.
 *
 * `value` is that of `messages`, `input` or `prompt`, and has been checked. Of messages it gives the bytes of their
 * `content`; a string is the user's text itself, in a list of strings the first one, in a list of token lists the first
 * list; a list of tokens counts as a whole. Where `value` is cut off in a message, what is there of it is the user's.
 */
export function firstMessages(value: Uint8Array): FirstMessages {
  if (value[0] === QUOTE) return { user: value }
  const found: FirstMessages = {}
  if (value[0] !== OPEN_BRACKET) return found
  let at = afterSpace(value, 1)
  try {
    for (let nth = 0; nth < MOST_MESSAGES && value[at] !== CLOSE_BRACKET && found.user === undefined; nth++)
      at = passMessage(value, at, found)
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error
    found.user = value.subarray(at)
  }
  return found
}

/** Gives the offset of what follows the item at `at`. @throws JsonSyntaxError where it is cut off */
function passMessage(value: Uint8Array, at: number, found: FirstMessages): number {
  if (value[at] !== OPEN_BRACE) {
    const isPrompt = value[at] === QUOTE || value[at] === OPEN_BRACKET
    found.user = isPrompt ? value.subarray(at, afterValue(value, at)) : value
    return at
  }
  const { role, content, end } = messageAt(value, at)
  const text = content && value.subarray(content.start, content.end)
  if (role === 'user' && text !== undefined) found.user = text
  else if (role !== undefined && text !== undefined) found.system ??= text
  const next = afterSpace(value, end)
  return value[next] === COMMA ? afterSpace(value, next + 1) : next
}

/** Nobody begins a talk with more before the user's first word. */
const MOST_MESSAGES = 1_000

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
