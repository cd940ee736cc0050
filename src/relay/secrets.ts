import { concatBytes, createByteSearch, utf8Bytes } from '../lib/bytes.ts'
import type { Outcome } from '../pool/outcome.ts'
import type { Upstream } from '../pool/upstream.ts'
import type { AttemptFailure } from './deps.ts'

/*
 * An upstream's key goes to that upstream and to nobody else. Some quote it in their errors, whole or in part; what of
 * an answer clients, log and status get to see has `***` in the place of a whole one.
 */

const MASK = '***'
const MASK_BYTES = utf8Bytes(MASK)
/** Anything shorter is a word such as `none` that own servers are called with, and stands in every text. */
export const SHORTEST_SECRET = 6
/** Bodies are searched up to here; an error is no longer. */
const SEARCHED_BYTES = 65_536

/** Headers and query parameters of a configuration that carry a key, by the last word of their names. */
const IS_SECRET_NAME = /(?:key|token|secret|authorization|password|credential|signature|sig|cookie)s?$/i

type Search = (bytes: Uint8Array, from: number) => number
interface Secret {
  readonly text: string
  readonly size: number
  readonly search: Search
  /** The text with some or all of its characters written `\u00XX`. */
  readonly escaped: RegExp
}
/** Whose requests carry keys. */
type KeyHolder = Pick<Upstream, 'apiKey' | 'headers' | 'query'>
const known = new WeakMap<KeyHolder, readonly Secret[]>()

/** All spellings of the keys that requests to an upstream carry, the longest first. Worked out once for each. */
function secretsOf(upstream: KeyHolder): readonly Secret[] {
  let secrets = known.get(upstream)
  if (secrets === undefined) known.set(upstream, (secrets = findSecrets(upstream)))
  return secrets
}

function findSecrets({ apiKey, headers, query }: KeyHolder): Secret[] {
  const named = [...Object.entries(headers), ...new URLSearchParams(query)]
  const values = named.flatMap(([name, value]) => (IS_SECRET_NAME.test(name) ? [value] : []))
  const bare = [apiKey, ...values.map((value) => value.replace(/^(?:Bearer|Basic|Token) +/i, ''))]
  const spellings = new Set(bare.filter(({ length }) => length >= SHORTEST_SECRET).flatMap(spellingsOf))
  return [...spellings]
    .toSorted((a, b) => b.length - a.length)
    .map((text) => {
      const bytes = utf8Bytes(text)
      // The search takes 255 bytes; a key that is longer shows itself by as many.
      return {
        text,
        size: bytes.length,
        search: createByteSearch(bytes.subarray(0, 255)),
        escaped: escapedForm(text),
      }
    })
}

/**
 * Writers of JSON differ in what they escape (.NET `+`, Gson `=`, Go `&`), and RFC 8259 §7 leaves it to them: any
 * character may be `\uXXXX`, in either case. One that has to be escaped, or `/`, may have a backslash in front.
 */
function escapedForm(text: string): RegExp {
  const forms = text.split('').map((unit) => {
    const code = unit.charCodeAt(0).toString(16).padStart(4, '0')
    const anyCase = code.replaceAll(/[a-f]/g, (digit) => `[${digit}${digit.toUpperCase()}]`)
    const before = /["\\/]/.test(unit) ? String.raw`\\?` : ''
    return String.raw`(?:${before}\u${code}|\\u${anyCase})`
  })
  return new RegExp(forms.join(''), 'g')
}

/** As it is, in JSON, in JSON as PHP writes it, and in a URL. */
function spellingsOf(secret: string): string[] {
  const inJson = JSON.stringify(secret).slice(1, -1)
  return [secret, inJson, inJson.replaceAll('/', '\\/'), encodeURIComponent(secret)]
}

/** The text without any of the upstream's keys. */
export function maskedText(text: string, upstream: KeyHolder): string {
  let masked = text
  for (const secret of secretsOf(upstream)) masked = masked.replaceAll(secret.text, MASK)
  return masked
}

/** A body without any of the upstream's keys; the same bytes where none is in them, or where there are over 64 KiB. */
export function maskedBytes(bytes: Uint8Array, upstream: Upstream): Uint8Array {
  if (bytes.length > SEARCHED_BYTES) return bytes
  let masked = bytes
  for (const secret of secretsOf(upstream)) masked = withMask(masked, secret)
  return findEscape(masked, 0) < 0 ? masked : withoutEscaped(masked, upstream)
}

const findEscape = createByteSearch(utf8Bytes('\\u'))

/** What is no UTF-8 is no JSON (RFC 8259 §8.1), and its backslashes are no escapes. */
function withoutEscaped(bytes: Uint8Array, upstream: Upstream): Uint8Array {
  let text
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return bytes
  }
  let masked = text
  for (const { escaped } of secretsOf(upstream)) masked = masked.replaceAll(escaped, MASK)
  return masked === text ? bytes : utf8Bytes(masked)
}

function withMask(bytes: Uint8Array, { size, search }: Secret): Uint8Array {
  const pieces: Uint8Array[] = []
  let from = 0
  for (let at = search(bytes, 0); at >= 0; at = search(bytes, from)) {
    pieces.push(bytes.subarray(from, at), MASK_BYTES)
    from = Math.min(bytes.length, at + size)
  }
  return from === 0 ? bytes : concatBytes([...pieces, bytes.subarray(from)])
}

const LONGEST_WORDS = 300
const LONGEST_URL = 300

/** What is told of an attempt at `path` that failed; undefined of any other. */
export function attemptFailureOf(
  outcome: Outcome,
  upstream: KeyHolder & Pick<Upstream, 'root'>,
  path: string,
): AttemptFailure | undefined {
  if (outcome.kind !== 'failed' && outcome.kind !== 'broken') return undefined
  const url = `${upstream.root}/${path}`.slice(0, LONGEST_URL)
  if (outcome.kind === 'broken') {
    const how = outcome.code === 'upstream_timeout' ? 'silent' : 'connection lost'
    return { url, isUnsent: false, reason: `${how} in the middle of its answer` }
  }
  const { reason, hintMs, words, class: failureClass } = outcome
  const line =
    words &&
    maskedText(words, upstream)
      .replaceAll(/[\s\p{Cc}\p{Cf}]+/gu, ' ')
      .trim()
  return {
    url,
    isUnsent: failureClass === 'not-sent',
    ...(reason !== undefined && { reason }),
    ...(hintMs !== undefined && { hintMs }),
    ...(line && { words: line.slice(0, LONGEST_WORDS) }),
  }
}
