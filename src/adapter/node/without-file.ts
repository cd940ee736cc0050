import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import {
  environmentText,
  lackingIn,
  TOKEN_VARIABLE,
  vendorsIn,
  type VendorKeys,
} from '../../config/environment.ts'
import type { LoadedConfig } from '../../config/load.ts'
import { fileProblem, recordOf, type ConfigProblem, type Environment } from '../../config/problem.ts'
import { readSource } from '../../config/source.ts'
import { systemCodeOf } from '../../errors.ts'
import {
  checkConfigFile,
  findConfigFile,
  loadFile,
  readConfigFile,
  refused,
  type ConfigSearch,
  type Reading,
} from './config-file.ts'
import { refusalOf, replaceFile } from './replace-file.ts'

/*
 * A configuration without a file: the keys that are in the environment, and a token that is kept beside the state.
 */

/** Where to look, and what is there besides the file. */
export interface ConfigTask extends ConfigSearch, Reading {
  /** The configuration that a first start copies. */
  readonly template: string
}

/** As the file of problems that stand in none. */
export const ENVIRONMENT = 'environment'

const environmentProblem = (message: string, hint: string): ConfigProblem => ({
  ...fileProblem(ENVIRONMENT, message, hint),
  line: 0,
})

export const refusedEnvironment = (problems: readonly string[]) => ({
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
export function vendorsInstead({ given, env, template }: ConfigTask, file: string) {
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
export function tokenIn(file: string, env: Environment): string {
  const loaded = existsSync(file) ? checkConfigFile(file, env) : undefined
  return (loaded?.ok ? loaded.config.authTokens[0] : undefined) ?? ''
}

/** Alone on its machine a gateway listens to that machine; in a container others could not reach it so. */
export function hostOf(env: Environment, isThere: (file: string) => boolean = existsSync): string {
  const isContainer =
    isThere('/.dockerenv') ||
    isThere('/run/.containerenv') ||
    env['KUBERNETES_SERVICE_HOST'] !== undefined ||
    env['AILOAD_DROP_ROOT'] !== undefined
  return isContainer ? '0.0.0.0' : '127.0.0.1'
}

/** Where the token of a start without a file is kept. */
const tokenFileOf = (directory: string): string => join(directory, 'data', 'token')

/** The environment with the token: the variable's, else that of the file that a first start made, else the kept one. */
export function environmentToken({ env, directory }: ConfigTask, ofFile: string) {
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
export function loadEnvironment(
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
  const loaded = loadFile(readSource(environmentText(taken, hostOf(env), env)), ENVIRONMENT, reading)
  const warnings = [...loaded.warnings.map(ofVariable), ...lackingWarnings(env)]
  return loaded.ok
    ? { ...loaded, warnings }
    : { ...loaded, problems: loaded.problems.map(ofVariable), warnings }
}

/** A token that can't be kept would be another one after a restart, so that is a problem. */
export function openEnvironment(task: ConfigTask, taken: readonly VendorKeys[], ofFile: string) {
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
export function writeToken(file: string): void {
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

/** What the environment has a part of. */
export const lackingWarnings = (env: Environment): ConfigProblem[] =>
  lackingIn(env).map((line) => {
    const [message = '', hint = ''] = line.split('; ')
    return environmentProblem(message, hint)
  })
