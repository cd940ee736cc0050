import { createEventScanner } from '../lib/sse.ts'
import type { RequestList } from '../events/requests.ts'
import type { GatewayStatus } from '../telemetry/status.ts'
import type { UsageStatus } from '../telemetry/usage.ts'
import { ApiError, type Api } from './api.ts'
import { withEvent, withRequests, type LiveState } from './live.ts'

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

/** Follows the gateway until it is closed; `onChange` gets all that is known, at each change. */
export function follow(api: Api, onChange: (state: LiveState) => void) {
  let state: LiveState = { connection: 'connecting' }
  let abort = new AbortController()
  let isClosed = false
  let hiddenTimer: ReturnType<typeof setTimeout> | undefined
  let wake = (): void => {}

  const set = (more: Partial<LiveState>): void => {
    if (!isClosed) onChange((state = { ...state, ...more }))
  }
  const connectionNow = (): LiveState['connection'] => state.connection
  const sleep = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      wake = resolve
      setTimeout(resolve, ms)
    })

  /** What the gateway does not have is not asked for again. */
  const missing = new Set<string>()
  async function optional<T>(path: string): Promise<T | undefined> {
    if (missing.has(path)) return undefined
    try {
      return await api.json<T>(path, { signal: abort.signal })
    } catch (error) {
      if (!(error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 401))
        throw error
      missing.add(path)
      return undefined
    }
  }

  const askUsage = async (): Promise<void> => set({ usage: await optional<UsageStatus>('admin/usage') })

  /** Until the stream ends; false where there is none. */
  async function stream(): Promise<boolean> {
    const answer = await api.raw('admin/events', { signal: abort.signal })
    if ([404, 405, 429].includes(answer.status)) return false
    if (!answer.ok || answer.body === null) throw new ApiError(answer.status)
    const scanner = createEventScanner(MOST_EVENT_CHARS)
    const reader = answer.body.getReader()
    let silence: ReturnType<typeof setTimeout> | undefined
    // The sums of usage change slowly, and are not in the stream.
    const usageTimer = setInterval(() => void askUsage().catch(() => {}), USAGE_EVERY_MS)
    try {
      for (;;) {
        silence = setTimeout(() => void reader.cancel(), SILENCE_MS)
        const { done, value } = await reader.read()
        clearTimeout(silence)
        if (done) return true
        let next = state
        for (const { event, data } of scanner.push(value)) next = withEvent(next, event, JSON.parse(data))
        if (next !== state) set({ ...next, connection: 'live' })
      }
    } finally {
      clearTimeout(silence)
      clearInterval(usageTimer)
    }
  }

  let usageAt = -Infinity
  async function poll(): Promise<void> {
    const status = await api.json<GatewayStatus>('admin/status', { signal: abort.signal })
    const list = await optional<RequestList>('admin/requests?limit=100')
    set({ connection: 'polling', status, requests: list && withRequests(state.requests, list.requests) })
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
        if (error instanceof ApiError && error.status === 401) return
        const was = connectionNow()
        if (was === 'paused') continue
        if (was === 'live') retryMs = RETRY_MS
        set({ connection: 'offline' })
        await sleep(retryMs * (0.8 + Math.random() * 0.4))
        retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS)
      }
    }
  }

  function onVisibility(): void {
    clearTimeout(hiddenTimer)
    if (document.visibilityState === 'hidden') {
      hiddenTimer = setTimeout(() => {
        set({ connection: 'paused' })
        abort.abort()
      }, HIDDEN_MS)
    } else if (state.connection === 'paused' || state.connection === 'offline') {
      abort = new AbortController()
      set({ connection: 'connecting' })
      wake()
    }
  }
  document.addEventListener('visibilitychange', onVisibility)
  void run()

  return {
    /** Asks for the status now; for after a change of one's own. */
    async refresh(): Promise<void> {
      const status = await api.json<GatewayStatus>('admin/status').catch(() => state.status)
      set({ status })
    },
    close(): void {
      isClosed = true
      abort.abort()
      clearTimeout(hiddenTimer)
      wake()
      document.removeEventListener('visibilitychange', onVisibility)
    },
  }
}
