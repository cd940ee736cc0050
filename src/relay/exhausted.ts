import { GatewayError, type ErrorCode } from '../errors.ts'
import type { Failure } from '../pool/outcome.ts'
import { remedyOf } from '../state/availability.ts'
import { retryAt, type Unavailable } from './candidates.ts'

/** Above this a client does better to give up than to wait: SDKs ignore longer hints and retry at once. */
const LONGEST_RETRY_MS = 60_000
/** Where nobody knows how long it takes: others hold the places, and a second sees many of them end. */
const UNKNOWN_RETRY_MS = 1_000

/** What is known of a request that nobody answered. */
interface ExhaustedRequest {
  /** In order. */
  readonly failures: readonly Failure[]
  readonly unavailable: readonly Unavailable[]
  /** What the last failure said, where a client may read it. */
  readonly words?: string | undefined
  /** Ms on the clock. */
  readonly now: number
  readonly request: { readonly path: string; readonly requestedModel: string }
  /** Whether it builds on an earlier answer, so that one upstream alone may have it. */
  readonly isPinned?: boolean
}

/**
 * The error that a client gets when nothing is left: 429 with the soonest time when a limit stands in the way anywhere,
 * else what the last failure says.
 */
export function exhausted(all: ExhaustedRequest): GatewayError {
  const { failures, unavailable, now, request } = all
  if (failures.length + unavailable.length === 0)
    return new GatewayError('no_upstream', 'No upstream is enabled for this model on this endpoint.')
  // A limit that rests nobody was about this one request.
  const isTooLarge =
    failures.every((failure) => isLimit(failure) && failure.scope === 'none') &&
    unavailable.every(({ reason }) => remedyOf(reason) === 'never')
  if (isTooLarge) {
    return new GatewayError(
      'rate_limit_exceeded',
      'The request is estimated to be larger than the token limit of every upstream; send a shorter one, or ask for fewer output tokens.',
      { headers: { 'x-should-retry': 'false' } },
    )
  }
  const limited = failures.filter(isLimit)
  const waiting = unavailable.filter(isWaitedFor)
  if (waiting.length > 0 || limited.length > 0) {
    const isQuota =
      waiting.every(({ reason }) => reason.unpaid === true) &&
      limited.every(({ code }) => code === 'insufficient_quota')
    const code = isQuota ? 'insufficient_quota' : 'rate_limit_exceeded'
    return limitError(isOverload(failures) ? 'upstream_overloaded' : code, soonestMs(waiting, limited, now))
  }
  const lasting = lastingHeaders(unavailable, now)
  if (failures.length > 0) return lastFailureError(all, lasting)
  if (unavailable.some(isPaused) && !unavailable.some(needsOperator)) return pausedError(pausedWords(all))
  // Nobody was even asked: all rest for a key, a model or an endpoint that does not work.
  const resting = unavailable.filter(needsOperator)
  if (resting.length > 0 && resting.every(({ reason }) => reason.noEndpoint === true))
    return unsupportedEndpoint(request)
  const isAuth = unavailable.some(({ reason }) => reason.cause === 'auth')
  const code = isAuth ? 'upstream_auth_failed' : 'upstream_model_not_found'
  return new GatewayError(code, messageOf(code), { headers: lasting })
}

/** What lasts until an operator mends it: when the first of those rests ends, and that to retry sooner is of no use. */
function lastingHeaders(unavailable: readonly Unavailable[], now: number): Record<string, string> {
  const ends = unavailable.filter(needsOperator).map(({ reason }) => reason.until)
  return ends.length === 0 ? {} : { ...retryHeaders(Math.min(...ends) - now), 'x-should-retry': 'false' }
}

/** Whether a limit keeps it, that a wait is the remedy for. */
export const isWaitedFor = ({ reason }: Unavailable): boolean => remedyOf(reason) === 'wait'

const isPaused = ({ reason }: Unavailable): boolean => remedyOf(reason) === 'resume'

const needsOperator = ({ reason }: Unavailable): boolean => remedyOf(reason) === 'operator'

const pausedWords = ({ request, isPinned }: ExhaustedRequest): string =>
  isPinned
    ? 'The upstream that alone has what the request builds on'
    : `Every upstream of "${nameAsked(request.requestedModel)}" that could take the request`

/** Only the operator ends a pause: for a client it is of no use to ask again soon. */
export function pausedError(who: string): GatewayError {
  const message = `${who} is paused by the operator of this gateway, who can resume it.`
  return new GatewayError('no_upstream', message, { headers: { 'x-should-retry': 'false' } })
}

const nameAsked = (requestedModel: string): string =>
  requestedModel === '' ? 'auto' : requestedModel.slice(0, 100)

/** The client left before its answer began; the status is for the log. */
export function clientClosedRequest(): GatewayError {
  return new GatewayError('client_closed_request', 'The client left before the answer began.')
}

