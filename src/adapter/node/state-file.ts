import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { systemCodeOf } from '../../errors.ts'
import { instantOf, type Clock } from '../../lib/clock.ts'
import type { Report } from '../../relay/deps.ts'
import type { MemoryStore } from '../../state/memory.ts'
import type { KeptState } from '../../state/snapshot.ts'

/** Keeps a store's state in a file. */
export interface StateFile {
  /** Writes what is not written yet, now; for the end of the process. */
  save(): void
  /** Stops the regular writing. */
  stop(): void
}

interface StateFileOptions {
  readonly file: string
  readonly store: MemoryStore
  readonly clock: Clock
  readonly report: Report
}

/**
 * Where state is kept across restarts: `data/state.json` when the configuration is in its usual place below
 * `directory`, else beside the file that was named.
 */
export function stateFileOf(configFile: string, directory: string): string {
  const file = resolve(directory, configFile)
  const data = resolve(directory, 'data')
  const isUsual = file === join(data, 'config', 'config.json') || file === join(data, 'config.json')
  return join(isUsual ? data : dirname(file), 'state.json')
}

/** Two changes within this time share a write; together with the write itself it stays under 2 s. */
const WRITE_EVERY_MS = 1_000

/**
 * Takes back what an earlier process kept, and writes every change that counts within 2 s.
 *
 * A missing or damaged file is none: state is rebuilt by what upstreams answer. A directory that can't be
 * written is one warning.
 */
export function keepState(options: StateFileOptions): StateFile {
  const { file, store, clock, report } = options
  restoreFrom(options)
  let written = store.changes
  let isWriting = false
  let hasWarned = false

  function warn(error: unknown): void {
    if (hasWarned) return
    hasWarned = true
    report({
      kind: 'notice',
      level: 'warning',
      message: `state is not kept across a restart: ${file} can't be written (${systemCodeOf(error) ?? 'unknown error'})`,
    })
  }
  const text = (): string => JSON.stringify(store.keep(instantOf(clock)))

  async function write(): Promise<void> {
    if (isWriting || store.changes === written) return
    isWriting = true
    const upTo = store.changes
    try {
      mkdirSync(dirname(file), { recursive: true })
      await writeFile(`${file}.tmp`, text(), { mode: 0o600 })
      await rename(`${file}.tmp`, file)
      written = upTo
    } catch (error) {
      written = upTo
      warn(error)
    } finally {
      isWriting = false
    }
  }

  const timer = setInterval(() => void write(), WRITE_EVERY_MS)
  timer.unref()
  return {
    save() {
      try {
        mkdirSync(dirname(file), { recursive: true })
        writeFileSync(`${file}.end.tmp`, text(), { mode: 0o600 })
        renameSync(`${file}.end.tmp`, file)
      } catch (error) {
        warn(error)
      }
    },
    stop: () => clearInterval(timer),
  }
}

function restoreFrom({ file, store, clock, report }: StateFileOptions): void {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    return
  }
  try {
    const state = JSON.parse(text) as KeptState
    if (state.version === 1) store.restore(state, instantOf(clock))
  } catch {
    report({
      kind: 'notice',
      level: 'warning',
      message: `${file} is damaged and was reset; limits are learned again from the next answers`,
    })
  }
}
