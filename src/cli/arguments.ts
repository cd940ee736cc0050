import { parseArgs } from 'node:util'
import type { ConfigTask } from '../adapter/node/without-file.ts'
import { nearestName } from '../config/checks.ts'
import type { ServerConfig } from '../config/config.ts'
import { checkAgainstSchema } from '../config/load.ts'
import { systemCodeOf } from '../errors.ts'
import { templateFile } from './package-files.ts'

/** One option of the command line; one with a `value` takes one. */
export interface Option {
  readonly type: 'boolean' | 'string'
  readonly short?: string
  /** What its value is called in the help. */
  readonly value?: string
  readonly example?: string
  /** All that the value may be. */
  readonly oneOf?: readonly string[]
  /** Its line in the help. */
  readonly meaning: string
}

/** Every option of every command: one name means one thing. */
const options = {
  config: {
    type: 'string',
    short: 'c',
    value: 'FILE',
    example: 'data/config/config.json',
    meaning: 'the configuration; default: AILOAD_CONFIG, else data/config/config.json',
  },
  port: {
    type: 'string',
    short: 'p',
    value: 'N',
    example: '2081',
    meaning: 'the port of the gateway, instead of server.port (2081)',
  },
  host: {
    type: 'string',
    value: 'H',
    example: '127.0.0.1',
    meaning: 'its address, instead of server.host (0.0.0.0; 127.0.0.1 without a file)',
  },
  log: {
    type: 'string',
    value: 'FORMAT',
    example: 'json',
    oneOf: ['pretty', 'json'],
    meaning: 'pretty or json; default: pretty on a terminal, else json',
  },
  show: { type: 'boolean', meaning: 'print it' },
  live: { type: 'boolean', meaning: 'ask the upstreams what they could serve; free' },
  spend: { type: 'boolean', meaning: 'with --live: ask each for two tokens too, which may cost something' },
  models: {
    type: 'string',
    value: 'NAMES',
    example: 'gpt-4o,fast',
    meaning: 'of add: models, groups or upstreams that it may use, as a,b; default: all',
  },
  json: { type: 'boolean', meaning: 'print JSON, for programs' },
  out: {
    type: 'string',
    value: 'FILE',
    example: 'data/config/config.json',
    meaning: 'write to this file; default: where "aiload start" looks',
  },
  force: { type: 'boolean', meaning: 'replace files that are there' },
  'plain-keys': { type: 'boolean', meaning: 'write keys into the configuration itself' },
  from: {
    type: 'string',
    value: 'KIND',
    example: 'litellm',
    oneOf: ['litellm', 'one-api', 'new-api', 'gpt-load', 'uni-api', 'env'],
    meaning: 'litellm, one-api, new-api, gpt-load, uni-api or env; default: by content',
  },
  of: {
    type: 'string',
    value: 'FILE',
    example: 'data/config/config.json',
    meaning: 'the present configuration; default: AILOAD_CONFIG, else data/config/config.json',
  },
  since: {
    type: 'string',
    value: 'TIME',
    example: '24h',
    meaning: 'how far back: 24h (the default), 90m, 2d',
  },
  help: { type: 'boolean', short: 'h', meaning: 'help; after a command, what that one takes' },
  version: { type: 'boolean', short: 'v', meaning: 'the version' },
} as const satisfies Readonly<Record<string, Option>>

/** Those that stand for a command of their own, and so go with every other. */
type Everywhere = 'help' | 'version'
export type OptionName = keyof typeof options

/** An option by its name. */
export const optionNamed = (name: OptionName): Option => options[name]

/** What the command line says instead of `server.port` and `server.host`. */
export type ListenAt = Partial<Pick<ServerConfig, 'port' | 'host'>>

/** How the log is written: for people, or for machines. */
export type LogFormat = ValueOf<(typeof options)['log']>

type ValueOf<Given extends Option> = Given extends { type: 'boolean' }
  ? true
  : Given extends { oneOf: readonly (infer Value)[] }
    ? Value
    : string

/** What was given of the options; those that were not are absent. */
type GivenOptions = ListenAt & {
  readonly [Name in Exclude<OptionName, Everywhere | keyof ListenAt>]?: ValueOf<(typeof options)[Name]>
}

/** What a command line asks for. */
export interface Command<Name extends string = string> extends GivenOptions {
  readonly name: Name
  /** The argument without a dash, where the command takes one. */
  readonly word?: string
  /** The one behind it: a name. */
  readonly subject?: string
  /** What stands behind `--`, for a command that hands it on. */
  readonly rest?: readonly string[]
}

/** A command: its help, what may be typed after it, and the work. */
export interface CommandEntry {
  /** Its line in the list of all. */
  readonly summary: string
  readonly options: readonly Exclude<OptionName, Everywhere>[]
  /** The one argument that it takes without a dash. */
  readonly word?: {
    /** What it is called in the help: FILE. */
    readonly called: string
    readonly example: string
    /** All that it may be, where that is known beforehand. */
    readonly oneOf?: readonly string[] | 'commands'
    readonly isOptional?: true
    /** Behind these a name follows. */
    readonly named?: readonly string[]
  }
  /** What the arguments behind `--` are called in the help, where it takes any. */
  readonly rest?: string
  /** What the list of its options does not say, as lines of at most 100 characters. */
  readonly details?: string
  /** Gives the exit code. It loads its file when it is called: `--help` should not wait for a gateway. */
  readonly run: (command: Command, commands: Commands) => number | Promise<number>
}

