import { randomBytes } from 'node:crypto'
import { chmodSync, constants, copyFileSync, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setInterval } from 'node:timers'
import { needsRestart, reloadProblem, type Config } from '../../config/config.ts'
import { loadConfig, type LoadedConfig } from '../../config/load.ts'
import { fileProblem, problemLine, type ConfigProblem, type Environment } from '../../config/problem.ts'
import { withToken } from '../../config/source.ts'
import { systemCodeOf } from '../../errors.ts'
import type { Report } from '../../relay/deps.ts'
import type { ConfigState } from '../../telemetry/status.ts'
import { refusalOf, replaceFile } from './replace-file.ts'

/** Where to look for a configuration. */
export interface ConfigSearch {
  /** The file that was named (`--config`, `AILOAD_CONFIG`); nothing else is looked at then. Empty = none, as compose files leave it. */
  readonly given?: string | undefined
  /** The directory that `data/` is in. */
  readonly directory: string
}

type LoadedFile = Extract<LoadedConfig, { ok: true }> & {
  readonly file: string
  /** What stands in it, after a token was written too: a watcher that finds the same text found our own write. */
  readonly text: string
  /** True when this start copied the template, or wrote a new token. */
  readonly isNew: boolean
  readonly hasNewToken: boolean
}

/** A file that is ready to be served, or everything that is in the way. */
export type OpenedConfig = LoadedFile | Extract<LoadedConfig, { ok: false }>

/** The file that counts: the given one, else the first that is there, else where a first start makes one. */
export function findConfigFile({ given, directory }: ConfigSearch): string {
  if (given) return given
  const usual = join(directory, 'data', 'config', 'config.json')
  const short = join(directory, 'data', 'config.json')
  return !existsSync(usual) && existsSync(short) ? short : usual
}

/** The text of a configuration file; that it can't be read is a problem like any other. Never writes. */
function readConfigFile(file: string): string | ConfigProblem {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(readFileSync(file))
  } catch (error) {
    const code = systemCodeOf(error) ?? 'an unknown error'
    const [message, hint] = readMessages[code] ?? ['cannot be read', `the system says ${code}`]
    return fileProblem(file, message, hint)
  }
}

/** Reads and checks a file as `aiload check` does, without making or writing anything. */
export function checkConfigFile(file: string, env: Environment): LoadedConfig {
  const text = readConfigFile(file)
  return typeof text === 'string' ? loadConfig(text, env, file) : refused(text)
}

/**
 * Opens the configuration at start: a first start copies `template`, an empty `auth_token` is filled and
 * written back. With a token in the file nothing is written, so a read-only directory is fine. A token that
 * can't be written is a problem: serving with a token that nobody can look up helps no one, and serving
 * without one is out of the question.
 */
export function openConfigFile(search: ConfigSearch & { env: Environment; template: string }): OpenedConfig {
  const file = findConfigFile(search)
  const isNew = !search.given && !existsSync(file)
  const uncopied = isNew ? copyTemplate(search.template, file) : undefined
  const text = uncopied ?? readConfigFile(file)
  if (typeof text !== 'string') return refused(text)
  const loaded = loadConfig(text, search.env, file)
  if (!loaded.ok) return loaded
  if (loaded.config.authTokens.length > 0) return { ...loaded, file, text, isNew, hasNewToken: false }

  const token = newToken()
  const filled = withToken(text, token)
  const refusal = refusalOf(() => replaceFile(file, filled))
  if (refusal !== undefined) {
    const message = `auth_token is empty and a new one cannot be written (${refusal})`
    const hint = 'make the file and its directory writable for this user, or write a token into it'
    return { ...refused(fileProblem(file, message, hint)), warnings: loaded.warnings }
  }
  const config = { ...loaded.config, authTokens: [token] }
  return { ...loaded, config, file, text: filled, isNew, hasNewToken: true }
}

/** A new client token: `sk-` and 43 characters that hold 256 random bits. */
export const newToken = (): string => `sk-${randomBytes(32).toString('base64url')}`

