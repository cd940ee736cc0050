import { parseArgs } from 'node:util'
import type { ConfigSearch } from '../adapter/node/config-file.ts'
import { nearestName } from '../config/checks.ts'
import type { Config } from '../config/config.ts'
import { checkAgainstSchema } from '../config/load.ts'
import { systemCodeOf } from '../errors.ts'

/** What a command line asks for. Options that were not given are absent. */
export type Command =
  | { readonly name: 'help' | 'version' }
  | ({ readonly name: 'start' } & Located & ListenOptions)
  | ({ readonly name: 'check' } & Located)
  | ({ readonly name: 'token'; readonly show: boolean } & Located)
  | ({ readonly name: 'demo' } & ListenOptions)

/** `--config`; the environment and the usual places come after it. */
export interface Located {
  readonly config?: string
}

/** Where to listen, as typed: checked like the same keys of the file. */
export interface ListenOptions {
  readonly port?: string
  readonly host?: string
}

/** Something typed that means nothing; one line that says what would. */
interface Misuse {
  readonly misuse: string
}

const options = {
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
  config: { type: 'string', short: 'c' },
  port: { type: 'string', short: 'p' },
  host: { type: 'string' },
  show: { type: 'boolean' },
} as const
type OptionName = keyof typeof options

const optionsOf = {
  start: ['config', 'port', 'host'],
  check: ['config'],
  demo: ['port'],
  token: ['config', 'show'],
} as const satisfies Record<string, readonly OptionName[]>
type CommandName = keyof typeof optionsOf

const commandNames = Object.keys(optionsOf)
const optionNames = Object.keys(options)

/** Reads a command line without the program's name. No command means `start`; of an option given twice the last counts. */
export function parseArguments(argv: readonly string[]): Command | Misuse {
  // Not strict: its errors are several sentences long and know no nearest name.
  const { tokens } = parseArgs({
    args: [...argv],
    options,
    strict: false,
    tokens: true,
    allowPositionals: true,
  })
  const given: Partial<Record<OptionName, string | true>> = {}
  const words: string[] = []
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue
    if (token.kind === 'positional') {
      words.push(token.value)
      continue
    }
    if (!isOption(token.name))
      return unknown(
        'option',
        token.rawName,
        optionNames.map((name) => `--${name}`),
      )
    const misuse = valueMisuse(token.name, token.value)
    if (misuse !== undefined) return { misuse }
    given[token.name] = token.value ?? true
  }
  if (given.help) return { name: 'help' }
  if (given.version) return { name: 'version' }

  const [name = 'start', ...more] = words
  if (!isCommand(name)) return unknown('command', name, commandNames)
  if (more[0] !== undefined)
    return { misuse: `${name} takes no further arguments; what is ${shownWord(more[0])} for?` }
  return commandOf(name, given)
}

function commandOf(name: CommandName, given: Partial<Record<OptionName, string | true>>): Command | Misuse {
  const allowed: readonly string[] = optionsOf[name]
  const foreign = Object.keys(given).find((option) => !allowed.includes(option))
  if (foreign !== undefined) {
    return {
      misuse: `${name} takes no --${foreign}; it takes ${allowed.map((option) => `--${option}`).join(', ')}`,
    }
  }
  const text = (option: OptionName): object =>
    typeof given[option] === 'string' ? { [option]: given[option] } : {}
  const all = { name, ...text('config'), ...text('port'), ...text('host') }
  return name === 'token' ? { ...all, name, show: given.show === true } : { ...all, name }
}

function valueMisuse(name: OptionName, value: string | undefined): string | undefined {
  const isText = options[name].type === 'string'
  if (isText && (value === undefined || value === ''))
    return `--${name} needs a value, such as ${examples[name]}`
  return !isText && value !== undefined ? `--${name} takes no value` : undefined
}

const examples: Partial<Record<OptionName, string>> = {
  config: '--config data/config/config.json',
  port: '--port 2081',
  host: '--host 127.0.0.1',
}

function unknown(kind: string, word: string, known: readonly string[]): Misuse {
  const nearest = nearestName(word, known)
  const hint = nearest === undefined ? `known: ${known.join(', ')}` : `did you mean ${nearest}?`
  return { misuse: `there is no ${kind} ${shownWord(word)}; ${hint}` }
}

/** What was typed, on one line: it may be anything. */
const shownWord = (word: string): string => JSON.stringify(word.slice(0, 60))

const isOption = (name: string): name is OptionName => Object.hasOwn(options, name)
const isCommand = (name: string): name is CommandName => Object.hasOwn(optionsOf, name)

/** What the command line says instead of `server.port` and `server.host`. */
export type ListenAt = Partial<Pick<Config['server'], 'port' | 'host'>>

/** Checks `--port` and `--host` by the rules of the file. */
export function listenAt({ port, host }: ListenOptions): ListenAt | Misuse {
  const server = {
    ...(port === undefined ? {} : { port: /^\d+$/.test(port) ? Number(port) : port }),
    ...(host === undefined ? {} : { host }),
  }
  const checked = checkAgainstSchema({ server })
  const finding =
    'findings' in checked ? checked.findings.find(({ path }) => path[0] === 'server') : undefined
  if (finding !== undefined) return { misuse: `--${finding.path[1]} ${finding.message}; ${finding.hint}` }
  return server as ListenAt
}

/** The same configuration, listening where the command line says. */
export const listeningAt = (config: Config, at: ListenAt): Config => ({
  ...config,
  server: { ...config.server, ...at },
})

/** Why an address can't be had, in one line. */
export function listenFailure(
  error: unknown,
  { host, port }: Pick<Config['server'], 'port' | 'host'>,
): string {
  const code = systemCodeOf(error) ?? 'unknown error'
  const known = failures[code]
  return known === undefined ? `cannot listen on ${host}, port ${port} (${code})` : known(host, port)
}

const failures: Readonly<Record<string, (host: string, port: number) => string>> = {
  EADDRINUSE: (_, port) =>
    `port ${port} is taken by another program; free it, or choose another with --port or server.port`,
  EACCES: (_, port) =>
    `port ${port} may not be used by this user; choose one above 1023 with --port or server.port`,
  EADDRNOTAVAIL: (host) => `this machine has no address ${host}; correct --host or server.host`,
  ENOTFOUND: (host) => `the host name ${host} is not known; correct --host or server.host`,
  EAI_AGAIN: (host) =>
    `the host name ${host} cannot be looked up now; write an address in --host or server.host`,
}

/** Where to look for the configuration: `--config`, else `AILOAD_CONFIG`, else below the working directory. */
export function searchOf({ config }: Located): ConfigSearch {
  const given = config ?? process.env.AILOAD_CONFIG
  return { directory: process.cwd(), ...(given === undefined ? {} : { given }) }
}

/** `1 upstream`, `2 upstreams`, `0 upstreams`. */
export const countText = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`
