import type { GatewayStatus, UpstreamStatus } from '../telemetry/status.ts'
import type { Command } from './arguments.ts'
import { inTheirLanguage, say } from './language.ts'
import {
  acceptedBy,
  askGateway,
  askStatus,
  jsonIn,
  withGateway,
  type RunningGateway,
} from './running-gateway.ts'
import { countText, durationText, limitText, tableLines } from './terminal-text.ts'

/** Prints what the running gateway knows of its upstreams, as a table or as it answers; 1 when it can't be asked. */
export const printStatus = (command: Command): Promise<number> =>
  withGateway(command, async (gateway) => {
    const status = await askStatus(gateway)
    process.stdout.write(
      command.json ? `${JSON.stringify(status, undefined, 2)}\n` : statusText(status, gateway),
    )
    return 0
  })

/** Ends the rest of an upstream in the running gateway; 1 when there is none of that name, or it can't be asked. */
export const forgetUpstream = (command: Command): Promise<number> =>
  withGateway(command, async (gateway) => {
    const { word: upstream = '' } = command
    const told = await askGateway(gateway, { path: '/admin/forget', body: { upstream } })
    const { ended = [] } = jsonIn<{ ended: readonly string[] }>(acceptedBy(gateway, told))
    const what = ended.length === 0 ? 'did not rest' : `rests no longer (what rested: ${ended.join(', ')})`
    say(`${upstream} ${what}`)
    return 0
  })

/** Has an upstream of the running gateway take no new request, or takes that back; 1 where that can't be done. */
export const sendPause = (command: Command, how: 'pause' | 'resume'): Promise<number> =>
  withGateway(command, async (gateway) => {
    const { word: upstream = '' } = command
    acceptedBy(gateway, await askGateway(gateway, { path: `/admin/${how}`, body: { upstream } }))
    say(how === 'pause' ? `${upstream} is paused until you resume it` : `${upstream} is not paused any more`)
    return 0
  })

/** The gateway in two lines, its upstreams as a table, and below it what those say that don't work. */
export function statusText(status: GatewayStatus, { url }: Pick<RunningGateway, 'url'>): string {
  const { version, uptime_ms: uptimeMs, strategy, affinity, queue, upstreams } = status
  const rows = upstreams.map((upstream) => [
    upstream.name,
    inTheirLanguage(stateText(upstream)),
    String(upstream.in_flight),
    inTheirLanguage(upstream.windows.map(limitText).join('; ')),
  ])
  const lines = [
    `AILoad ${version} at ${url}, up ${durationText(uptimeMs)}; strategy ${strategy}, affinity ${affinity}`,
    ...(queue.waiting > 0 ? [`${countText(queue.waiting, 'request')} waiting for an upstream`] : []),
    ...(status.draining ? ['it is stopping: open answers may finish, new requests are refused'] : []),
    ...reloadLines(status),
  ]
  const table = tableLines([['UPSTREAM', 'STATE', 'IN FLIGHT', 'LIMITS'].map(inTheirLanguage), ...rows])
  const all = [
    ...lines.map(inTheirLanguage),
    '',
    ...table,
    ...errorLines(upstreams).map(inTheirLanguage),
    ...needLines(status),
  ]
  return `${all.join('\n')}\n`
}

function reloadLines({ last_reload: reload, config_warnings: warnings }: GatewayStatus): string[] {
  return [
    ...(reload?.ok === false
      ? [`the configuration that was changed at ${reload.at} is refused:`, ...reload.problems.map(indented)]
      : []),
    ...(warnings.length > 0
      ? [`${countText(warnings.length, 'warning')} of the configuration:`, ...warnings.map(indented)]
      : []),
  ]
}

/** What is to be done, but for what stands above the table already. */
function needLines({ needs_you: needs }: GatewayStatus): string[] {
  const other = needs.filter(({ kind }) => kind !== 'reload_refused' && kind !== 'config_warning')
  if (other.length === 0) return []
  return ['', inTheirLanguage('needs you:'), ...other.map(({ text }) => indented(inTheirLanguage(text)))]
}

const indented = (line: string): string => `  ${line}`

/** Hours on, a date says more than a duration. */
const LONG_MS = 3_600_000

/** Who else rests with an upstream; a shared quota goes by its own name. */
const ownerWords: ReadonlyMap<string, string> = new Map([
  ['key', 'all with its key'],
  ['origin', 'all at its host'],
  ['proxy', 'all behind its proxy'],
])

function stateText({
  enabled,
  why,
  blocked_by: owner,
  until,
  for_ms: forMs,
  resting_endpoints: resting,
}: UpstreamStatus) {
  if (!enabled) return 'disabled'
  if (why === null)
    return ['available', ...resting.map((one) => `${one.endpoint} rests: ${one.why}`)].join('; ')
  const whose = owner === null || owner === 'upstream' ? '' : ` (${ownerWords.get(owner) ?? owner})`
  const time = forMs === null ? '' : `, for ${durationText(forMs)}`
  const date = forMs !== null && forMs >= LONG_MS ? `, until ${until}` : ''
  return `${why}${whose}${time}${date}`
}

/** What upstreams said that do not serve: a limit says it all in its state. */
function errorLines(upstreams: readonly UpstreamStatus[]): string[] {
  const failing = upstreams.filter(
    ({ available, enabled, last_error: error }) => enabled && !available && error,
  )
  return failing.flatMap(({ name, last_error: error }) => {
    if (error === null) return []
    const what = error.reason ?? (error.status === null ? 'no answer' : `status ${error.status}`)
    const words = error.message === null ? '' : `: ${error.message}`
    return ['', `${name}, last error at ${error.at}: ${what} at ${error.url}${words}`]
  })
}
