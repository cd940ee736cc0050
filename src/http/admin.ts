import { nearestName } from '../config/checks.ts'
import { recordOf } from '../config/problem.ts'
import { GatewayError } from '../errors.ts'
import { concatBytes } from '../lib/bytes.ts'
import { instantOf } from '../lib/clock.ts'
import { parsedJson } from '../lib/json/parse.ts'
import { ownerOf } from '../telemetry/status.ts'
import type { RequestContext, RouteHandler } from './context.ts'
import type { RequestLog } from '../events/requests.ts'
import { jsonResponse } from './response.ts'
import { found, notFound, wrongMethod } from './routes.ts'

/** What is done at one path below `/admin/`, by method; HEAD goes where GET does. */
type AdminRoute = Readonly<Record<string, RouteHandler>>

/** Paths without their end slashes; the last part of those that end in `/*` is anything. */
const ADMIN_ROUTES: Readonly<Record<string, AdminRoute>> = {
  '/admin/status': { GET: showStatus },
  '/admin/forget': { POST: forgetRest },
  '/admin/requests': { GET: listRequests },
  '/admin/requests/*': { GET: explainRequest },
}

/** Everything below `/admin/`, for whoever has shown that he may. @throws `not_found`, `method_not_allowed` */
export function admin(context: RequestContext): Response | Promise<Response> {
  const path = context.path.replace(/\/+$/, '')
  const route = ADMIN_ROUTES[path] ?? ADMIN_ROUTES[path.replace(/[^/]+$/, '*')]
  if (route === undefined) throw notFound(context.path)
  const { method } = context.request
  const handler = route[method === 'HEAD' ? 'GET' : method]
  if (handler !== undefined) return handler(context)
  throw wrongMethod(
    method,
    Object.keys(route).flatMap((one) => (one === 'GET' ? ['GET', 'HEAD'] : [one])),
  )
}

/**
 * The same context, of which no page of another origin may read the answer, and no cache keep it: what `server.cors`
 * allows is for the API of models.
 */
export function withoutCors(context: RequestContext): RequestContext {
  const { ownHeaders } = context
  for (const name of Object.keys(ownHeaders)) if (!name.endsWith('request-id')) delete ownHeaders[name]
  ownHeaders['cache-control'] = 'no-store'
  return context
}

/** The body as JSON, undefined where it is none. @throws where it is too large, or breaks off */
async function adminBodyOf({ deps, incoming }: RequestContext, maxBytes: number): Promise<unknown> {
  const { pieces, heldBytes } = await incoming.readBody({ maxBytes, codings: [], memory: deps.memory })
  const body = concatBytes(pieces)
  deps.memory.release(heldBytes)
  return parsedJson(new TextDecoder().decode(body))
}

async function showStatus({ deps, ownHeaders }: RequestContext): Promise<Response> {
  return jsonResponse(await deps.status(), 200, ownHeaders)
}

const MOST_LISTED = 1_000
const USUALLY_LISTED = 100

/** `GET /admin/requests`: the last requests, the newest first, as its query wants them. */
async function listRequests(context: RequestContext): Promise<Response> {
  const query = new URLSearchParams(context.query)
  const textOf = (name: string): string | undefined => query.get(name) || undefined
  const limit = query.has('limit') ? Number(query.get('limit')) : USUALLY_LISTED
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST_LISTED)
    throw new GatewayError('bad_request', `limit is a whole number from 1 to ${MOST_LISTED}.`, {
      param: 'limit',
    })
  const status = textOf('status')
  if (status !== undefined && !/^\d(?:\d\d|xx)$/i.test(status))
    throw new GatewayError('bad_request', 'status is a number such as 429, or 4xx.', { param: 'status' })
  const [upstream, model, token, q, before] = ['upstream', 'model', 'token', 'q', 'before'].map(textOf)
  const wanted = { limit, status, upstream, model, token, q, before }
  return jsonResponse(await requestsOf(context).list(wanted), 200, context.ownHeaders)
}

/** `GET /admin/requests/{id}`: why a request went where it went; of an id that several bear, all of them. */
async function explainRequest(context: RequestContext): Promise<Response> {
  const id = /[^/]+(?=\/*$)/.exec(context.path)?.[0] ?? ''
  const log = requestsOf(context)
  if (!/^[\w.-]{1,128}$/.test(id)) throw new GatewayError('not_found', 'No request has such an id.')
  const found = await log.explain(id)
  const [only] = found
  if (only === undefined) {
    const message = `There is no request ${JSON.stringify(id)}. ${await log.reach()}`
    throw new GatewayError('not_found', message)
  }
  const body = found.length === 1 ? only : { requests: found.map(({ request }) => request) }
  return jsonResponse(body, 200, context.ownHeaders)
}

/** @throws `not_found` where the runtime keeps none */
function requestsOf({ deps }: RequestContext): RequestLog {
  if (deps.requests !== undefined) return deps.requests
  throw new GatewayError('not_found', 'On this runtime requests are not remembered; Node, Bun and Deno do.')
}

/** A name of an upstream is all that is sent. */
const MOST_NAME_BYTES = 64 * 1024
const FORGET_FORM = 'The body is a JSON object with the name of an upstream, such as {"upstream": "groq"}.'

/**
 * `POST /admin/forget`: ends the rest of an upstream before its time, on all of its endpoints and in all that it shares
 * with others, such as its key. What was learned of its limits stays.
 */
async function forgetRest(context: RequestContext): Promise<Response> {
  const { deps, runtimeConfig } = context
  const name = upstreamNameIn(await adminBodyOf(context, MOST_NAME_BYTES))
  const { upstreams } = runtimeConfig.pools
  const upstream = upstreams.find((each) => each.name === name)
  if (upstream === undefined)
    throw unknownUpstream(
      upstreams.map((each) => each.name),
      name,
    )
  const draws = Object.values(upstream.claims).flatMap((claim) => claim.draws)
  const scopes = [...new Set(draws.map(({ scope }) => scope))]
  const resting = await deps.store.closeBreakers(scopes, instantOf(deps.clock))
  deps.traffic.queue.wake()
  const message = `upstream ${name}: its rest was ended by POST /admin/forget`
  if (resting.length > 0) deps.report({ kind: 'notice', level: 'info', upstream: name, message })
  const ended = draws.filter(({ scope }) => resting.includes(scope)).map(ownerOf)
  return found(context, { upstream: name, ended: [...new Set(ended)] })
}

/** @throws `bad_request` for a body of another form */
function upstreamNameIn(body: unknown): string {
  const { upstream } = recordOf(body)
  if (typeof upstream === 'string') return upstream
  throw new GatewayError('bad_request', FORGET_FORM)
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
