import type { GatewayStatus, UpstreamStatus } from '../../src/telemetry/status.ts'
import type { GatewayProcess } from './gateway-process.ts'

/** What `/admin/status` of a process says. */
export async function statusOf(gateway: GatewayProcess): Promise<GatewayStatus> {
  const answer = await gateway.fetch('/admin/status')
  const status: GatewayStatus = JSON.parse(await answer.text())
  return status
}

/** The same of one upstream. */
export async function upstreamStatus(gateway: GatewayProcess, name: string): Promise<UpstreamStatus> {
  const { upstreams } = await statusOf(gateway)
  const upstream = upstreams.find((one) => one.name === name)
  if (upstream === undefined) throw new Error(`there is no upstream ${name}`)
  return upstream
}
