import { statSync } from 'node:fs'
import { setInterval } from 'node:timers'
import type { Config } from '../config/config.ts'
import { needsRestart, reloadProblem } from '../config/compare.ts'
import type { Environment } from '../config/environment.ts'
import { loadConfig } from '../config/load.ts'
import { problemLine, type ConfigProblem } from '../config/problem.ts'
import type { Report } from '../relay/event.ts'
import { readConfigFile } from './node-config-file.ts'

/** What came of the last reload, for the status page. */
export interface ReloadResult {
  /** Epoch ms. */
  readonly at: number
  readonly ok: boolean
  readonly problems: readonly string[]
}

/** A configuration file that is watched. */
export interface Watched {
  readonly file: string
  /** What is served now, as it stood in the file: the same text again is no change. */
  readonly text: string
  readonly config: Config
  readonly env: Environment
  /** Called with every new configuration that is whole and valid. */
  readonly apply: (config: Config) => void
  readonly report: Report
}

/** Watches a configuration file. */
export interface Reloader {
  /** Reads the file now, whether it changed or not. */
  reload(): void
  readonly last: () => ReloadResult | undefined
  stop(): void
}

/**
 * Asking the file for its date works everywhere, also on bind mounts and network disks, where notices of the
 * system get lost; half a second keeps the promise of one.
 */
const EVERY_MS = 500

/** A new file is read and checked as a whole, and then replaces the old one in one step, or changes nothing. */
export function watchConfig({ file, text, config, env, apply, report }: Watched): Reloader {
  let servedText = text
  const started = config
  let last: ReloadResult | undefined

  function refuse(problems: readonly ConfigProblem[]): void {
    const lines = problems.map(problemLine)
    last = { at: Date.now(), ok: false, problems: lines }
    report({
      kind: 'notice',
      level: 'error',
      message: 'the changed configuration is not used; the last good one stays',
    })
    for (const message of lines) report({ kind: 'notice', level: 'error', message })
  }

  function reload(): void {
    const read = readConfigFile(file)
    if ('message' in read) return refuse([read])
    const loaded = loadConfig(read.text, env, file)
    if (!loaded.ok) return refuse(loaded.problems)
    const problem = reloadProblem(loaded.config, { text: read.text, fileName: file })
    if (problem !== undefined) return refuse([problem])
    servedText = read.text
    for (const warning of loaded.warnings)
      report({ kind: 'notice', level: 'warning', message: problemLine(warning) })
    const late = needsRestart(started, loaded.config)
    if (late.length > 0)
      report({
        kind: 'notice',
        level: 'warning',
        message: `${late.join(', ')} changed: that needs a restart, the rest is applied`,
      })
    apply(loaded.config)
    last = { at: Date.now(), ok: true, problems: [] }
    report({ kind: 'notice', level: 'info', message: 'the configuration was reloaded' })
  }

  // Runtimes take the first look of a watched file when they get to it: a change before that would never be told.
  let seen: string | undefined
  function look(): void {
    const stamp = stampOf(file)
    if (stamp === seen) return
    seen = stamp
    const read = readConfigFile(file)
    // Our own write of the token, and a touch without a change, are no reload.
    if ('message' in read || read.text !== servedText) reload()
  }
  const timer = setInterval(look, EVERY_MS)
  timer.unref()
  return { reload, last: () => last, stop: () => clearInterval(timer) }
}

/** What changes whenever a file is written or replaced; empty while there is none. */
function stampOf(file: string): string {
  const stat = statSync(file, { throwIfNoEntry: false })
  return stat === undefined ? '' : `${stat.ino} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs}`
}
