import type { HeaderBag } from '../lib/headers.ts'
import type { Upstream } from '../pool/upstream.ts'
import type { RelayAnswer } from './request.ts'
import { maskedText } from './secrets.ts'

/*
 * Which header fields pass, in both directions: what of a request goes to an upstream, with its key, and what of its
 * answer the client gets to see. Both are lists of what may pass; everything else is kept.
 */

type Passes = (name: string, value: string) => boolean

/** In a loop: to spread objects of this kind costs ten times as much. */
function copy(headers: HeaderBag, to: Record<string, string>, passes: Passes): Record<string, string> {
  for (const name in headers) {
    const value = headers[name]
    if (value !== undefined && passes(name, value)) to[name] = value
  }
  return to
}

const always: Passes = () => true

/** What of a client's request an upstream may see. Everything else stays here: tokens, cookies, addresses. */
const REQUEST_HEADERS = new Set(['content-type', 'accept', 'user-agent', 'idempotency-key', 'traceparent'])

/** OpenAI's own switches, and what its SDKs say of themselves. Organisation and project belong to an account. */
function isRequestHeader(name: string): boolean {
  if (REQUEST_HEADERS.has(name) || name.startsWith('x-stainless-')) return true
  return name.startsWith('openai-') && name !== 'openai-organization' && name !== 'openai-project'
}

/** The client's headers that go on, the same for every upstream. Computed once for a request. */
export const forwardedHeaders = (client: HeaderBag): HeaderBag => copy(client, {}, isRequestHeader)

/** All headers for one upstream: forwarded ones, its own key, then what its configuration adds or replaces. */
export function headersFor(
  upstream: Pick<Upstream, 'apiKey' | 'headers'>,
  forwarded: HeaderBag,
): Record<string, string> {
  const headers: Record<string, string> = { 'accept-encoding': 'identity' }
  if (upstream.apiKey !== '') headers['authorization'] = `Bearer ${upstream.apiKey}`
  copy(forwarded, headers, always)
  return copy(upstream.headers, headers, always)
}

const IS_READ = /json|multipart\//i

/** The same for a relayed body, which is JSON or a form whatever the client has called it. */
export function relayedHeaders(
  upstream: Pick<Upstream, 'apiKey' | 'headers'>,
  forwarded: HeaderBag,
): HeaderBag {
  const headers = headersFor(upstream, forwarded)
  const isNamed = IS_READ.test(forwarded['content-type'] ?? '')
  if (!isNamed && upstream.headers['content-type'] === undefined) headers['content-type'] = 'application/json'
  return headers
}

/** The same with the `traceparent` of the attempt, where requests are traced. */
export const traced = (headers: HeaderBag, traceparent: string | undefined): HeaderBag =>
  traceparent === undefined ? headers : Object.assign(headers, { traceparent })

/** The address of an upstream's endpoint; its configured query comes first, then the client's. */
export function urlFor(upstream: Pick<Upstream, 'root' | 'query'>, path: string, query: string): string {
  const both = upstream.query !== '' && query !== '' ? `${upstream.query}&${query}` : upstream.query + query
  return both === '' ? `${upstream.root}/${path}` : `${upstream.root}/${path}?${both}`
}

/**
 * What of an upstream’s answer a client may see, next to `retry-after*` and rate limits. Never cookies, banners,
 * organisation ids or a `location`; `content-length` is the server's own.
 */
const ANSWER_HEADERS = new Set(['content-type', 'cache-control', 'openai-processing-ms'])

/** Names of limits, what is left and resets, as vendors spell them; others may say whose they are. */
const IS_RATE_LIMIT =
  /^(x-)?ratelimit(-policy|-(limit|remaining|reset|used|type|timeremaining|renewalperiod)(-[a-z]*(request|req|token|image|second|minute|hour|day)[a-z-]*)?)?$/

/** Header values that a runtime refuses would break an answer that is already there. */
const IS_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

function isAnswerHeader(name: string, value: string): boolean {
  return isOwnOfAnswer(name, value) || (IS_RATE_LIMIT.test(name) && IS_VALUE.test(value))
}

/** Without the limits of its upstream. */
function isOwnOfAnswer(name: string, value: string): boolean {
  return (ANSWER_HEADERS.has(name) || name.startsWith('retry-after')) && IS_VALUE.test(value)
}

const IS_EVENT_STREAM = /^\s*text\/event-stream/i

/** The client's headers of an upstream's answer. @param hasLimits with what it says of limits */
export function answerHeaders(
  answer: Omit<RelayAnswer, 'status' | 'body'>,
  hasLimits = true,
): Record<string, string> {
  const { upstream } = answer
  const headers = copy(answer.headers, {}, hasLimits ? isAnswerHeader : isOwnOfAnswer)
  for (const name in headers) headers[name] = maskedText(headers[name] ?? '', upstream)
  headers['x-model'] = encodedWhereNeeded(upstream.model)
  headers['x-aiload-upstream'] = encodedWhereNeeded(upstream.name)
  headers['x-aiload-attempts'] = String(answer.attempts)
  // Without it nginx holds events back until a buffer is full.
  if (IS_EVENT_STREAM.test(headers['content-type'] ?? '')) headers['x-accel-buffering'] = 'no'
  return headers
}

const IS_PLAIN = /^[\x21-\x24\x26-\x7e]+$/

/** A name may be any Unicode and a header may not: then it is percent-encoded as UTF-8, `%` included. */
export function encodedWhereNeeded(name: string): string {
  return IS_PLAIN.test(name) ? name : encodeURIComponent(name.replaceAll(/\p{Surrogate}/gu, '\ufffd'))
}
