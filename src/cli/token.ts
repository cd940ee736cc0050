import { existsSync } from 'node:fs'
import { findConfigFile, readConfigFile, refused } from '../adapter/node/config-file.ts'
import { readAccess } from '../adapter/node/open-config.ts'
import { CHANGED, refusalOf, replaceFile } from '../adapter/node/replace-file.ts'
import { newToken } from '../adapter/node/without-file.ts'
import { loadConfig, loadTokens } from '../config/load.ts'
import { problemLine, recordOf } from '../config/problem.ts'
import { rewritten } from '../config/rewrite.ts'
import { readSource } from '../config/source.ts'
import type { TokenConfig } from '../config/token-schema.ts'
import { sha256Hex } from '../lib/hash.ts'
import type { TokenStatus } from '../telemetry/token-status.ts'
import { searchOf, type Command } from './arguments.ts'
import { inTheirLanguage, say } from './language.ts'
import { printFailure } from './process.ts'
import { acceptedBy, askGateway, jsonIn, withGateway } from './running-gateway.ts'
import { countText, limitText, tableLines } from './terminal-text.ts'

/** `aiload token`: tells of the operator's own token, or lists, adds and revokes those of clients. */
export function manageTokens(command: Command): number | Promise<number> {
  const { word } = command
  if (word === 'list') return listTokens(command)
  if (word === 'add') return addToken(command)
  return word === 'revoke' ? revokeToken(command) : tellToken(command)
}

/**
 * Says in which file the client token stands, and prints it alone on stdout when asked to, so that
 * `$(aiload token --show)` works; of several the first. 1 when there is none yet, or the file can't be
 * read; whether it could be served does not matter.
 */
function tellToken({ config, show }: Command): number {
  const { loaded, tokenPlace } = readAccess(searchOf(config))
  if (!loaded.ok) return printFailure(...loaded.problems.map(problemLine))
  const [token] = loaded.config.authTokens
  if (token === undefined)
    return printFailure(`there is no token yet; the first start makes one, which is then ${tokenPlace}`)
  if (show === true) process.stdout.write(`${token}\n`)
  else say(`the token is ${tokenPlace}; --show prints it`)
  return 0
}

/** A configuration file whose tokens may be edited, or undefined with the reason printed. */
function openTokens({ config }: Command) {
  const search = searchOf(config)
  const file = findConfigFile(search)
  if (!existsSync(file)) {
    const hint = 'start once, which makes one, or name it with --config'
    printFailure(`tokens of clients stand in a configuration file, and there is no ${file}; ${hint}`)
    return undefined
  }
  const { env } = search
  const read = readConfigFile(file)
  const text = typeof read === 'string' ? read : ''
  const loaded = typeof read === 'string' ? loadTokens(text, env, file) : refused(read)
  if (loaded.ok) return { file, text, env, tokens: loaded.config.tokens }
  printFailure(...loaded.problems.map(problemLine))
  return undefined
}

type OpenTokens = NonNullable<ReturnType<typeof openTokens>>

/**
 * Writes what was made of the text, and tells whether a running gateway will take it; undefined, with the reason printed, for
 * what can't be served or written.
 */
function writeTokens({ file, text, env, tokens }: OpenTokens, next: string): boolean | undefined {
  const checked = loadTokens(next, env, file)
  const refusal = checked.ok ? refusalOf(() => replaceFile(file, next, { before: text })) : undefined
  if (!checked.ok) printFailure(...checked.problems.map(problemLine))
  else if (refusal === CHANGED)
    printFailure(`${file} has changed meanwhile, so nothing is written; try again`)
  else if (refusal !== undefined) printFailure(`${file} cannot be written (${refusal})`)
  if (!checked.ok || refusal !== undefined) return undefined
  const whole = loadConfig(next, env, file)
  const isNew = ({ path }: { readonly path: string }): boolean => path.startsWith(`tokens[${tokens.length}]`)
  for (const warning of whole.warnings.filter(isNew)) printFailure(`warning: ${problemLine(warning)}`)
  // The variables of its keys may be those of another terminal.
  if (!whole.ok)
    printFailure(`a gateway that finds what "aiload check" finds in ${file} goes on with what it has`)
  return whole.ok
}

/** Makes a token for a client and prints it alone on stdout: the file gets its digest, from which nobody can tell it. */
function addToken(command: Command): number {
  const opened = openTokens(command)
  if (opened === undefined) return 1
  const { file, text, tokens } = opened
  const { subject: name = '', models } = command
  if (tokens.some((token) => token.name === name))
    return printFailure(`there is a token ${JSON.stringify(name)} already; revoke it, or choose another name`)
  const secret = newToken()
  const names = models?.split(',').flatMap((each) => (each.trim() === '' ? [] : [each.trim()]))
  const entry = { name, token: `sha256:${sha256Hex(secret)}`, ...(names && { models: names }) }
  if (writeTokens(opened, withTokenEntry(text, entry)) === undefined) return 1
  process.stdout.write(`${secret}\n`)
  process.stderr.write(
    `${inTheirLanguage(`this is the token of ${name}, which is shown only now: ${file} has nothing but its digest`)}\n`,
  )
  return 0
}

