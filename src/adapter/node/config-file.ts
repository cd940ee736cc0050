import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setInterval } from 'node:timers'
import { sharedTokens } from '../../config/checks.ts'
import { needsRestart, reloadProblem, type Config } from '../../config/config.ts'
import { TOKEN_VARIABLE } from '../../config/environment.ts'
import { loadSource, type LoadedConfig } from '../../config/load.ts'
import {
  fileProblem,
  problemAt,
  problemLine,
  type ConfigProblem,
  type Environment,
} from '../../config/problem.ts'
import { routesBeyond, type RouteLimits } from '../../config/route-limits.ts'
import { readSource, type Source } from '../../config/source.ts'
import { systemCodeOf } from '../../errors.ts'
import type { Report } from '../../relay/deps.ts'
import type { ConfigState } from '../../telemetry/status.ts'
import { withAuthorities } from './authority-file.ts'
import { createConfigEditor } from './config-editor.ts'

/** Where to look for a configuration. */
export interface ConfigSearch {
  /** The file that was named (`--config`, `AILOAD_CONFIG`); nothing else is looked at then. Empty = none, as compose files leave it. */
  readonly given?: string | undefined
  /** The directory that `data/` is in. */
  readonly directory: string
}

/** The file that counts: the given one, else the first that is there, else where a first start makes one. */
export function findConfigFile({ given, directory }: ConfigSearch): string {
  if (given) return given
  const usual = join(directory, 'data', 'config', 'config.json')
  const short = join(directory, 'data', 'config.json')
  return !existsSync(usual) && existsSync(short) ? short : usual
}

/** The text of a configuration file; that it can't be read is a problem like any other. Never writes. */
export function readConfigFile(file: string): string | ConfigProblem {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(readFileSync(file))
  } catch (error) {
    const code = systemCodeOf(error) ?? 'an unknown error'
    const [message, hint] = readMessages[code] ?? ['cannot be read', `the system says ${code}`]
    return fileProblem(file, message, hint)
  }
}

const readMessages: Readonly<Record<string, readonly [string, string]>> = {
  ENOENT: ['there is no such file', 'create it; a start that names no file makes one in data/config'],
  ENOTDIR: ['there is no such file', 'create it; a start that names no file makes one in data/config'],
  EISDIR: ['is a directory', 'name the file in it'],
  EACCES: ['may not be read by this user', 'allow this user to read it'],
  ERR_ENCODING_INVALID_ENCODED_DATA: ['is not UTF-8', 'save it as UTF-8'],
}

export const refused = (problem: ConfigProblem) => ({ ok: false, problems: [problem], warnings: [] }) as const

/** What a file is read with. */
export interface Reading {
  readonly env: Environment
  /** What the connections of this runtime can't do; nothing unless given. */
  readonly limits?: RouteLimits | undefined
}

/** Checks the text of a file, and the files that it names. */
export function loadFile(source: Source, file: string, { env, limits }: Reading): LoadedConfig {
  const loaded = loadSource(source, env, file)
  if (!loaded.ok) return loaded
  const { config, findings: unread } = withAuthorities(loaded.config, file)
  const shared = sharedTokens(withGivenToken(config, env))
  const findings = [...unread, ...(limits ? routesBeyond(loaded.config, limits) : []), ...shared]
  if (findings.length === 0) return { ...loaded, config }
  const problems = findings.map((what) => problemAt(file, source.positionOf(what.path), what))
  return { ok: false, problems, warnings: loaded.warnings }
}

/** Reads and checks a file, without making or writing anything. */
export function checkConfigFile(file: string, env: Environment): LoadedConfig {
  const text = readConfigFile(file)
  return typeof text === 'string' ? loadFile(readSource(text), file, { env }) : refused(text)
}

/** A file without a token takes that of the environment. */
export function withGivenToken(config: Config, env: Environment): Config {
  const given = (env[TOKEN_VARIABLE] ?? '').trim()
  return config.authTokens.length > 0 || given === '' ? config : { ...config, authTokens: [given] }
}