/** A client token knows the answers that were made for it, and those of no other. */
export const unknownAnswer = (): GatewayError =>
  new GatewayError('not_found', 'There is no answer or conversation of this token with that id.')

/** This process can't open a connection to anybody: the client's next request, in a second, may find it otherwise. */
export function outOfResources(): GatewayError {
  const message =
    'AILoad has no descriptor, port or memory left for another connection; try again in a second.'
  return new GatewayError('overloaded', message, { headers: { 'retry-after': '1' } })
}

/** Every place that a request could get is waited for already: to come back in a second is better than to wait here. */
export function queueFull(): GatewayError {
  return new GatewayError('rate_limit_exceeded', 'Too many requests wait for an upstream already.', {
    headers: retryHeaders(UNKNOWN_RETRY_MS),
  })
}

export const isLimit = ({ code }: Failure): boolean =>
  code === 'rate_limit_exceeded' || code === 'insufficient_quota'
const isOverload = (failures: readonly Failure[]): boolean =>
  failures.length > 0 && failures.every(({ code }) => code === 'upstream_overloaded')

function limitError(code: ErrorCode, retryMs: number): GatewayError {
  const what =
    code === 'insufficient_quota' ? 'The quota of the upstreams is spent' : 'Every upstream is at its limit'
  return new GatewayError(code, `${what}. Please try again in ${wholeSeconds(retryMs)}s.`, {
    headers: retryHeaders(retryMs),
  })
}

function soonestMs(waiting: readonly Unavailable[], limited: readonly Failure[], now: number): number {
  const retry = retryAt(waiting)
  if (retry === undefined) return shortestHintMs(limited) ?? UNKNOWN_RETRY_MS
  return retry.onRelease ? Math.min(UNKNOWN_RETRY_MS, retry.at - now) : retry.at - now
}

/** What upstreams have asked for; undefined when none did. */
function shortestHintMs(failures: readonly Failure[]): number | undefined {
  const hints = failures.map(({ hintMs }) => hintMs).filter((hint) => hint !== undefined)
  return hints.length > 0 ? Math.min(...hints) : undefined
}

export const wholeSeconds = (ms: number): number => Math.max(1, Math.ceil(ms / 1000))

/** Whole seconds for everyone, ms for those who read them, and a word to SDKs that would ignore a long hint. */
export function retryHeaders(ms: number): Record<string, string> {
  return {
    'retry-after': String(wholeSeconds(ms)),
    'retry-after-ms': String(Math.max(1, Math.ceil(ms))),
    ...(ms > LONGEST_RETRY_MS && { 'x-should-retry': 'false' }),
  }
}

const FAILURE_MESSAGES: Readonly<Record<string, string>> = {
  upstream_unavailable: 'No upstream could be reached.',
  upstream_timeout: 'No upstream answered in time.',
  upstream_auth_failed:
    'The upstream refused the key that AILoad holds for it. The operator finds it marked in /admin/status.',
  upstream_model_not_found: 'The upstream does not have the model or the endpoint that it is configured for.',
  upstream_overloaded: 'Every upstream is overloaded.',
  upstream_bad_response: 'The upstream sent an invalid response.',
}

const messageOf = (code: ErrorCode): string => FAILURE_MESSAGES[code] ?? 'The upstream failed.'

/** No upstream of the pool has the endpoint. @param more what else is known, from a blank on */
function unsupportedEndpoint({ path, requestedModel }: ExhaustedRequest['request'], more = ''): GatewayError {
  const asked = nameAsked(requestedModel)
  return new GatewayError('unsupported_endpoint', `No upstream of "${asked}" serves /v1/${path}.${more}`)
}

/** The codes whose causes last. */
const LASTING = new Set<ErrorCode>(['upstream_auth_failed', 'upstream_model_not_found'])

/** The row of the last failure; 503 only when all said so, since it means "come back", and one did not. */
function lastFailureError(
  { failures, words, request }: ExhaustedRequest,
  lasting: Record<string, string>,
): GatewayError {
  const last = failures.at(-1)
  const isAllOverload = isOverload(failures)
  const lastCode = last?.code ?? 'upstream_error'
  const code = lastCode === 'upstream_overloaded' && !isAllOverload ? 'upstream_error' : lastCode
  const status = last?.status === undefined ? '' : ` It said ${last.status}.`
  const why = last?.reason ?? words?.replace(/\.$/, '')
  const what = why === undefined ? messageOf(code) : messageOf(code).replace(/\.$/, `: ${why}.`)
  const tries = failures.length === 1 ? '' : ` ${failures.length} attempts were made.`
  if (code === 'unsupported_endpoint') return unsupportedEndpoint(request, `${status}${tries}`)
  const hintMs = isAllOverload ? shortestHintMs(failures) : undefined
  const headers = hintMs === undefined ? (LASTING.has(code) ? lasting : {}) : retryHeaders(hintMs)
  return new GatewayError(code, `${what}${status}${tries}`, { headers })
}
