import type { Config } from '../config/config.ts'
import { loadConfig } from '../config/load.ts'
import { problemLine } from '../config/problem.ts'
import type { PretendUpstream } from './demo-upstream.ts'

/** The demo's token is no secret: the gateway listens on the loopback address alone and spends nobody's money. */
export const demoToken = 'sk-demo'

/** The configuration of the demo, through the same door as everybody's. */
export function demoConfig(upstreams: readonly PretendUpstream[], port: number): Config {
  const text = JSON.stringify({
    auth_token: demoToken,
    models: upstreams.map(({ nature, url }) => ({
      name: nature.name,
      model: nature.model,
      base_url: `${url}/v1`,
      endpoints: ['chat'],
    })),
    server: { host: '127.0.0.1', port },
    settings: { strategy: 'round_robin', affinity: 'off', timeout: 30, drain_timeout: 1 },
  })
  const loaded = loadConfig(text, {}, 'the demo')
  if (!loaded.ok) throw new Error(loaded.problems.map(problemLine).join('\n'))
  return loaded.config
}
