import { setInterval } from 'node:timers'

/** Under npm one Ctrl-C may come twice, from the terminal and from npm. Nobody's second thought is that quick. */
const SAME_CTRL_C_MS = 100

/** How often the parent is looked at. */
const PARENT_CHECK_MS = 500

/**
 * Takes SIGTERM, SIGINT and SIGHUP, on Node, Bun and Deno. Called first of all: process 1 of a container gets no signal
 * that it does not listen to, and everywhere else SIGHUP would kill. The second signal to end exits at once.
 *
 * Told to stop, npm ends only the shell between itself and us (npm 11, Debian's dash), so a gateway that npm
 * started ends as well when its parent has gone.
 */
export function takeSignals() {
  let hangUp = (): void => {}
  let first: { readonly signal: string; readonly at: number } | undefined
  const toEnd = new Promise<string>((resolve) => {
    const end = (signal: string): void => {
      const at = performance.now()
      if (first?.signal === signal && signal === 'SIGINT' && at - first.at < SAME_CTRL_C_MS) return
      // Two requests to stop are still an orderly stop, so supervisors need not be alarmed.
      if (first !== undefined) process.exit(0)
      first = { signal, at }
      resolve(signal)
    }
    process.on('SIGTERM', end)
    process.on('SIGINT', end)
    if (process.env.npm_lifecycle_event === undefined) return
    const { ppid } = process
    const timer = setInterval(() => {
      if (process.ppid === ppid) return
      clearInterval(timer)
      end('the end of npm')
    }, PARENT_CHECK_MS)
    timer.unref()
  })
  process.on('SIGHUP', () => hangUp())
  return {
    /** Resolves with the first one that asks for the end. */
    toEnd,
    /** Sets what SIGHUP does; before that it does nothing. */
    onHangUp: (task: () => void) => void (hangUp = task),
  }
}
