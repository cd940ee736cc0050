import type { ShownRequest, ShownStatus, ShownUsage } from './api.ts'

/** How what is shown comes in: `polling` where the gateway has no stream of events. */
export type Connection = 'connecting' | 'live' | 'polling' | 'offline' | 'paused'

/** What the gateway last said. `requests` is undefined where it keeps none. */
export interface LiveState {
  readonly connection: Connection
  readonly status: ShownStatus | undefined
  /** Newest first. */
  readonly requests: readonly ShownRequest[] | undefined
  readonly usage: ShownUsage | undefined
}

/** As many requests are kept in the page. */
const MOST_REQUESTS = 500

/** The state with what an event of the stream says. Pure. */
export function withEvent(state: LiveState, name: string, data: unknown): LiveState {
  switch (name) {
    case 'snapshot': {
      const { status, requests, usage } = data as Pick<LiveState, 'status' | 'requests' | 'usage'>
      return { connection: 'live', status: status ?? state.status, requests, usage: usage ?? state.usage }
    }
    case 'status':
      return { ...state, status: withChanges(state.status, data as StatusChanges) }
    case 'request':
      return { ...state, requests: withRequests(state.requests, [data as ShownRequest]) }
    case 'requests': {
      const many = Array.isArray(data) ? data : (data as { requests?: unknown }).requests
      return { ...state, requests: withRequests(state.requests, (many ?? []) as ShownRequest[]) }
    }
    case 'usage':
      return { ...state, usage: data as ShownUsage }
    default:
      return state
  }
}

type StatusChanges = Partial<ShownStatus> & { readonly upstream_ids?: readonly string[] }

/** Only changed upstreams are told, each whole; which there are, and in which order, where that changed. */
function withChanges(status: ShownStatus | undefined, changes: StatusChanges): ShownStatus | undefined {
  if (status === undefined) return undefined
  const { upstream_ids: ids, upstreams = [], ...fields } = changes
  const keyOf = ({ id, name }: ShownStatus['upstreams'][number]): string => id ?? name
  const known = new Map([...status.upstreams, ...upstreams].map((upstream) => [keyOf(upstream), upstream]))
  const order = ids ?? [...known.keys()]
  return { ...status, ...fields, upstreams: order.flatMap((id) => known.get(id) ?? []) }
}

/** What was known with more of it, each once. */
export function withRequests(
  before: LiveState['requests'],
  more: readonly ShownRequest[],
): LiveState['requests'] {
  const ids = new Set(more.map(({ id }) => id))
  const rest = (before ?? []).filter(({ id }) => !ids.has(id))
  const newest = [...more, ...rest].toSorted((a, b) => Date.parse(b.at) - Date.parse(a.at))
  return newest.slice(0, MOST_REQUESTS)
}
