import type { GatewayEvent, Report } from '../relay/event.ts'

/**
 * One report that hands every event to all of `reports`, in their order. One that throws keeps no other from
 * the event and never reaches the caller: the relay has a client to serve, whatever becomes of the telling.
 */
export function fanOut(reports: readonly Report[]): Report {
  return (event) => {
    for (const report of reports) tell(report, event)
  }
}

function tell(report: Report, event: GatewayEvent): void {
  try {
    report(event)
  } catch {
    // There is nobody left to tell: the one that failed may be the log itself.
  }
}
