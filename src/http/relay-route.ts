import { clientAddress } from '../lib/address.ts'
import type { Endpoint } from '../pool/vocabulary.ts'
import { affinityKeyOf, answerIdsOf } from '../relay/affinity-key.ts'
import { estimateOf } from '../relay/estimate.ts'
import { parseBody, type ParsedBody } from '../relay/parse-body.ts'
import { relay } from '../relay/relay.ts'
import type { RelayRequest } from '../relay/relay-request.ts'
import { forwardedHeaders } from '../relay/upstream-headers.ts'
import type { AppDeps } from './app-deps.ts'
import { poolOf } from './asked-pool.ts'
import { handOn } from './hand-on.ts'
import type { Visit } from './visit.ts'

/** A relayed path in its plain spelling, and what it asks for. */
export interface Relayed {
  readonly path: string
  readonly endpoint: Endpoint
}

/**
 * The flow of a relayed request, top to bottom: the body is read and its model found, the pool and the
 * affinity key follow from them, the relay chooses and tries, and its body goes to the client as it comes.
 */
export async function relayRoute(visit: Visit, relayed: Relayed, deps: AppDeps): Promise<Response> {
  const { arrival, setup } = visit
  const bytes = await arrival.readBody({ maxBytes: setup.config.server.maxBodyBytes, memory: deps.memory })
  try {
    const body = parseBody(bytes, arrival.headers['content-type'] ?? '')
    visit.asked = body.model.slice(0, LONGEST_TOLD)
    const request = requestOf(visit, relayed, body)
    visit.isTold = true
    const answer = await relay({ request, rules: setup.rules, traffic: deps.traffic, deps })
    return handOn(visit, answer, deps)
  } finally {
    deps.memory.free(bytes.length)
  }
}

/** Longer than any model's name; what a client sends instead is not kept for the log. */
const LONGEST_TOLD = 256

function requestOf(visit: Visit, { path, endpoint }: Relayed, body: ParsedBody): RelayRequest {
  const { arrival, setup, query, id, since, asked } = visit
  const { headers } = arrival
  const pool = poolOf(setup.pools, body.model, endpoint)
  const estimate = body.scan === undefined ? undefined : estimateOf(body.scan, endpoint)
  const rule = setup.config.settings.affinity
  const address = rule.kind === 'ip' ? addressOf(visit) : ''
  return {
    id,
    endpoint,
    path,
    query,
    pool,
    asked,
    headers: forwardedHeaders(headers),
    bodyFor: (upstream) => body.withModel(upstream.model),
    stream: body.stream,
    inputTokens: estimate?.inputTokens,
    outputTokens: estimate?.outputTokens,
    choices: estimate?.choices ?? 1,
    affinityKey: affinityKeyOf({ rule, poolId: pool.id, address, headers, scan: body.scan }),
    answerIds: endpoint === 'responses' ? answerIdsOf(body.scan) : [],
    gone: arrival.gone,
    since,
  }
}

function addressOf({ arrival, setup }: Visit): string {
  return clientAddress({
    peer: arrival.peer,
    forwardedFor: arrival.headers['x-forwarded-for'],
    realIp: arrival.headers['x-real-ip'],
    trusted: setup.trusted,
  })
}