/** All commands, by name, in the order of the help. */
export type Commands = Readonly<Record<string, CommandEntry>>

/** Something typed that means nothing; one line that says what would. */
interface Misuse {
  readonly misuse: string
}

/** Reads a command line without the program's name. No command means `start`; of an option given twice the last counts. */
export function parseArguments(argv: readonly string[], commands: Commands): Command | Misuse {
  // Not strict: its errors are several sentences long and know no nearest name.
  const { tokens, values } = parseArgs({
    args: [...argv],
    options,
    strict: false,
    tokens: true,
    allowPositionals: true,
  })
  const end = tokens.find(({ kind }) => kind === 'option-terminator')?.index ?? argv.length
  const words: string[] = []
  for (const token of tokens) {
    if (token.kind === 'positional' && token.index < end) words.push(token.value)
    const misuse = token.kind === 'option' ? optionMisuse(token) : undefined
    if (misuse !== undefined) return misuse
  }
  const [name = 'start', ...further] = words
  const known = Object.keys(commands)
  const entry = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (entry === undefined) return unknown('command', name, known)
  if (values.help) return words.length === 0 ? { name: 'help' } : { name: 'help', word: name }
  if (values.version) return { name: 'version' }

  const rest = argv.slice(end + 1)
  const { word, rest: restCalled } = entry
  const given = restCalled === undefined ? [...further, ...rest] : further
  const misuse = wordMisuse(given, name, commands)
  if (misuse !== undefined) return misuse
  const foreign = Object.keys(values).find((option) => !entry.options.some((own) => own === option))
  if (foreign !== undefined) return { misuse: `${name} takes no --${foreign}; it takes ${optionList(entry)}` }

  const { port, host, ...others } = values
  const server = {
    ...(port !== undefined && { port: /^\d+$/.test(String(port)) ? Number(port) : port }),
    ...(host !== undefined && { host }),
  }
  // By the rules of the file.
  const wrong = checkAgainstSchema({ server }).findings.find(({ path }) => path[0] === 'server')
  if (wrong !== undefined) return { misuse: `--${wrong.path[1]} ${wrong.message}; ${wrong.hint}` }
  return {
    name,
    ...others,
    ...server,
    ...(word !== undefined && given[0] !== undefined && { word: given[0] }),
    ...(given[1] !== undefined && { subject: given[1] }),
    ...(restCalled !== undefined && { rest }),
  } as Command
}

type OptionToken = { readonly name: string; readonly rawName: string; readonly value?: string | undefined }

function optionMisuse({ name, rawName, value }: OptionToken): Misuse | undefined {
  if (!isOption(name)) return unknown('option', rawName, optionNames)
  const option = optionNamed(name)
  if (option.type === 'boolean')
    return value === undefined ? undefined : { misuse: `--${name} takes no value` }
  if (!value) return { misuse: `--${name} needs a value, such as --${name} ${option.example}` }
  if (option.oneOf?.includes(value) === false)
    return { misuse: `--${name} is ${option.oneOf.join(' or ')}, not ${shownWord(value)}` }
  return undefined
}

/** What is wrong with the arguments without a dash. */
function wordMisuse(given: readonly string[], name: string, commands: Commands) {
  const [first, second] = given
  const { word, rest } = commands[name] ?? {}
  const isNamed = word?.named?.includes(first ?? '') === true
  const extra = given[word === undefined ? 0 : isNamed ? 2 : 1]
  if (extra !== undefined && rest !== undefined)
    return { misuse: `${name} hands on what stands behind --, as in: aiload ${name} ${first} -- ${extra}` }
  if (extra !== undefined)
    return { misuse: `${name} takes no further arguments; what is ${shownWord(extra)} for?` }
  if (word === undefined) return undefined
  if (first === undefined)
    return word.isOptional
      ? undefined
      : { misuse: `${name} needs ${word.called}, such as: aiload ${name} ${word.example}` }
  const oneOf = word.oneOf === 'commands' ? Object.keys(commands) : word.oneOf
  if (oneOf?.includes(first) === false) return unknown(word.called.toLowerCase(), first, oneOf)
  if (isNamed && second === undefined)
    return { misuse: `${name} ${first} needs a NAME, such as: aiload ${name} ${first} alice` }
  return undefined
}

const optionList = (entry: CommandEntry): string =>
  entry.options.map((option) => `--${option}`).join(', ') || 'no option'
const isOption = (name: string): name is OptionName => Object.hasOwn(options, name)
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

/** Where to look for the configuration: `--config`, else `AILOAD_CONFIG`, else below the working directory and the environment. */
export const searchOf = (config: string | undefined): ConfigTask => ({
  directory: process.cwd(),
  given: config ?? process.env.AILOAD_CONFIG,
  env: process.env,
  template: templateFile(),
})
