import { nearestName } from '../config/checks.ts'
import { recordOf } from '../config/problem.ts'
import { GatewayError } from '../errors.ts'
import { utf8Bytes } from '../lib/bytes.ts'
import { instantOf } from '../lib/clock.ts'
import { createBodyParser } from '../openai/request.ts'
import type { Upstream } from '../pool/upstream.ts'
import { isAboutLength, trialQuestions, tryUpstream, type Trial } from '../relay/trial.ts'
import { failureText } from '../telemetry/recent.ts'
import { ownerOf } from '../telemetry/status.ts'
import { adminBodyOf, type RequestContext } from './context.ts'
import { relayRequestOf } from './relay-route.ts'
import { jsonResponse } from './response.ts'
import { found } from './routes.ts'

/*
 * What an operator does to one upstream, each a POST with its name.
 */

/** A name of an upstream is all that is sent. */
const MOST_NAME_BYTES = 64 * 1024

/** The upstream that the body names, be it disabled. @throws `bad_request`, `not_found` */
async function upstreamNamedIn(context: RequestContext): Promise<Upstream> {
  const { upstream: name } = recordOf(await adminBodyOf(context, MOST_NAME_BYTES))
  if (typeof name !== 'string') throw new GatewayError('bad_request', NAME_FORM)
  const { upstreams } = context.runtimeConfig.pools
  const upstream = upstreams.find((each) => each.name === name)
  if (upstream !== undefined) return upstream
  throw unknownUpstream(
    upstreams.map((each) => each.name),
    name,
  )
}

const NAME_FORM = 'The body is a JSON object with the name of an upstream, such as {"upstream": "groq"}.'

/**
 * `POST /admin/forget`: ends the rest of an upstream before its time, on all of its endpoints and in all that it shares
 * with others, such as its key. What was learned of its limits stays.
 */
export async function forgetRest(context: RequestContext): Promise<Response> {
  const { deps } = context
  const { name, claims } = await upstreamNamedIn(context)
  const draws = Object.values(claims).flatMap((claim) => claim.draws)
  const scopes = [...new Set(draws.map(({ scope }) => scope))]
  const resting = await deps.store.closeBreakers(scopes, instantOf(deps.clock))
  deps.traffic.queue.wake()
  if (resting.length > 0) tell(context, name, `upstream ${name}: its rest was ended by POST /admin/forget`)
  const ended = draws.filter(({ scope }) => resting.includes(scope)).map(ownerOf)
  return found(context, { upstream: name, ended: [...new Set(ended)] })
}

/**
 * `POST /admin/pause`: the upstream takes no new request until it is resumed, also as a last resort or by a pin; those under
 * way go on. Kept across a restart.
 */
export const pauseUpstream = (context: RequestContext): Promise<Response> => setPause(context, true)

/** `POST /admin/resume`: ends that. */
export const resumeUpstream = (context: RequestContext): Promise<Response> => setPause(context, false)

async function setPause(context: RequestContext, isPaused: boolean): Promise<Response> {
  const { store, clock, traffic } = context.deps
  const { name, id } = await upstreamNamedIn(context)
  const isNews = await store.pause(id, isPaused, instantOf(clock))
  // Who waits for it may go there now, or has nobody left to wait for.
  traffic.queue.wake()
  const message = isPaused
    ? `upstream ${name}: paused by POST /admin/pause`
    : `upstream ${name}: resumed by POST /admin/resume`
  if (isNews) tell(context, name, message)
  return found(context, { upstream: name, paused: isPaused })
}

function tell({ deps }: RequestContext, upstream: string, message: string): void {
  deps.report({ kind: 'notice', level: 'info', upstream, message })
}

const UNTRIABLE = 'serves pictures or sound alone, which no small request tries (models[].endpoints)'

/**
 * `POST /admin/test`: sends the smallest request that an upstream can answer to it alone, whatever its state; see
 * `tryUpstream`. `was_unavailable` says that a client's request would not have gone there.
 */
export async function testUpstream(context: RequestContext): Promise<Response> {
  const { deps, runtimeConfig, incoming, ownHeaders } = context
  const upstream = await upstreamNamedIn(context)
  const { name, timeoutMs: longestTimeoutMs, edits } = upstream
  const pool = {
    id: `test ${upstream.id}`,
    upstreams: [upstream],
    longestTimeoutMs,
    hasEdits: edits !== undefined,
  }
  let trial: Trial | undefined
  for (const { endpoint, path, body } of trialQuestions(upstream)) {
    if (trial !== undefined && !isAboutLength(trial.attempt)) break
    const bytes = utf8Bytes(JSON.stringify({ model: upstream.model, ...body }))
    const parser = createBodyParser('application/json', deps.isUtf8, runtimeConfig.bodyFields)
    parser.push(bytes)
    const asked = { endpoint, path, pool, clientSignal: incoming.clientSignal }
    const request = relayRequestOf(context, asked, { ...parser.end([bytes]), size: bytes.length })
    context.logged = true
    const own = { query: '', affinityKey: '', keyHash: 0, headers: {}, ...(trial && { ownId: deps.newId() }) }
    trial = await tryUpstream({ ...request, ...own }, deps)
  }
  if (trial === undefined) throw new GatewayError('bad_request', `Upstream ${shownName(name)} ${UNTRIABLE}.`)
  const { outcome, status, firstByteMs, durationMs, failure } = trial.attempt
  const why = failure && [failureText(status, failure.reason), failure.words].filter(Boolean).join(': ')
  const told = {
    upstream: name,
    ok: outcome === 'ok',
    status: status ?? null,
    first_byte_ms: firstByteMs === undefined ? null : Math.round(firstByteMs),
    total_ms: Math.round(durationMs),
    error: why ?? (outcome === 'ok' ? null : outcome),
    was_unavailable: trial.wasUnavailable,
  }
  return jsonResponse(told, 200, ownHeaders)
}

/** As many names are shown of a long list. */
const MOST_NAMES = 20

function unknownUpstream(names: readonly string[], given: string): GatewayError {
  const plain = given.toLowerCase()
  const containing = plain === '' ? [] : names.filter((name) => name.toLowerCase().includes(plain))
  const nearest = nearestName(given, names)
  const near = new Set([...(nearest === undefined ? [] : [nearest]), ...containing])
  const listed = (some: Iterable<string>): string => [...some].slice(0, MOST_NAMES).join(', ')
  const hint = near.size > 0 ? `Did you mean ${listed(near)}?` : `There are: ${listed(names)}.`
  return new GatewayError('not_found', `There is no upstream ${shownName(given)}. ${hint}`)
}

const shownName = (name: string): string =>
  JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}…` : name)
