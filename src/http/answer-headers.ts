import type { RelayAnswer } from '../relay/relay-request.ts'

/**
 * What of an upstream's answer a client may see, next to `retry-after*` and `x-ratelimit-*`. Never cookies, banners,
 * organisation ids or a `location`; `content-length` is the server's own.
 */
const ALLOWED = new Set(['content-type', 'cache-control', 'openai-processing-ms'])

function isAllowed(name: string): boolean {
  return ALLOWED.has(name) || name.startsWith('retry-after') || name.startsWith('x-ratelimit-')
}

/** Header values that a runtime refuses would break an answer that is already there. */
const IS_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

const IS_EVENT_STREAM = /^\s*text\/event-stream/i

/** The client's headers of an upstream's answer. */
export function answerHeaders(answer: Omit<RelayAnswer, 'status' | 'body'>): Record<string, string> {
  const headers: Record<string, string> = {}
  const { headers: given, upstream } = answer
  for (const name in given) {
    const value = given[name]
    if (value !== undefined && isAllowed(name) && IS_VALUE.test(value)) headers[name] = value
  }
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
