import type { Command } from './arguments.ts'
import { say } from './language.ts'
import { printFailure } from './process.ts'
import { askGateway, withGateway } from './running-gateway.ts'

/** Docker's and systemd's patience is longer; who takes more is not well. */
const TIMEOUT_MS = 3_000

/** Asks `/healthz` of the running gateway, for containers and supervisors: 0 and a line when it is well, else 1 and why. */
export const checkHealth = (command: Command): Promise<number> =>
  withGateway(command, async (gateway) => {
    const { status } = await askGateway(gateway, { path: '/healthz', timeoutMs: TIMEOUT_MS })
    if (status !== 200) return printFailure(`${gateway.url}/healthz answers ${status}`)
    say(`${gateway.url} is well`)
    return 0
  })
