import { readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { ProcessFigures } from '../../telemetry/metrics.ts'

/** How often the event loop is looked at, ms; its lag is what a look comes later than that. */
const LOOK_EVERY_MS = 20
const NS_PER_S = 1e9

/**
 * What the process uses, for each scrape: what the system or the runtime does not tell is absent, as descriptors are
 * outside of Linux. The lag of the event loop is that since the last scrape, whoever made it.
 */
export function createProcessFigures(): () => Promise<ProcessFigures> {
  const startedAt = Date.now() / 1_000 - process.uptime()
  const runtime = runtimeName(process.versions)
  const most = statedDescriptorLimit()
  const lag = watchLag()
  return async () => {
    const { user, system } = process.cpuUsage()
    const { rss, heapTotal, heapUsed, external } = process.memoryUsage()
    const open = await openDescriptors()
    return {
      runtime,
      process_cpu_user_seconds_total: user / 1e6,
      process_cpu_system_seconds_total: system / 1e6,
      process_cpu_seconds_total: (user + system) / 1e6,
      process_start_time_seconds: startedAt,
      process_resident_memory_bytes: rss,
      ...(open !== undefined && { process_open_fds: open }),
      ...(most !== undefined && { process_max_fds: most }),
      nodejs_heap_size_total_bytes: heapTotal,
      nodejs_heap_size_used_bytes: heapUsed,
      nodejs_external_memory_bytes: external,
      ...lag(),
    }
  }
}

/** Bun and Deno give Node's version too. */
function runtimeName({ node, bun, deno }: Readonly<Record<string, string | undefined>>): string {
  if (bun !== undefined) return `bun ${bun}`
  return deno === undefined ? `node ${node}` : `deno ${deno}`
}

/** Not every runtime has the monitor, or all of it. */
function watchLag(): () => Partial<ProcessFigures> {
  try {
    const delay = monitorEventLoopDelay({ resolution: LOOK_EVERY_MS })
    delay.enable()
    const secondsOf = (ns: number): number => Math.max(0, ns / NS_PER_S - LOOK_EVERY_MS / 1_000)
    return () => {
      // Without a look since the last scrape the mean is NaN.
      const figures = {
        nodejs_eventloop_lag_seconds: secondsOf(delay.mean || 0),
        nodejs_eventloop_lag_p99_seconds: secondsOf(delay.percentile(99)),
        nodejs_eventloop_lag_max_seconds: secondsOf(delay.max),
      }
      delay.reset()
      return figures
    }
  } catch {
    return () => ({})
  }
}

async function openDescriptors(): Promise<number | undefined> {
  try {
    // One of them is of the reading itself.
    return (await readdir('/proc/self/fd')).length - 1
  } catch {
    return undefined
  }
}

/** Where the system does not tell: macOS by default; Windows knows no limit. */
const USUAL_DESCRIPTORS = 10_240

/** How many descriptors the process may have open. */
export const descriptorLimit = (): number => statedDescriptorLimit() ?? USUAL_DESCRIPTORS

/** Node raises the soft limit to the hard one when it starts. */
function statedDescriptorLimit(): number | undefined {
  try {
    const [, soft] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? []
    return soft === undefined ? undefined : Number(soft)
  } catch {
    return undefined
  }
}