/** Takes the token of a client out of the file. */
function revokeToken(command: Command): number {
  const opened = openTokens(command)
  if (opened === undefined) return 1
  const { file, text, tokens } = opened
  const { subject: name = '' } = command
  const at = tokens.findIndex((token) => token.name === name)
  if (at < 0) {
    const known =
      tokens.length === 0 ? 'there are none' : `there are: ${tokens.map((one) => one.name).join(', ')}`
    return printFailure(`there is no token ${JSON.stringify(name)}; ${known}`)
  }
  const isTaken = writeTokens(opened, withoutTokenEntry(text, at))
  if (isTaken === undefined) return 1
  say(`the token of ${name} is out of ${file}`)
  if (isTaken) say('a running gateway refuses it within a second')
  return 0
}

/**
 * The same text with an entry behind the last of `tokens`; where that key is missing it comes behind `auth_token`, or first.
 * All the rest stays as people wrote it; see `rewritten`.
 */
export function withTokenEntry(text: string, entry: object): string {
  const source = readSource(text)
  const { auth_token: own, tokens, ...others } = recordOf(source.value)
  const present: readonly unknown[] = Array.isArray(tokens) ? tokens : []
  const first = own === undefined ? {} : { auth_token: own }
  return rewritten(source, { ...first, tokens: [...present, entry], ...others })
}

/** The same text without one entry of `tokens`. */
export function withoutTokenEntry(text: string, at: number): string {
  const source = readSource(text)
  const { tokens, ...others } = recordOf(source.value)
  const present: readonly unknown[] = Array.isArray(tokens) ? tokens : []
  return rewritten(source, { ...others, tokens: present.toSpliced(at, 1) })
}

/** What is told of a token; of one that is only in the file, no limits and no use. */
type Listed = Pick<TokenStatus, 'name' | 'admin' | 'models' | 'expires' | 'expired'> &
  Partial<Pick<TokenStatus, 'limits' | 'usage'>>

/** Lists the tokens of clients as the running gateway tells of them, else those in the file. */
const listTokens = (command: Command): Promise<number> =>
  withGateway(command, async (gateway) => {
    const told = await askGateway(gateway, { path: '/admin/tokens' }).catch(() => undefined)
    if (told !== undefined) {
      const { tokens = [] } = jsonIn<{ tokens: readonly Listed[] }>(acceptedBy(gateway, told))
      return printList(command, tokens)
    }
    const opened = openTokens(command)
    if (opened === undefined) return 1
    printFailure(`no gateway answers at ${gateway.url}, so this is what ${opened.file} says`)
    return printList(command, opened.tokens.map(fromFile))
  })

const fromFile = ({ name, admin, models, expiresAt = Infinity }: TokenConfig): Listed => ({
  name,
  admin,
  models: models ?? null,
  expires: expiresAt === Infinity ? null : new Date(expiresAt).toISOString(),
  expired: expiresAt <= Date.now(),
})

function printList({ json }: Command, tokens: readonly Listed[]): number {
  if (json) process.stdout.write(`${JSON.stringify({ tokens }, undefined, 2)}\n`)
  else if (tokens.length === 0) say('there is no token of a client; make one with: aiload token add NAME')
  else process.stdout.write(`${tableOf(tokens).join('\n')}\n`)
  return 0
}

function tableOf(tokens: readonly Listed[]): string[] {
  const rows = tokens.map(({ name, models, limits = [], usage, ...token }) => [
    name,
    models?.join(', ') ?? inTheirLanguage('every model'),
    usage === undefined ? '' : usedText(usage.day),
    usage === undefined ? '' : usedText(usage.month),
    inTheirLanguage(limits.map(limitText).join('; ')),
    noteOf(token),
  ])
  return tableLines([['TOKEN', 'MODELS', 'TODAY', 'THIS MONTH', 'LIMITS', ''].map(inTheirLanguage), ...rows])
}

const usedText = ({ requests, ...used }: NonNullable<Listed['usage']>['day']): string =>
  [countText(requests, 'request'), countText(used.input_tokens + used.output_tokens, 'token')]
    .map(inTheirLanguage)
    .join(', ')

function noteOf({ admin, expires, expired }: Pick<Listed, 'admin' | 'expires' | 'expired'>): string {
  const end = expires === null ? [] : [expired ? 'has expired' : `until ${expires}`]
  return [...(admin ? ['is an admin'] : []), ...end].map(inTheirLanguage).join(', ')
}
