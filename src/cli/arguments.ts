import { parseArgs } from 'node:util'
import type { ConfigSearch } from '../adapter/node/config-file.ts'
import { nearestName } from '../config/checks.ts'
import type { ServerConfig } from '../config/config.ts'
import { checkAgainstSchema } from '../config/load.ts'
import { quoted } from '../config/problem.ts'
import { systemCodeOf } from '../errors.ts'

/** What the command line says instead of `server.port` and `server.host`. */
export type ListenAt = Partial<Pick<ServerConfig, 'port' | 'host'>>

const logFormats = ['pretty', 'json'] as const
/** How the log is written: for people, or for machines. */
export type LogFormat = (typeof logFormats)[number]

/** What a command line asks for. Options that were not given are absent. */
export interface Command extends ListenAt {
  readonly name: keyof typeof optionsOf | 'help' | 'version'
  /** The environment and the usual places come after it. */
  readonly config?: string
  readonly show?: boolean
  /** The usual one unless given. */
  readonly log?: LogFormat
}

/** Something typed that means nothing; one line that says what would. */
interface Misuse {
  readonly misuse: string
}

const options = {
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
  config: { type: 'string', short: 'c', example: 'data/config/config.json' },
  port: { type: 'string', short: 'p', example: '2081' },
  host: { type: 'string', example: '127.0.0.1' },
  show: { type: 'boolean' },
  log: { type: 'string', example: 'json' },
} as const

const optionsOf = {
  start: ['config', 'port', 'host', 'log'],
  check: ['config'],
  demo: ['port'],
  token: ['config', 'show'],
} as const satisfies Record<string, readonly (keyof typeof options)[]>

/** Reads a command line without the program's name. No command means `start`; of an option given twice the last counts. */
export function parseArguments(argv: readonly string[]): Command | Misuse {
  // Not strict: its errors are several sentences long and know no nearest name.
  const { tokens, values, positionals } = parseArgs({
    args: [...argv],
    options,
    strict: false,
    tokens: true,
    allowPositionals: true,
  })
  for (const token of tokens) {
    if (token.kind !== 'option') continue
    const { name, rawName, value } = token
    if (!isOption(name)) return unknown('option', rawName, optionNames)
    const option = options[name]
    if (option.type === 'boolean' && value !== undefined) return { misuse: `--${name} takes no value` }
    if (option.type === 'string' && !value)
      return { misuse: `--${name} needs a value, such as --${name} ${option.example}` }
  }
  if (values.help) return { name: 'help' }
  if (values.version) return { name: 'version' }

  const [name = 'start', extra] = positionals
  if (!isCommand(name)) return unknown('command', name, Object.keys(optionsOf))
  if (extra !== undefined)
    return { misuse: `${name} takes no further arguments; what is ${shownWord(extra)} for?` }
  const allowed: readonly string[] = optionsOf[name]
  const foreign = Object.keys(values).find((option) => !allowed.includes(option))
  const takes = allowed.map((option) => `--${option}`).join(', ')
  if (foreign !== undefined) return { misuse: `${name} takes no --${foreign}; it takes ${takes}` }

  const { port, host, config, show, log } = values
  if (log !== undefined && !logFormats.some((format) => format === log))
    return { misuse: `--log is not a known value; write one of ${quoted(logFormats)}` }
  const server = {
    ...(port !== undefined && { port: /^\d+$/.test(String(port)) ? Number(port) : port }),
    ...(host !== undefined && { host }),
  }
  // By the rules of the file.
  const wrong = checkAgainstSchema({ server }).findings.find(({ path }) => path[0] === 'server')
  if (wrong !== undefined) return { misuse: `--${wrong.path[1]} ${wrong.message}; ${wrong.hint}` }
  const shown = name === 'token' ? { show: show === true } : {}
  const given = { ...(config !== undefined && { config }), ...(log !== undefined && { log }) }
  return { name, ...server, ...given, ...shown } as Command
}

const isOption = (name: string): name is keyof typeof options => Object.hasOwn(options, name)
const isCommand = (name: string): name is keyof typeof optionsOf => Object.hasOwn(optionsOf, name)
const optionNames = Object.keys(options).map((name) => `--${name}`)

function unknown(kind: string, word: string, known: readonly string[]): Misuse {
  const nearest = nearestName(word, known)
  const hint = nearest === undefined ? `known: ${known.join(', ')}` : `did you mean ${nearest}?`
  return { misuse: `there is no ${kind} ${shownWord(word)}; ${hint}` }
}

/** What was typed, on one line: it may be anything. */
const shownWord = (word: string): string => JSON.stringify(word.slice(0, 60))

/** Why an address can't be had, in one line. */
export function listenFailure(error: unknown, { host, port }: Required<ListenAt>): string {
  const code = systemCodeOf(error) ?? 'unknown error'
  return failures[code]?.(host, port) ?? `cannot listen on ${host}, port ${port} (${code})`
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
export const searchOf = (config: string | undefined): ConfigSearch => ({
  directory: process.cwd(),
  given: config ?? process.env.AILOAD_CONFIG,
})

/** `1 upstream`, `2 upstreams`, `0 upstreams`. */
export const countText = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`
