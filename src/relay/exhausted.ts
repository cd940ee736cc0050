import { GatewayError, type ErrorCode } from '../errors.ts'
import type { Failure } from '../pool/outcome.ts'
import { cureOf } from '../state/availability.ts'
import { retryAt, type Resting } from './candidates.ts'

/** Above this a client does better to give up than to wait: SDKs ignore longer hints and retry at once. */
const LONGEST_RETRY_MS = 60_000
/** Where nobody knows how long it takes: others hold the places, and a second sees many of them end. */
const UNKNOWN_RETRY_MS = 1_000

/** What is known when no upstream is left. */
interface Exhaustion {
  /** Of this request, in order. */
  readonly failures: readonly Failure[]
  readonly resting: readonly Resting[]
  /** Ms on the clock. */
  readonly now: number
}

/**
 * The error that a client gets when nothing is left: 429 with the soonest time when a limit stands in the
 * way anywhere, else what the last failure says.
 */
export function exhausted(known: Exhaustion): GatewayError {
  const { failures, resting } = known
  if (isTooLarge(known)) return tooLarge()
  const limited = failures.filter(isLimit)
  const waiting = resting.filter(({ block }) => cureOf(block) === 'wait')
  if (waiting.length > 0 || limited.length > 0) return rateLimited(known, { waiting, limited })
  return failures.length > 0 ? failed(known) : withoutTry(resting)
}

/** Every place that a request could get is waited for already: to come back in a second is better than to wait here. */
export function crowdedOut(): GatewayError {
  return new GatewayError('rate_limit_exceeded', 'Too many requests wait for an upstream already.', {
    headers: retryHeaders(UNKNOWN_RETRY_MS),
  })
}

const isLimit = ({ code }: Failure): boolean =>
  code === 'rate_limit_exceeded' || code === 'insufficient_quota'

/** A limit that rests nobody was about this one request. */
const isAboutSize = (failure: Failure): boolean => isLimit(failure) && failure.scope === 'none'

function isTooLarge({ failures, resting }: Exhaustion): boolean {
  const isKnown = failures.length > 0 || resting.length > 0
  return isKnown && failures.every(isAboutSize) && resting.every(({ block }) => cureOf(block) === 'never')
}

function rateLimited(
  { failures, resting, now }: Exhaustion,
  { waiting, limited }: { waiting: readonly Resting[]; limited: readonly Failure[] },
): GatewayError {
  const retryMs = soonestMs(resting, limited, now)
  const code = codeOfLimit({ failures, waiting, limited })
  const what =
    code === 'insufficient_quota' ? 'The quota of the upstreams is spent' : 'Every upstream is at its limit'
  return new GatewayError(code, `${what}; the soonest may be available in ${seconds(retryMs)} s.`, {
    headers: retryHeaders(retryMs),
  })
}

function soonestMs(resting: readonly Resting[], limited: readonly Failure[], now: number): number {
  const reopening = retryAt(resting)
  if (reopening !== undefined)
    return reopening.onRelease ? Math.min(UNKNOWN_RETRY_MS, reopening.at - now) : reopening.at - now
  const hints = limited.map(({ hintMs }) => hintMs).filter((hint) => hint !== undefined)
  return hints.length > 0 ? Math.min(...hints) : UNKNOWN_RETRY_MS
}

function codeOfLimit(known: {
  failures: readonly Failure[]
  waiting: readonly Resting[]
  limited: readonly Failure[]
}): ErrorCode {
  const { failures, waiting, limited } = known
  const isOverload = failures.length > 0 && failures.every(({ code }) => code === 'upstream_overloaded')
  if (isOverload) return 'upstream_overloaded'
  const isQuota =
    waiting.every(({ block }) => block.unpaid === true) &&
    limited.every(({ code }) => code === 'insufficient_quota')
  return isQuota ? 'insufficient_quota' : 'rate_limit_exceeded'
}

const seconds = (ms: number): number => Math.max(1, Math.ceil(ms / 1000))

/** Whole seconds for everyone, ms for those who read them, and a word to SDKs that would ignore a long hint. */
function retryHeaders(ms: number): Record<string, string> {
  return {
    'retry-after': String(seconds(ms)),
    'retry-after-ms': String(Math.max(1, Math.ceil(ms))),
    ...(ms > LONGEST_RETRY_MS && { 'x-should-retry': 'false' }),
  }
}

function tooLarge(): GatewayError {
  return new GatewayError(
    'rate_limit_exceeded',
    'The request is estimated to be larger than the token limit of every upstream; send a shorter one, or ask for fewer output tokens.',
    { headers: { 'x-should-retry': 'false' } },
  )
}

const MESSAGES: Readonly<Record<string, string>> = {
  upstream_unavailable: 'No upstream could be reached.',
  upstream_timeout: 'No upstream answered in time.',
  upstream_auth_failed:
    'The upstream refused the key that AILoad holds for it. The operator finds it marked in /admin/status.',
  upstream_model_not_found: 'The upstream does not have the model or the endpoint that it is configured for.',
  upstream_error: 'The upstream failed.',
  upstream_overloaded: 'Every upstream is overloaded.',
  upstream_bad_response: 'The upstream sent an invalid response.',
}

const messageOf = (code: string): string => MESSAGES[code] ?? 'The upstream failed.'

/** The row of the last failure; 503 only when all said so, since it means "come back", and one did not. */
function failed({ failures }: Exhaustion): GatewayError {
  const last = failures.at(-1)
  const isOverload = failures.every(({ code }) => code === 'upstream_overloaded')
  const said = last?.code ?? 'upstream_error'
  const code = said === 'upstream_overloaded' && !isOverload ? 'upstream_error' : said
  const status = last?.status === undefined ? '' : ` It said ${last.status}.`
  const tries = failures.length === 1 ? '' : ` ${failures.length} attempts were made.`
  const hints = failures.map(({ hintMs }) => hintMs).filter((hint) => hint !== undefined)
  const headers = isOverload && hints.length > 0 ? retryHeaders(Math.min(...hints)) : {}
  return new GatewayError(code, `${messageOf(code)}${status}${tries}`, { headers })
}

/** Nobody was even asked: all rest for a key or a model that does not work. */
function withoutTry(resting: readonly Resting[]): GatewayError {
  if (resting.length === 0)
    return new GatewayError('no_upstream', 'No upstream is enabled for this model on this endpoint.')
  const code = resting.some(({ block }) => block.why === 'auth')
    ? 'upstream_auth_failed'
    : 'upstream_model_not_found'
  return new GatewayError(code, messageOf(code))
}
