import { existsSync, readFileSync } from 'node:fs'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { systemCodeOf } from '../../errors.ts'
import { instantOf, type Clock } from '../../lib/clock.ts'
import type { Report } from '../../relay/deps.ts'
import type { MemoryStore } from '../../state/memory.ts'
import type { KeptState } from '../../state/snapshot.ts'
import type { UsageHistory } from '../../telemetry/usage.ts'
import { keepUsage } from './kept-usage.ts'

const USUAL_NAME = 'state.json'

/**
 * Where state is kept across restarts: `data/state.json` when the configuration is in its usual place below
 * `directory`, else beside the file that was named: `state.json` for `config.json`, `state-my.json` for `my.json`, so that
 * two gateways whose configurations lie in one folder do not write over each other's.
 */
export function stateFileOf(configFile: string, directory: string): string {
  const file = resolve(directory, configFile)
  const data = resolve(directory, 'data')
  const isUsual = file === join(data, 'config', 'config.json') || file === join(data, 'config.json')
  if (isUsual) return join(data, USUAL_NAME)
  const name = basename(file, '.json')
  return join(dirname(file), name === 'config' ? USUAL_NAME : `state-${name}.json`)
}

/** What stands in the file: the store's own part, and sums of usage beside it. */
type KeptFile = KeptState & { readonly usage?: unknown }

/** What an earlier process kept, and in which file. Until 0.1.0 all configurations of a folder kept it in one. @throws */
function readState(file: string): { state: KeptFile; from: string } {
  const former = join(dirname(file), USUAL_NAME)
  const from = existsSync(file) || !existsSync(former) ? file : former
  return { state: JSON.parse(readFileSync(from, 'utf8')) as KeptFile, from }
}

/** Two changes within this time share a write; together with the write itself it stays under 2 s. */
const WRITE_EVERY_MS = 1_000
/** Sums of usage change with every request, and are worth a write by themselves once in this time. */
const USAGE_EVERY_MS = 60_000

/**
 * Takes back what an earlier process kept, and writes every change that counts within 2 s.
 *
 * A missing or damaged file is none: state is rebuilt by what upstreams answer. A directory that can't be
 * written is one warning.
 */
export function keepState(
  file: string,
  store: MemoryStore,
  { clock, report, usage: history }: { clock: Clock; report: Report; usage: UsageHistory },
) {
  const usage = keepUsage(history, clock.now)
  const warn = (message: string): void => report({ kind: 'notice', level: 'warning', message })
  try {
    const { state, from } = readState(file)
    if (state.version === 1) {
      store.restore(state, instantOf(clock))
      usage.restore(state.usage)
    }
    if (from !== file)
      report({
        kind: 'notice',
        level: 'info',
        message: `state was read from ${from}; it is kept in ${file} now`,
      })
  } catch (error) {
    // What can't be read has a code of the system.
    if (systemCodeOf(error) === undefined)
      warn(`${file} is damaged and was reset; limits are learned again from the next answers`)
  }
  let written = store.changes
  let usageWritten = { changes: usage.changes, at: clock.now() }
  let problem: string | undefined
  let hasWarned = false
  let writing: Promise<void> | undefined

  /** @param usageFreshMs how old the sums of usage may be that are written */
  async function write(usageFreshMs: number): Promise<void> {
    written = store.changes
    usageWritten = { changes: usage.changes, at: clock.now() }
    const kept = JSON.stringify(store.keep(instantOf(clock)))
    const text = `${kept.slice(0, -1)},"usage":${usage.text(usageFreshMs)}}`
    try {
      await mkdir(dirname(file), { recursive: true })
      await writeFile(`${file}.tmp`, text, { mode: 0o600 })
      await rename(`${file}.tmp`, file)
      problem = undefined
    } catch (error) {
      const code = systemCodeOf(error) ?? 'unknown error'
      problem = `state is not kept across a restart: ${file} can't be written (${code})`
      if (!hasWarned) warn(problem)
      hasWarned = true
    }
  }

  const timer = setInterval(() => {
    const isUsageDue =
      usage.changes !== usageWritten.changes && clock.now() - usageWritten.at >= USAGE_EVERY_MS
    if (writing !== undefined || (store.changes === written && !isUsageDue)) return
    writing = write(USAGE_EVERY_MS).finally(() => (writing = undefined))
  }, WRITE_EVERY_MS)
  timer.unref()
  return {
    /** Why it can't be kept, in a sentence; undefined where the last write went well. */
    problem: () => problem,
    /** Stops the regular writing, and writes the state a last time. */
    async close(): Promise<void> {
      clearInterval(timer)
      await writing
      await write(0)
    },
  }
}
