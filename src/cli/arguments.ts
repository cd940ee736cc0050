import { parseArgs } from 'node:util'
import type { ConfigSearch } from '../adapter/node/config-file.ts'
import { nearestName } from '../config/checks.ts'
import type { ServerConfig } from '../config/config.ts'
import { checkAgainstSchema } from '../config/load.ts'
import { systemCodeOf } from '../errors.ts'

/** What a command line asks for. Options that were not given are absent. */
export type Command =
  | { readonly name: 'help' | 'version' }
  | ({ readonly name: 'start' } & Located & ListenAt)
  | ({ readonly name: 'check' } & Located)
  | ({ readonly name: 'token'; readonly show: boolean } & Located)
  | ({ readonly name: 'demo' } & ListenAt)

/** `--config`; the environment and the usual places come after it. */
export interface Located {
  readonly config?: string
}

/** What the command line says instead of `server.port` and `server.host`. */
export type ListenAt = Partial<Pick<ServerConfig, 'port' | 'host'>>

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

const examples: Readonly<Record<string, string>> = {
  config: '--config data/config/config.json',
  port: '--port 2081',
  host: '--host 127.0.0.1',
}

const optionsOf: Readonly<Record<string, readonly string[]>> = {
  start: ['config', 'port', 'host'],
  check: ['config'],
  demo: ['port'],
  token: ['config', 'show'],
}

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
    const misuse = token.kind === 'option' ? optionMisuse(token) : undefined
    if (misuse !== undefined) return { misuse }
  }
  if (values.help) return { name: 'help' }
  if (values.version) return { name: 'version' }

  const [name = 'start', extra] = positionals
  if (!Object.hasOwn(optionsOf, name)) return { misuse: unknown('command', name, Object.keys(optionsOf)) }
  if (extra !== undefined)
    return { misuse: `${name} takes no further arguments; what is ${shownWord(extra)} for?` }
  const allowed = optionsOf[name] ?? []
  const foreign = Object.keys(values).find((option) => !allowed.includes(option))
  if (foreign !== undefined)
    return {
      misuse: `${name} takes no --${foreign}; it takes ${allowed.map((option) => `--${option}`).join(', ')}`,
    }

  const { port, host, config, show = false } = values
  const server = {
    ...(port !== undefined && { port: /^\d+$/.test(String(port)) ? Number(port) : port }),
    ...(host !== undefined && { host }),
  }
  // By the rules of the file.
  const wrong = checkAgainstSchema({ server }).findings.find(({ path }) => path[0] === 'server')
  if (wrong !== undefined) return { misuse: `--${wrong.path[1]} ${wrong.message}; ${wrong.hint}` }
  return {
    name,
    ...server,
    ...(config !== undefined && { config }),
    ...(name === 'token' && { show }),
  } as Command
}

interface OptionToken {
  readonly name: string
  readonly rawName: string
  readonly value: string | undefined
}

function optionMisuse({ name, rawName, value }: OptionToken): string | undefined {
  if (!isOption(name))
    return unknown(
      'option',
      rawName,
      Object.keys(options).map((known) => `--${known}`),
    )
  if (options[name].type === 'boolean') return value === undefined ? undefined : `--${name} takes no value`
  return value ? undefined : `--${name} needs a value, such as ${examples[name]}`
}

const isOption = (name: string): name is keyof typeof options => Object.hasOwn(options, name)

function unknown(kind: string, word: string, known: readonly string[]): string {
  const nearest = nearestName(word, known)
  const hint = nearest === undefined ? `known: ${known.join(', ')}` : `did you mean ${nearest}?`
  return `there is no ${kind} ${shownWord(word)}; ${hint}`
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
