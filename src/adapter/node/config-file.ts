import { randomBytes } from 'node:crypto'
import { chmodSync, constants, copyFileSync, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setInterval } from 'node:timers'
import { needsRestart, reloadProblem, type Config } from '../../config/config.ts'
import { loadConfig, type LoadedConfig } from '../../config/load.ts'
import { problemLine, type ConfigProblem, type Environment } from '../../config/problem.ts'
import { withToken } from '../../config/source.ts'
import { systemCodeOf } from '../../errors.ts'
import type { Report } from '../../relay/deps.ts'
import { replaceFile } from './replace-file.ts'

/** Where to look for a configuration. */
export interface ConfigSearch {
  /** The file that was named (`--config`, `AILOAD_CONFIG`); nothing else is looked at then. */
  readonly given?: string
  /** The directory that `data/` is in. */
  readonly directory: string
}

/** A configuration file that was read. */
interface ConfigFileText {
  readonly file: string
  /** What stands in it, after a token was written too: a watcher that finds the same text found our own write. */
  readonly text: string
}

/** A file that is ready to be served, or everything that is in the way. */
export type OpenedConfig =
  | (ConfigFileText & {
      readonly ok: true
      readonly config: Config
      readonly warnings: readonly ConfigProblem[]
      /** True when this start copied the template, or wrote a new token. */
      readonly isNew: boolean
      readonly hasNewToken: boolean
    })
  | {
      readonly ok: false
      readonly problems: readonly ConfigProblem[]
      readonly warnings: readonly ConfigProblem[]
    }

/** The file that counts: the given one, else the first that is there, else where a first start makes one. */
export function findConfigFile({ given, directory }: ConfigSearch): string {
  if (isNamed(given)) return given
  const usual = join(directory, 'data', 'config', 'config.json')
  const short = join(directory, 'data', 'config.json')
  return !existsSync(usual) && existsSync(short) ? short : usual
}

// An empty AILOAD_CONFIG, as compose files leave it, names nothing.
const isNamed = (given: string | undefined): given is string => given !== undefined && given !== ''

/** Reads a configuration file; a file that can't be read is a problem like any other. Never writes. */
function readConfigFile(file: string): ConfigFileText | ConfigProblem {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(readFileSync(file))
    return { file, text }
  } catch (error) {
    const code = systemCodeText(error)
    return problemOf(file, readMessages[code] ?? ['cannot be read', `the system says ${code}`])
  }
}

/** Reads and checks a file as `aiload check` does, without making or writing anything. */
export function checkConfigFile(file: string, env: Environment): LoadedConfig {
  const read = readConfigFile(file)
  if ('message' in read) return { ok: false, problems: [read], warnings: [] }
  return loadConfig(read.text, env, file)
}

/**
 * Opens the configuration at start: a first start copies `template`, an empty `auth_token` is filled and
 * written back. With a token in the file nothing is written, so a read-only directory is fine. A token that
 * can't be written is a problem: serving with a token that nobody can look up helps no one, and serving
 * without one is out of the question.
 */
export function openConfigFile(search: ConfigSearch & { env: Environment; template: string }): OpenedConfig {
  const file = findConfigFile(search)
  const isNew = !isNamed(search.given) && !existsSync(file)
  const uncopied = isNew ? copyTemplate(search.template, file) : undefined
  const read = uncopied ?? readConfigFile(file)
  if ('message' in read) return { ok: false, problems: [read], warnings: [] }

  const loaded = loadConfig(read.text, search.env, file)
  if (!loaded.ok) return loaded
  const { config, warnings } = loaded
  if (config.authToken !== '') return { ok: true, ...read, config, warnings, isNew, hasNewToken: false }

  const authToken = newToken()
  const text = withToken(read.text, authToken)
  const unwritten = writeConfigFile(file, text)
  if (unwritten) return { ok: false, problems: [unwritten], warnings }
  return { ok: true, file, text, config: { ...config, authToken }, warnings, isNew, hasNewToken: true }
}

