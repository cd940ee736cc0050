import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { setInterval } from 'node:timers'
import { needsRestart, reloadProblem, type Config } from '../../config/config.ts'
import { loadAccess, loadSource, type LoadedConfig } from '../../config/load.ts'
import {
  environmentText,
  lackingIn,
  TOKEN_VARIABLE,
  vendorsIn,
  type VendorKeys,
} from '../../config/environment.ts'
import {
  fileProblem,
  problemAt,
  problemLine,
  recordOf,
  type ConfigProblem,
  type Environment,
} from '../../config/problem.ts'
import { routesBeyond, type RouteLimits } from '../../config/route-limits.ts'
import { readSource, withToken } from '../../config/source.ts'
import { systemCodeOf } from '../../errors.ts'
import type { Report } from '../../relay/deps.ts'
import type { ConfigState } from '../../telemetry/status.ts'
import { withAuthorities } from './authority-file.ts'
import { refusalOf, replaceFile } from './replace-file.ts'

/** Where to look for a configuration. */
export interface ConfigSearch {
  /** The file that was named (`--config`, `AILOAD_CONFIG`); nothing else is looked at then. Empty = none, as compose files leave it. */
  readonly given?: string | undefined
  /** The directory that `data/` is in. */
  readonly directory: string
}

interface Opened {
  /** True when this start copied the template, or wrote a new token. */
  readonly isNew: boolean
  readonly hasNewToken: boolean
  /** Where the token of the clients stands, as people say it behind "it is". */
  readonly tokenPlace: string
}
type LoadedFile = Extract<LoadedConfig, { ok: true }> &
  Opened & {
    readonly file: string
    /** What stands in it, after a token was written too: a watcher that finds the same text found our own write. */
    readonly text: string
    readonly taken?: undefined
  }
/** Without a file: `taken` are the vendors whose keys are in the environment. */
type LoadedEnvironment = Extract<LoadedConfig, { ok: true }> &
  Opened & { readonly file?: undefined; readonly taken: readonly VendorKeys[] }

/** A configuration that is ready to be served, or everything that is in the way. */
export type OpenedConfig = LoadedFile | LoadedEnvironment | Extract<LoadedConfig, { ok: false }>

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

/** What a file is read with. */
interface Reading {
  readonly env: Environment
  /** What the connections of this runtime can't do; nothing unless given. */
  readonly limits?: RouteLimits | undefined
}

/** Reads and checks the text of a file, and the files that it names. */
function loadFile(text: string, file: string, { env, limits }: Reading): LoadedConfig {
  const source = readSource(text)
  const loaded = loadSource(source, env, file)
  if (!loaded.ok) return loaded
  const { config, findings: unread } = withAuthorities(loaded.config, file)
  const findings = [...unread, ...(limits ? routesBeyond(loaded.config, limits) : [])]
  if (findings.length === 0) return { ...loaded, config }
  const problems = findings.map((what) => problemAt(file, source.positionOf(what.path), what))
  return { ok: false, problems, warnings: loaded.warnings }
}

/** Reads and checks a file, without making or writing anything. */
function checkConfigFile(file: string, env: Environment): LoadedConfig {
  const text = readConfigFile(file)
  return typeof text === 'string' ? loadFile(text, file, { env }) : refused(text)
}

/** Where to look, and what is there besides the file. */
export interface ConfigTask extends ConfigSearch, Reading {
  /** The configuration that a first start copies. */
  readonly template: string
}

/** A configuration that was read, and where it stands for people: a file, or the environment. */
interface CheckedConfig {
  readonly loaded: LoadedConfig
  readonly place: string
  readonly file?: string
  readonly tokenPlace: string
}

function checkedFile(file: string, env: Environment): CheckedConfig {
  const loaded = checkConfigFile(file, env)
  const tokenPlace = loaded.ok ? tokenPlaceIn(file, loaded.config) : ''
  return { loaded, place: file, file, tokenPlace }
}

/**
 * What a start would serve, read and checked without making or writing anything: the file, or the keys that are in the
 * environment.
 */