/** A configuration file that is served, and where its changes go. */
interface Watched extends Pick<Extract<LoadedConfig, { ok: true }>, 'config' | 'warnings'>, Reading {
  readonly file: string
  /** What stands in it: a watcher that finds the same text found our own write. */
  readonly text: string
  /** Called with every new configuration that is whole and valid. */
  readonly apply: (config: Config) => void
  readonly report: Report
  /** Does something again and again, until what it gives is called; by a timer unless given. */
  readonly every?: (ms: number, task: () => void) => () => void
}

export type Reloader = ReturnType<typeof watchConfig>

/**
 * Asking the file for its date works everywhere, also on bind mounts and network disks, where notices of the
 * system get lost; half a second keeps the promise of one.
 */
const POLL_EVERY_MS = 500

/** A new file is read and checked as a whole, and then replaces the old one in one step, or changes nothing. */
export function watchConfig({ file, text, config, warnings, apply, report, ...given }: Watched) {
  const { every = byTimer, ...reading } = given
  let served = { text, warnings }
  let lastReload: ConfigState['lastReload']
  const reloads = { ok: 0, refused: 0 }
  const notice = (level: 'info' | 'warning' | 'error', message: string): void =>
    report({ kind: 'notice', level, message })

  function rejectReload(...rejected: readonly ConfigProblem[]): void {
    const problems = rejected.map(problemLine)
    lastReload = { at: Date.now(), ok: false, problems }
    reloads.refused += 1
    notice('error', 'the changed configuration was rejected; the last good one stays in use')
    for (const problem of problems) notice('error', problem)
  }

  /** What may be served in the place of the running one. */
  function loadNext(next: Source): LoadedConfig {
    const loaded = loadFile(next, file, reading)
    if (!loaded.ok) return loaded
    const filled = withGivenToken(loaded.config, reading.env)
    const problem = reloadProblem(filled, next, file)
    return problem === undefined ? { ...loaded, config: filled } : { ...loaded, ...refused(problem) }
  }

  function serve(next: string, loaded: Extract<LoadedConfig, { ok: true }>, message: string): void {
    served = { text: next, warnings: loaded.warnings }
    for (const warning of loaded.warnings) notice('warning', problemLine(warning))
    const late = needsRestart(config, loaded.config)
    if (late.length > 0)
      notice('warning', `${late.join(', ')} changed: that needs a restart, the rest is applied`)
    apply(loaded.config)
    lastReload = { at: Date.now(), ok: true, problems: [] }
    reloads.ok += 1
    notice('info', message)
  }

  /** Reads the file now, whether it changed or not. */
  function reload(): void {
    const next = readConfigFile(file)
    if (typeof next !== 'string') return rejectReload(next)
    const loaded = loadNext(readSource(next))
    if (!loaded.ok) return rejectReload(...loaded.problems)
    serve(next, loaded, 'the configuration was reloaded')
  }

  // Runtimes take the first look of a watched file when they get to it: a change before that would never be told.
  let seen: string | undefined
  function poll(): void {
    const stamp = stampOf(file)
    if (stamp === seen) return
    seen = stamp
    // Our own write of the token, and a touch without a change, are no reload.
    if (readConfigFile(file) !== served.text) reload()
  }
  return {
    reload,
    editor: createConfigEditor({
      file,
      read: () => readConfigFile(file),
      load: loadNext,
      served: () => served,
      serve,
    }),
    /** For the status page and the metrics. */
    state: (): ConfigState => ({ lastReload, reloads, warnings: served.warnings.map(problemLine) }),
    stop: every(POLL_EVERY_MS, poll),
  }
}

/** Holds no process. */
function byTimer(ms: number, task: () => void): () => void {
  const timer = setInterval(task, ms)
  timer.unref()
  return () => clearInterval(timer)
}

/** What changes whenever a file is written or replaced; empty while there is none. */
function stampOf(file: string): string {
  const stat = statSync(file, { throwIfNoEntry: false })
  return stat === undefined ? '' : `${stat.ino} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs}`
}
