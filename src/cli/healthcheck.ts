import { askGateway, gatewayOf } from './running-gateway.ts'
import type { Command } from './arguments.ts'
import { say } from './language.ts'
import { printFailure } from './process.ts'

/** Docker's and systemd's patience is longer; who takes more is not well. */
const TIMEOUT_MS = 3_000

/** Asks `/healthz` of the running gateway, for containers and supervisors: 0 and a line when it is well, else 1 and why. */
export async function checkHealth(command: Command): Promise<number> {
  const gateway = gatewayOf(command)
  if ('problems' in gateway) return printFailure(...gateway.problems)
  const told = await askGateway(gateway, { path: '/healthz', timeoutMs: TIMEOUT_MS })
  if (typeof told === 'string') return printFailure(told)
  if (told.status !== 200) return printFailure(`${gateway.url}/healthz answers ${told.status}`)
  say(`${gateway.url} is well`)
  return 0
}