function copyTemplate(template: string, file: string): ConfigProblem | undefined {
  const refusal = refusalOf(() => {
    mkdirSync(dirname(file), { recursive: true })
    copyFileSync(template, file, constants.COPYFILE_EXCL)
    chmodSync(file, 0o600)
  })
  // Another process may have its first start at the same moment.
  if (refusal === undefined || (refusal === 'EEXIST' && existsSync(file))) return undefined
  const message = `there is no configuration yet and the first one cannot be written (${refusal})`
  const hint = 'make the directory writable for this user, or name another file with --config'
  return fileProblem(file, message, hint)
}

const readMessages: Readonly<Record<string, readonly [string, string]>> = {
  ENOENT: ['there is no such file', 'create it; a start that names no file makes one in data/config'],
  ENOTDIR: ['there is no such file', 'create it; a start that names no file makes one in data/config'],
  EISDIR: ['is a directory', 'name the file in it'],
  EACCES: ['may not be read by this user', 'allow this user to read it'],
  ERR_ENCODING_INVALID_ENCODED_DATA: ['is not UTF-8', 'save it as UTF-8'],
}

const refused = (problem: ConfigProblem) => ({ ok: false, problems: [problem], warnings: [] }) as const

/** A configuration file that is served, and where its changes go. */
interface Watched extends Pick<LoadedFile, 'file' | 'text' | 'config' | 'warnings'> {
  readonly env: Environment
  /** Called with every new configuration that is whole and valid. */
  readonly apply: (config: Config) => void
  readonly report: Report
}

export type Reloader = ReturnType<typeof watchConfig>

/**
 * Asking the file for its date works everywhere, also on bind mounts and network disks, where notices of the
 * system get lost; half a second keeps the promise of one.
 */
const POLL_EVERY_MS = 500

/** A new file is read and checked as a whole, and then replaces the old one in one step, or changes nothing. */
export function watchConfig({ file, text, config, warnings, env, apply, report }: Watched) {
  let servedText = text
  let lastReload: ConfigState['lastReload']
  const reloads = { ok: 0, refused: 0 }
  let servedWarnings = warnings.map(problemLine)
  const notice = (level: 'info' | 'warning' | 'error', message: string): void =>
    report({ kind: 'notice', level, message })

  function rejectReload(...rejected: readonly ConfigProblem[]): void {
    const problems = rejected.map(problemLine)
    lastReload = { at: Date.now(), ok: false, problems }
    reloads.refused += 1
    notice('error', 'the changed configuration was rejected; the last good one stays in use')
    for (const problem of problems) notice('error', problem)
  }

  /** Reads the file now, whether it changed or not. */
  function reload(): void {
    const next = readConfigFile(file)
    if (typeof next !== 'string') return rejectReload(next)
    const loaded = loadConfig(next, env, file)
    if (!loaded.ok) return rejectReload(...loaded.problems)
    const problem = reloadProblem(loaded.config, next, file)
    if (problem !== undefined) return rejectReload(problem)
    servedText = next
    servedWarnings = loaded.warnings.map(problemLine)
    for (const warning of servedWarnings) notice('warning', warning)
    const late = needsRestart(config, loaded.config)
    if (late.length > 0)
      notice('warning', `${late.join(', ')} changed: that needs a restart, the rest is applied`)
    apply(loaded.config)
    lastReload = { at: Date.now(), ok: true, problems: [] }
    reloads.ok += 1
    notice('info', 'the configuration was reloaded')
  }

  // Runtimes take the first look of a watched file when they get to it: a change before that would never be told.
  let seen: string | undefined
  function poll(): void {
    const stamp = stampOf(file)
    if (stamp === seen) return
    seen = stamp
    // Our own write of the token, and a touch without a change, are no reload.
    if (readConfigFile(file) !== servedText) reload()
  }
  const timer = setInterval(poll, POLL_EVERY_MS)
  timer.unref()
  return {
    reload,
    /** For the status page and the metrics. */
    state: (): ConfigState => ({ lastReload, reloads, warnings: servedWarnings }),
    stop: () => clearInterval(timer),
  }
}

/** What changes whenever a file is written or replaced; empty while there is none. */
function stampOf(file: string): string {
  const stat = statSync(file, { throwIfNoEntry: false })
  return stat === undefined ? '' : `${stat.ino} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs}`
}
