import { chmodSync, constants, copyFileSync, existsSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Config } from '../../config/config.ts'
import { TOKEN_VARIABLE, type VendorKeys } from '../../config/environment.ts'
import { loadAccess, type LoadedConfig } from '../../config/load.ts'
import { fileProblem, type ConfigProblem, type Environment } from '../../config/problem.ts'
import { withToken } from '../../config/rewrite.ts'
import { readSource } from '../../config/source.ts'
import {
  checkConfigFile,
  findConfigFile,
  loadFile,
  readConfigFile,
  refused,
  withGivenToken,
} from './config-file.ts'
import { refusalOf, replaceFile } from './replace-file.ts'
import {
  ENVIRONMENT,
  environmentToken,
  lackingWarnings,
  loadEnvironment,
  newToken,
  openEnvironment,
  refusedEnvironment,
  tokenIn,
  vendorsInstead,
  type ConfigTask,
} from './without-file.ts'

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
  const loaded = loadFile(readSource(text), file, search)
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
