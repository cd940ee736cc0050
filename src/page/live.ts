import { createEventScanner } from '../lib/sse.ts'
import { ApiError, type Api, type RequestSummary, type Status, type Usage } from './api.ts'

/** How what is shown comes in: `polling` where the gateway has no stream of events. */
export type Connection = 'connecting' | 'live' | 'polling' | 'offline' | 'paused'

/** What the gateway last said. `requests` is undefined where it keeps none. */
export interface LiveState {
  readonly connection: Connection
  readonly status: Status | undefined
  /** Newest first. */
  readonly requests: readonly RequestSummary[] | undefined
  readonly usage: Usage | undefined
}

/** As many requests are kept in the page. */
const MOST_REQUESTS = 500
const POLL_MS = 2_000
const USAGE_EVERY_MS = 20_000
/** Between tries to connect, doubled each time. */
const RETRY_MS = 1_000
const LONGEST_RETRY_MS = 30_000
/** A hidden tab is kept up to date for so long. */
const HIDDEN_MS = 60_000
/** The gateway sends a sign of life every 15 s; a connection that is silent for longer is gone. */
const SILENCE_MS = 40_000
/** A snapshot of many upstreams with their last requests is no small event. */
const MOST_EVENT_CHARS = 16 * 1024 * 1024

const NOTHING: LiveState = {
  connection: 'connecting',
  status: undefined,
  requests: undefined,
  usage: undefined,
}

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
      return { ...state, requests: withRequests(state.requests, [data as RequestSummary]) }
    case 'requests': {
      const many = Array.isArray(data) ? data : (data as { requests?: unknown }).requests
      return { ...state, requests: withRequests(state.requests, (many ?? []) as RequestSummary[]) }
    }
    case 'usage':
      return { ...state, usage: data as Usage }
    default:
      return state
  }
}

type StatusChanges = Partial<Status> & { readonly upstream_ids?: readonly string[] }

/** Only changed upstreams are told, each whole; which there are, and in which order, where that changed. */
function withChanges(status: Status | undefined, changes: StatusChanges): Status | undefined {
  if (status === undefined) return undefined
  const { upstream_ids: ids, upstreams = [], ...fields } = changes
  const keyOf = ({ id, name }: Status['upstreams'][number]): string => id ?? name
  const known = new Map([...status.upstreams, ...upstreams].map((upstream) => [keyOf(upstream), upstream]))
  const order = ids ?? [...known.keys()]
  return { ...status, ...fields, upstreams: order.flatMap((id) => known.get(id) ?? []) }
}

function withRequests(before: LiveState['requests'], more: readonly RequestSummary[]): LiveState['requests'] {
  const ids = new Set(more.map(({ id }) => id))
  const rest = (before ?? []).filter(({ id }) => !ids.has(id))
  const newest = [...more, ...rest].toSorted((a, b) => Date.parse(b.at) - Date.parse(a.at))
  return newest.slice(0, MOST_REQUESTS)
}

/** Follows the gateway until it is closed; `onChange` gets all that is known, at each change. */
export function follow(api: Api, onChange: (state: LiveState) => void) {
  let state = NOTHING
  let abort = new AbortController()
  let isClosed = false
  let hiddenTimer: ReturnType<typeof setTimeout> | undefined
  let wake: (() => void) | undefined

  const set = (next: LiveState): void => {
    if (isClosed) return
    state = next
    onChange(state)
  }
  const connection = (next: Connection): void => {
    if (state.connection !== next) set({ ...state, connection: next })
  }
  const connectionNow = (): Connection => state.connection
  const sleep = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })

  /** What the gateway does not have; not asked for again until the next connection. */
  const missing = new Set<string>()
  async function optional<T>(path: string): Promise<T | undefined> {
    if (missing.has(path)) return undefined
    try {
      return await api.json<T>(path, { signal: abort.signal })
    } catch (error) {
      if (error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 401) {
        missing.add(path)
        return undefined
      }
      throw error
    }
  }

  async function askUsage(): Promise<void> {
    const usage = await optional<Usage>('admin/usage')
    set({ ...state, usage })
  }

  /** Until the stream ends; false where there is none. */
  async function stream(): Promise<boolean> {
    const { signal } = abort
    const answer = await api.raw('admin/events', { signal })
    if (answer.status === 404 || answer.status === 405 || answer.status === 429) return false
    if (!answer.ok || answer.body === null) throw new ApiError(answer.status, '')
    const scanner = createEventScanner(MOST_EVENT_CHARS)
    const reader = answer.body.getReader()
    let silence = setTimeout(() => void reader.cancel(), SILENCE_MS)
    // The sums of usage change slowly, and are not in the stream.
    const usageTimer = setInterval(() => void askUsage().catch(() => {}), USAGE_EVERY_MS)
    try {
      for (let read = await reader.read(); !read.done; read = await reader.read()) {
        clearTimeout(silence)
        silence = setTimeout(() => void reader.cancel(), SILENCE_MS)
        let next = state
        for (const { event, data } of scanner.push(read.value))
          next = withEvent(next, event, JSON.parse(data))
        if (next !== state) set({ ...next, connection: 'live' })
      }
    } finally {
      clearTimeout(silence)
      clearInterval(usageTimer)
    }
    return true
  }

  let usageAt = -Infinity
  async function poll(): Promise<void> {
    const status = await api.json<Status>('admin/status', { signal: abort.signal })
    const list = await optional<{ requests: readonly RequestSummary[] }>('admin/requests?limit=100')
    const requests = list === undefined ? undefined : withRequests(state.requests, list.requests)
    set({ ...state, connection: 'polling', status, requests })
    if (performance.now() - usageAt < USAGE_EVERY_MS) return
    usageAt = performance.now()
    await askUsage()
  }

  async function run(): Promise<void> {
    let hasStream = true
    let polls = 0
    for (let retryMs = RETRY_MS; ;) {
      if (isClosed) return
      if (state.connection === 'paused') {
        await sleep(LONGEST_RETRY_MS)
        continue
      }
      try {
        if (hasStream) hasStream = await stream()
        if (hasStream) throw new ApiError(0, 'the stream has ended')
        await poll()
        retryMs = RETRY_MS
        // A stream that was full has a place again some time.
        if (++polls % 30 === 0) hasStream = true
        await sleep(POLL_MS)
      } catch (error) {
        if (isClosed || (error instanceof ApiError && error.status === 401)) return
        const was = connectionNow()
        if (was === 'paused') continue
        if (was === 'live') retryMs = RETRY_MS
        connection('offline')
        await sleep(retryMs * (0.8 + Math.random() * 0.4))
        retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS)
      }
    }
  }

  function onVisibility(): void {
    clearTimeout(hiddenTimer)
    if (document.visibilityState === 'hidden') {
      hiddenTimer = setTimeout(() => {
        connection('paused')
        abort.abort()
      }, HIDDEN_MS)
    } else if (state.connection === 'paused' || state.connection === 'offline') {
      abort = new AbortController()
      connection('connecting')
      wake?.()
    }
  }
  document.addEventListener('visibilitychange', onVisibility)
  void run()

  return {
    /** Asks for the status now; for after a change of one's own. */
    async refresh(): Promise<void> {
      const status = await api.json<Status>('admin/status').catch(() => undefined)
      if (status !== undefined) set({ ...state, status })
    },
    close(): void {
      isClosed = true
      abort.abort()
      clearTimeout(hiddenTimer)
      wake?.()
      document.removeEventListener('visibilitychange', onVisibility)
    },
  }
}