/** A new client token: `sk-` and 43 characters that hold 256 random bits. */
export const newToken = (): string => `sk-${randomBytes(32).toString('base64url')}`

function writeConfigFile(file: string, text: string): ConfigProblem | undefined {
  try {
    replaceFile(file, text)
    return undefined
  } catch (error) {
    return problemOf(file, [
      `auth_token is empty and a new one cannot be written (${systemCodeText(error)})`,
      'make the file and its directory writable for this user, or write a token into it',
    ])
  }
}

function copyTemplate(template: string, file: string): ConfigProblem | undefined {
  try {
    mkdirSync(dirname(file), { recursive: true })
    copyFileSync(template, file, constants.COPYFILE_EXCL)
    chmodSync(file, 0o600)
    return undefined
  } catch (error) {
    // Another process has its first start at the same moment.
    if (systemCodeText(error) === 'EEXIST' && existsSync(file)) return undefined
    return problemOf(file, [
      `there is no configuration yet and the first one cannot be written (${systemCodeText(error)})`,
      'make the directory writable for this user, or name another file with --config',
    ])
  }
}

const readMessages: Readonly<Record<string, readonly [string, string]>> = {
  ENOENT: ['there is no such file', 'create it; a start that names no file makes one in data/config'],
  ENOTDIR: ['there is no such file', 'create it; a start that names no file makes one in data/config'],
  EISDIR: ['is a directory', 'name the file in it'],
  EACCES: ['may not be read by this user', 'allow this user to read it'],
  ERR_ENCODING_INVALID_ENCODED_DATA: ['is not UTF-8', 'save it as UTF-8'],
}

const problemOf = (file: string, [message, hint]: readonly [string, string]): ConfigProblem => ({
  file,
  line: 1,
  column: 1,
  path: '',
  message,
  hint,
})

const systemCodeText = (error: unknown): string => systemCodeOf(error) ?? 'an unknown error'

/** What came of the last reload, for the status page. */
export interface ReloadResult {
  /** Epoch ms. */
  readonly at: number
  readonly ok: boolean
  readonly problems: readonly string[]
}

/** A configuration file that is watched. */
interface Watched {
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
const POLL_EVERY_MS = 500

/** A new file is read and checked as a whole, and then replaces the old one in one step, or changes nothing. */
export function watchConfig({ file, text, config, env, apply, report }: Watched): Reloader {
  let servedText = text
  const initialConfig = config
  let last: ReloadResult | undefined

  function rejectReload(problems: readonly ConfigProblem[]): void {
    const lines = problems.map(problemLine)
    last = { at: Date.now(), ok: false, problems: lines }
    report({
      kind: 'notice',
      level: 'error',
      message: 'the changed configuration was rejected; the last good one stays in use',
    })
    for (const message of lines) report({ kind: 'notice', level: 'error', message })
  }

  function reload(): void {
    const read = readConfigFile(file)
    if ('message' in read) return rejectReload([read])
    const loaded = loadConfig(read.text, env, file)
    if (!loaded.ok) return rejectReload(loaded.problems)
    const problem = reloadProblem(loaded.config, read.text, file)
    if (problem !== undefined) return rejectReload([problem])
    servedText = read.text
    for (const warning of loaded.warnings)
      report({ kind: 'notice', level: 'warning', message: problemLine(warning) })
    const late = needsRestart(initialConfig, loaded.config)
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
  function poll(): void {
    const stamp = stampOf(file)
    if (stamp === seen) return
    seen = stamp
    const read = readConfigFile(file)
    // Our own write of the token, and a touch without a change, are no reload.
    if ('message' in read || read.text !== servedText) reload()
  }
  const timer = setInterval(poll, POLL_EVERY_MS)
  timer.unref()
  return { reload, last: () => last, stop: () => clearInterval(timer) }
}

/** What changes whenever a file is written or replaced; empty while there is none. */
function stampOf(file: string): string {
  const stat = statSync(file, { throwIfNoEntry: false })
  return stat === undefined ? '' : `${stat.ino} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs}`
}