export function checkConfig(task: ConfigTask): CheckedConfig {
  const file = findConfigFile(task)
  const vendors = vendorsInstead(task, file)
  if (vendors.problems.length > 0)
    return { loaded: refusedEnvironment(vendors.problems), place: ENVIRONMENT, tokenPlace: '' }
  if (vendors.taken.length === 0)
    return task.given || existsSync(file)
      ? checkedFile(file, task.env)
      : { loaded: nothingYet(file, task.env), place: file, file, tokenPlace: '' }
  const { env, place: tokenPlace, unread } = environmentToken(task, tokenIn(file, task.env))
  const reading = { ...task, env, tokenPlace }
  const loaded = unread === undefined ? loadEnvironment(vendors.taken, reading) : refused(unread)
  return { loaded, place: ENVIRONMENT, tokenPlace }
}

/**
 * How to reach the gateway that a start would make, and its token. Where there is no file and none was named: as by
 * default, with the token that a start without a file has kept, for its keys may be in the environment of another terminal.
 */
export function readAccess(task: ConfigTask): CheckedConfig {
  const checked = checkConfig(task)
  if (checked.file === undefined) return checked
  const { file } = checked
  const isThere = task.given || existsSync(file)
  const kept = isThere ? undefined : environmentToken(task, '')
  const env = kept?.env ?? task.env
  const text = isThere ? readConfigFile(file) : '{}'
  const loaded = typeof text === 'string' ? loadAccess(text, env, file) : refused(text)
  if (!loaded.ok) return { ...checked, loaded }
  const config = withGivenToken(loaded.config, env)
  const isGiven = loaded.config.authTokens.length < config.authTokens.length
  const givenPlace = kept?.place ?? TOKEN_VARIABLE
  return {
    ...checked,
    loaded: { ...loaded, config },
    tokenPlace: isGiven ? givenPlace : tokenPlaceIn(file, config),
  }
}

/**
 * Opens the configuration at start. Without a file the keys of known vendors in the environment are served, where there
 * are any; else a first start copies `template`. An empty `auth_token` is filled and
 * written back. With a token in the file nothing is written, so a read-only directory is fine. A token that
 * can't be written is a problem: serving with a token that nobody can look up helps no one, and serving
 * without one is out of the question.
 */
export function openConfig(search: ConfigTask): OpenedConfig {
  const file = findConfigFile(search)
  const { taken, problems } = vendorsInstead(search, file)
  if (problems.length > 0) return refusedEnvironment(problems)
  if (taken.length > 0) return openEnvironment(search, taken, tokenIn(file, search.env))
  const isNew = !search.given && !existsSync(file)
  const uncopied = isNew ? copyTemplate(search.template, file) : undefined
  const text = uncopied ?? readConfigFile(file)
  if (typeof text !== 'string') return refused(text)
  const loaded = loadFile(text, file, search)
  if (!loaded.ok) return loaded
  const opened = { ...loaded, file, isNew, tokenPlace: tokenPlaceIn(file, loaded.config) }
  if (loaded.config.authTokens.length > 0) return { ...opened, text, hasNewToken: false }
  const config = withGivenToken(loaded.config, search.env)
  if (config.authTokens.length > 0)
    return { ...opened, config, text, hasNewToken: false, tokenPlace: TOKEN_VARIABLE }

  const token = newToken()
  const filled = withToken(text, token)
  const refusal = refusalOf(() => replaceFile(file, filled))
  if (refusal !== undefined) {
    const message = `auth_token is empty and a new one cannot be written (${refusal})`
    const hint = `make the file and its directory writable for this user, write a token into it, or set ${TOKEN_VARIABLE}`
    return { ...refused(fileProblem(file, message, hint)), warnings: loaded.warnings }
  }
  return { ...opened, config: { ...config, authTokens: [token] }, text: filled, hasNewToken: true }
}

const tokenPlaceIn = (file: string, { authTokens }: Config): string =>
  authTokens.length > 1 ? `the first of "auth_token" in ${file}` : `"auth_token" in ${file}`

