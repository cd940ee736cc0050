import { GatewayError } from '../errors.ts'
import type { Pool, Pools } from '../pool/pool.ts'
import type { Upstream } from '../pool/upstream.ts'
import type { Endpoint } from '../pool/vocabulary.ts'
import { unknownModel } from './models.ts'

/**
 * The pool that a request goes to; never an empty one.
 *
 * @throws GatewayError `model_not_found` for a name that nobody has, `unsupported_endpoint` where those who have it
 * do not serve the endpoint, `no_upstream` where those who do are disabled
 */
export function poolOf(pools: Pools, model: string, endpoint: Endpoint): Pool {
  const pool = pools.poolFor(model, endpoint)
  if (pool === undefined) throw unknownModel(pools.listedNames, model)
  if (pool.upstreams.length === 0) throw nobodyServes(pools.upstreams, model, endpoint)
  return pool
}

function nobodyServes(upstreams: readonly Upstream[], model: string, endpoint: Endpoint): GatewayError {
  const named = upstreams.filter((upstream) => isCalled(upstream, model))
  const meant = named.length === 0 ? upstreams : named
  const name = named.length === 0 ? 'auto' : model
  if (meant.some(({ endpoints }) => endpoints.has(endpoint))) {
    return new GatewayError(
      'no_upstream',
      `Every upstream of "${name}" that serves "${endpoint}" is disabled (models[].enabled).`,
    )
  }
  const others = upstreams
    .filter(({ enabled, endpoints }) => enabled && endpoints.has(endpoint))
    .map((upstream) => upstream.model)
  const hint = others.length === 0 ? 'no other model does' : `these do: ${[...new Set(others)].join(', ')}`
  const message = `No upstream of "${name}" serves "${endpoint}" (models[].endpoints); ${hint}.`
  return new GatewayError('unsupported_endpoint', message, { param: 'model' })
}

function isCalled({ model, name, groups }: Upstream, asked: string): boolean {
  return model === asked || name === asked || groups.includes(asked)
}
