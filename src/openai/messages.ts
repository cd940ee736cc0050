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
  type ByteSpan,
} from '../lib/json/walk.ts'

/** Raw bytes of JSON values (a string with its quotes), as they stand in the request. */
interface FirstMessages {
  readonly system?: Uint8Array
  readonly user?: Uint8Array
}

/**
 * The text that identifies a conversation: the first system (or developer) and the first user message.
 *
 * `value` is that of `messages`, `input` or `prompt`, and has been checked by a `JsonScanner`. Of messages
 * it gives the bytes of their `content`; a string is the user's text itself, in a list of strings the first one,
 * in a list of token lists the first list; a list of tokens counts as a whole. Reads no further than the first
 * user message, so a system message behind it does not count; nothing found gives an empty object.
 */
export function firstMessages(value: Uint8Array): FirstMessages {
  if (value[0] === QUOTE) return { user: value }
  if (value[0] !== OPEN_BRACKET) return {}
  let system: ByteSpan | undefined
  let at = afterSpace(value, 1)
  while (value[at] !== CLOSE_BRACKET) {
    if (value[at] !== OPEN_BRACE) return resultOf(value, system, promptSpan(value, at))
    const message = messageAt(value, at)
    if (message.role === 'user' && message.content) return resultOf(value, system, message.content)
    if (message.role === 'system' || message.role === 'developer') system ??= message.content
    at = afterSpace(value, message.end)
    if (value[at] === COMMA) at = afterSpace(value, at + 1)
  }
  return resultOf(value, system, undefined)
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
function promptSpan(list: Uint8Array, at: number): ByteSpan {
  const isPrompt = list[at] === QUOTE || list[at] === OPEN_BRACKET
  return isPrompt ? { start: at, end: afterValue(list, at) } : { start: 0, end: list.length }
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
