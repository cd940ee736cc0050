import type { RequestSummary } from '../telemetry/live.ts'
import type { GatewayStatus } from '../telemetry/status.ts'
import type { UsageStatus } from '../telemetry/usage.ts'

/** How what is shown comes in: `polling` where the gateway has no stream of events. */
export type Connection = 'connecting' | 'live' | 'polling' | 'offline' | 'paused'

/** What the gateway last said. */
export interface LiveState {
  readonly connection: Connection
  readonly status?: GatewayStatus | undefined
  /** Newest first; undefined where it keeps none. */
  readonly requests?: readonly RequestSummary[] | undefined
  readonly usage?: UsageStatus | undefined
}
export type KnownState = LiveState & { readonly status: GatewayStatus }

/** As many requests are kept in the page. */
const MOST_REQUESTS = 500

/** The state with what an event of the stream says. Pure. */
export function withEvent(state: LiveState, name: string, data: unknown): LiveState {
  switch (name) {
    case 'snapshot':
      return { ...state, ...(data as Required<Omit<LiveState, 'connection'>>) }
    case 'status':
      return { ...state, status: state.status && withChanges(state.status, data as StatusChanges) }
    case 'requests':
      return { ...state, requests: withRequests(state.requests, data as readonly RequestSummary[]) }
    default:
      return state
  }
}

type StatusChanges = Partial<GatewayStatus> & { readonly upstream_ids?: readonly string[] }

/** Only changed upstreams are told, each whole; which there are, and in which order, where that changed. */
function withChanges(status: GatewayStatus, changes: StatusChanges): GatewayStatus {
  const { upstream_ids: ids, upstreams = [], ...fields } = changes
  const known = new Map([...status.upstreams, ...upstreams].map((upstream) => [upstream.id, upstream]))
  const order = ids ?? [...known.keys()]
  return { ...status, ...fields, upstreams: order.flatMap((id) => known.get(id) ?? []) }
}

/** What was known with more of it, each once, newest first. */
export function withRequests(
  before: LiveState['requests'] = [],
  more: readonly RequestSummary[],
  most = MOST_REQUESTS,
): RequestSummary[] {
  const ids = new Set(more.map(({ id }) => id))
  const all = [...more, ...before.filter(({ id }) => !ids.has(id))]
  return all.toSorted((a, b) => Date.parse(b.at) - Date.parse(a.at)).slice(0, most)
}
