import { eventFileOf, readFiles, secretIn } from '../adapter/node/event-file.ts'
import { stateFileOf } from '../adapter/node/state-file.ts'
import type { Decision, Explanation } from '../events/explain.ts'
import { explained, type ExplainedId } from '../events/requests.ts'
import { searchOf, type Command } from './arguments.ts'
import { say } from './language.ts'
import {
  acceptedBy,
  askGateway,
  GatewayFailure,
  jsonIn,
  withGateway,
  type RunningGateway,
} from './running-gateway.ts'
import { plainLine } from './terminal-text.ts'

/** Tells why a request went where it went; of a gateway that does not run, from its file. 1 when it is not known. */
export const explainRequest = (command: Command): Promise<number> =>
  withGateway(command, async (gateway) => {
    const told = await toldOf(gateway, command)
    if (command.json) process.stdout.write(`${JSON.stringify(told, undefined, 2)}\n`)
    else say(...('requests' in told ? listLines(told.requests) : explanationLines(told)).map(plainLine))
    return 0
  })

async function toldOf(gateway: RunningGateway, { word: id = '', config }: Command): Promise<ExplainedId> {
  try {
    const answer = await askGateway(gateway, { path: `/admin/requests/${encodeURIComponent(id)}` })
    return jsonIn<Explanation>(acceptedBy(gateway, answer)) as ExplainedId
  } catch (error) {
    if (!(error instanceof GatewayFailure) || error.isRefusal) throw error
    const file = eventFileOf(stateFileOf(gateway.file, searchOf(config).directory))
    const secret = secretIn(file) ?? new Uint32Array(1)
    const lost: string[] = []
    const found = await explained(id, segmentsOf(file, lost), { secret })
    if (found !== undefined) return found
    throw new GatewayFailure(
      [error.message, `${file} has no request ${JSON.stringify(id)}`, ...lost].join('; '),
    )
  }
}

/** Of a gateway that does not run; the newest first. `lost`: see `ArchivedFile`. */
async function* segmentsOf(file: string, lost: string[]) {
  for await (const { segments, lost: words } of readFiles(file)) {
    if (words !== undefined) lost.push(words)
    for (const segment of segments.toReversed()) yield { segment, isAlive: false }
  }
}

function listLines(requests: readonly Explanation['request'][]): string[] {
  return [
    `the newest ${requests.length} requests that bear this id; ask for one of them:`,
    ...requests.map(({ id, at, status, upstream }) => ['', id, at, status, upstream ?? '-'].join('  ')),
  ]
}

/** The request, its choices and attempts in the order in which they came, and its end. */
function explanationLines({ request, decisions, attempts, end, exact }: Explanation): string[] {
  const { id, at, endpoint, model, token } = request
  const steps = [
    ...decisions.map((decision) => ({ ms: decision.after_ms, lines: decisionLines(decision) })),
    ...attempts.map((attempt) => ({
      ms: attempt.started_ms,
      lines: [
        `  asked ${attempt.upstream}: ${attempt.outcome}${attempt.status === null ? '' : `, status ${attempt.status}`} after ${attempt.duration_ms} ms`,
      ],
    })),
  ].toSorted((a, b) => a.ms - b.ms)
  return [
    `request ${id} at ${at}: ${endpoint}, model ${model || 'auto'}${token === null ? '' : `, token ${token}`}`,
    ...steps.flatMap(({ ms, lines }) => [`after ${ms} ms`, ...lines]),
    endLine(request, end),
    ...(exact ? [] : ['a choice did not fall again as it had: the explanation is not exact']),
  ]
}

function endLine({ duration_ms: ms }: Explanation['request'], end: Explanation['end']): string {
  if (end === null) return 'it is under way'
  const { status, code, text } = end
  return status === 0 ? text : `after ${ms} ms: ${text} (${[status, code].filter(Boolean).join(' ')})`
}

function decisionLines({
  kind,
  strategy,
  candidates,
  unavailable,
  order,
  chosen,
  remembered,
}: Decision): string[] {
  return [
    `  ${kind} by ${strategy}: ${order.join(', ') || 'nobody'}`,
    ...(remembered === null ? [] : [`  ${remembered} served the same client or conversation before`]),
    ...candidates.map(
      ({ upstream, headroom, in_flight: inFlight, standing }) =>
        `    could: ${upstream}, ${Math.round(headroom * 100)} % free, ${inFlight} in flight${standing === null ? '' : `, ${standing}`}`,
    ),
    ...unavailable.map(({ upstream, why, until, source }) =>
      until === null
        ? `    could not: ${upstream}, ${why} (${source})`
        : `    could not until ${until}: ${upstream}, ${why} (${source})`,
    ),
    chosen === null ? '  taken: nobody' : `  taken: ${chosen}`,
  ]
}
