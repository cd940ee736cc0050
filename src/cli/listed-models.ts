import { createNodeTransport } from '../adapter/node/transport.ts'
import { createClock } from '../adapter/gateway.ts'
import type { Config } from '../config/config.ts'
import { upstreamsOf } from '../config/upstreams.ts'
import { createDiscovery } from '../relay/discovery.ts'
import { createAbilities } from '../state/abilities.ts'
import { createModelLists } from '../state/model-lists.ts'

/**
 * Asks the upstreams whose models stand in no configuration for their lists, as a start does, for 5 s at most: with the
 * upstreams that follow, globs that match nothing, and what could not be had.
 */
export async function askForLists(config: Config) {
  const warnings: string[] = []
  const send = createNodeTransport()
  const discovery = createDiscovery(
    {
      send,
      clock: createClock(),
      abilities: createAbilities(),
      modelLists: createModelLists(),
      report: (event) => void (event.kind === 'notice' && warnings.push(event.message)),
    },
    () => {},
  )
  await discovery.expect(config)
  const unmatched = discovery.unmatched()
  const upstreams = upstreamsOf(config, discovery.listedBy)
  discovery.close()
  await send.close()
  return { upstreams, unmatched, warnings: warnings.filter((warning) => !unmatched.includes(warning)) }
}