/** A file without a token takes that of the environment. */
function withGivenToken(config: Config, env: Environment): Config {
  const given = (env[TOKEN_VARIABLE] ?? '').trim()
  return config.authTokens.length > 0 || given === '' ? config : { ...config, authTokens: [given] }
}

/** As the file of problems that stand in none. */
const ENVIRONMENT = 'environment'

const environmentProblem = (message: string, hint: string): ConfigProblem => ({
  ...fileProblem(ENVIRONMENT, message, hint),
  line: 0,
})

const refusedEnvironment = (problems: readonly string[]) => ({
  ok: false as const,
  problems: problems.map((problem) => {
    const [message = '', hint = ''] = problem.split('; ')
    return environmentProblem(message, hint)
  }),
  warnings: [],
})

/**
 * The vendors to serve in the place of a file: where none was named and none is there, or only the one that a first
 * start has made and nobody has touched.
 */
function vendorsInstead({ given, env, template }: ConfigTask, file: string) {
  if (given || (existsSync(file) && !isUntouched(file, template))) return { taken: [], problems: [] }
  const { vendors: taken, problems } = vendorsIn(env)
  return { taken, problems }
}

/** Whether a file says what its template does, but for the token. */
function isUntouched(file: string, template: string): boolean {
  const [own, made] = [file, template].map((path) => {
    const text = readConfigFile(path)
    if (typeof text !== 'string') return undefined
    return JSON.stringify({ ...recordOf(readSource(text).value), auth_token: '' })
  })
  return own !== undefined && own === made
}

/** The token of a file that is not served; empty where it has none. */
function tokenIn(file: string, env: Environment): string {
  const loaded = existsSync(file) ? checkConfigFile(file, env) : undefined
  return (loaded?.ok ? loaded.config.authTokens[0] : undefined) ?? ''
}

/** Alone on its machine a gateway listens to that machine; in a container others could not reach it so. */
function hostOf(env: Environment): string {
  const isContainer =
    existsSync('/.dockerenv') ||
    existsSync('/run/.containerenv') ||
    env['KUBERNETES_SERVICE_HOST'] !== undefined ||
    env['AILOAD_DROP_ROOT'] !== undefined
  return isContainer ? '0.0.0.0' : '127.0.0.1'
}

/** Where the token of a start without a file is kept. */
const tokenFileOf = (directory: string): string => join(directory, 'data', 'token')

/** The environment with the token: the variable's, else that of the file that a first start made, else the kept one. */
function environmentToken({ env, directory }: ConfigTask, ofFile: string) {
  const given = (env[TOKEN_VARIABLE] ?? '').trim()
  const file = tokenFileOf(directory)
  const text = ofFile === '' && existsSync(file) ? readConfigFile(file) : ofFile
  const unread = given === '' && typeof text !== 'string' ? { ...text, line: 0 } : undefined
  const kept = typeof text === 'string' ? text.trim() : ''
  const keptPlace = ofFile === '' ? `in ${file}` : `"auth_token" in ${findConfigFile({ directory })}`
  const place = given === '' ? keptPlace : TOKEN_VARIABLE
  const isMissing = given === '' && kept === ''
  return { env: { ...env, [TOKEN_VARIABLE]: given || kept }, place, isMissing, unread }
}

/** What is wrong with it is told of the variables, since nobody has seen the text. */
function loadEnvironment(
  taken: readonly VendorKeys[],
  reading: Reading & { readonly tokenPlace: string },
): LoadedConfig {
  const { env, tokenPlace } = reading
  const tokenPath = tokenPlace.startsWith('in ') ? `the token ${tokenPlace}` : tokenPlace
  const ofVariable = (problem: ConfigProblem): ConfigProblem => {
    if (problem.path === 'auth_token') return { ...problem, line: 0, path: tokenPath }
    const [, entry, key] = /^models\[(\d+)\](?:\.api_key\[(\d+)\])?/.exec(problem.path) ?? []
    const { vendor, variables } = taken[Number(entry)] ?? { vendor: problem.path, variables: [] }
    return { ...problem, line: 0, path: variables[Number(key)] ?? vendor }
  }
  const loaded = loadFile(environmentText(taken, hostOf(env), env), ENVIRONMENT, reading)
  const warnings = [...loaded.warnings.map(ofVariable), ...lackingWarnings(env)]
  return loaded.ok
    ? { ...loaded, warnings }
    : { ...loaded, problems: loaded.problems.map(ofVariable), warnings }
}

