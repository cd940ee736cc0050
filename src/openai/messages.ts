import {
  afterSpace,
  afterValue,
  CLOSE_BRACKET,
  COMMA,
  eachMember,
  oneSpelt,
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
  type FieldSpan,
  type ByteSpan,
} from '../lib/json/scan.ts'

/** Raw bytes of JSON values (a string with its quotes), as they stand in the request. */
interface FirstMessages {
  readonly system?: Uint8Array
  readonly user?: Uint8Array
}

/**
 * The text that identifies a conversation: the first system (or developer) and the first user message.
 *
 * `span` is the value of `messages`, `input` or `prompt`, found by `scanTopLevel` in the same bytes. Of messages
 * it gives the bytes of their `content`; a string is the user's text itself, in a list of strings the first one,
 * in a list of token lists the first list; a list of tokens counts as a whole. Reads no further than the first
 * user message, so a system message behind it does not count; nothing found gives an empty object.
 */
export function firstMessages(bytes: Uint8Array, span: FieldSpan): FirstMessages {
  if (span.kind === 'string') return { user: bytes.subarray(span.start, span.end) }
  if (span.kind !== 'array') return {}
  let system: ByteSpan | undefined
  let at = afterSpace(bytes, span.start + 1)
  while (at < span.end && bytes[at] !== CLOSE_BRACKET) {
    const first = bytes[at]
    if (first !== OPEN_BRACE) return resultOf(bytes, system, promptSpan(bytes, at, span))
    const message = messageAt(bytes, at)
    if (message.role === 'user' && message.content) return resultOf(bytes, system, message.content)
    if (message.role === 'system' || message.role === 'developer') system ??= message.content
    at = afterSpace(bytes, message.end)
    if (bytes[at] === COMMA) at = afterSpace(bytes, at + 1)
  }
  return resultOf(bytes, system, undefined)
}

function resultOf(
  bytes: Uint8Array,
  system: ByteSpan | undefined,
  user: ByteSpan | undefined,
): FirstMessages {
  return {
    ...(system && { system: bytes.subarray(system.start, system.end) }),
    ...(user && { user: bytes.subarray(user.start, user.end) }),
  }
}

/** The element at `at` when it can be a prompt by itself, else (a token number) the list. */
function promptSpan(bytes: Uint8Array, at: number, list: ByteSpan): ByteSpan {
  const isPrompt = bytes[at] === QUOTE || bytes[at] === OPEN_BRACKET
  return isPrompt ? { start: at, end: afterValue(bytes, at) } : list
}

interface Message {
  role: string | undefined
  content: ByteSpan | undefined
  end: number
}

const KEYS = ['role', 'content']
const ROLES = ['system', 'developer', 'user']

function messageAt(bytes: Uint8Array, open: number): Message {
  const message: Message = { role: undefined, content: undefined, end: open }
  message.end = eachMember(bytes, open, (key, value) => {
    const name = oneSpelt(bytes, key, KEYS)
    if (name === 'content') message.content = value
    if (name === 'role' && bytes[value.start] === QUOTE) message.role = oneSpelt(bytes, value, ROLES)
  })
  return message
}
