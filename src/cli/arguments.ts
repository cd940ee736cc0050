import { parseArgs } from 'node:util'
import { nearestName } from '../config/suggest.ts'

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
export interface Misuse {
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
    return { misuse: `${name} takes no further word; what is ${quoted(more[0])} for?` }
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
  const hint = nearest === undefined ? `known are ${known.join(', ')}` : `did you mean ${nearest}?`
  return { misuse: `there is no ${kind} ${quoted(word)}; ${hint}` }
}

/** What was typed, on one line: it may be anything. */
const quoted = (word: string): string => JSON.stringify(word.slice(0, 60))

const isOption = (name: string): name is OptionName => Object.hasOwn(options, name)
const isCommand = (name: string): name is CommandName => Object.hasOwn(optionsOf, name)