/** A token that can't be kept would be another one after a restart, so that is a problem. */
function openEnvironment(task: ConfigTask, taken: readonly VendorKeys[], ofFile: string): OpenedConfig {
  const known = environmentToken(task, ofFile)
  const { isMissing, unread } = known
  if (unread !== undefined) return refused(unread)
  const refusal = isMissing ? refusalOf(() => writeToken(tokenFileOf(task.directory))) : undefined
  if (refusal !== undefined) {
    const message = `a token for the clients was made and cannot be kept ${known.place} (${refusal})`
    return refused(environmentProblem(message, `make that directory writable, or set ${TOKEN_VARIABLE}`))
  }
  const { env, place: tokenPlace } = isMissing ? environmentToken(task, ofFile) : known
  const loaded = loadEnvironment(taken, { ...task, env, tokenPlace })
  return loaded.ok ? { ...loaded, taken, isNew: false, hasNewToken: isMissing, tokenPlace } : loaded
}

/** So long a file may be there before its token is in it. */
const WRITTEN_WITHIN_MS = 100

/** Where another process has its first start at the same moment, its token stays. */
function writeToken(file: string): void {
  mkdirSync(dirname(file), { recursive: true })
  const text = `${newToken()}\n`
  try {
    writeFileSync(file, text, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST') throw error
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, WRITTEN_WITHIN_MS)
    // A full disk leaves an empty file.
    if (readFileSync(file, 'utf8').trim() === '') replaceFile(file, text)
  }
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

function nothingYet(file: string, env: Environment) {
  const message = 'there is no such file, and no key in the environment that would do without'
  const hint =
    'write the file, set a key such as GROQ_API_KEY, or start once, which makes the file and names the variables'
  return { ...refused(fileProblem(file, message, hint)), warnings: lackingWarnings(env) }
}

/** What the environment has a part of. */
const lackingWarnings = (env: Environment): ConfigProblem[] =>
  lackingIn(env).map((line) => {
    const [message = '', hint = ''] = line.split('; ')
    return environmentProblem(message, hint)
  })

const readMessages: Readonly<Record<string, readonly [string, string]>> = {
  ENOENT: ['there is no such file', 'create it; a start that names no file makes one in data/config'],
  ENOTDIR: ['there is no such file', 'create it; a start that names no file makes one in data/config'],
  EISDIR: ['is a directory', 'name the file in it'],
  EACCES: ['may not be read by this user', 'allow this user to read it'],
  ERR_ENCODING_INVALID_ENCODED_DATA: ['is not UTF-8', 'save it as UTF-8'],
}

const refused = (problem: ConfigProblem) => ({ ok: false, problems: [problem], warnings: [] }) as const

/** A configuration file that is served, and where its changes go. */
interface Watched extends Pick<LoadedFile, 'file' | 'text' | 'config' | 'warnings'>, Reading {
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
export function watchConfig({ file, text, config, warnings, apply, report, ...reading }: Watched) {
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
    const loaded = loadFile(next, file, reading)
    if (!loaded.ok) return rejectReload(...loaded.problems)
    const served = withGivenToken(loaded.config, reading.env)
    const problem = reloadProblem(served, next, file)
    if (problem !== undefined) return rejectReload(problem)
    servedText = next
    servedWarnings = loaded.warnings.map(problemLine)
    for (const warning of servedWarnings) notice('warning', warning)
    const late = needsRestart(config, served)
    if (late.length > 0)
      notice('warning', `${late.join(', ')} changed: that needs a restart, the rest is applied`)
    apply(served)
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
