import {
  optionNamed,
  type Command,
  type CommandEntry,
  type Commands,
  type Option,
  type OptionName,
} from './arguments.ts'
import { shellQuoted as quoted } from './terminal-text.ts'

/** Prints a script that has a shell complete the commands of the table and what each takes. */
export function printCompletion({ word }: Command, commands: Commands): number {
  const script = word === undefined ? undefined : scripts[word]
  process.stdout.write(`${script?.(Object.entries(commands)) ?? ''}\n`)
  return 0
}

type Entries = readonly (readonly [name: string, entry: CommandEntry])[]

/** What is offered for an option's value, or for a command's argument. */
type Offer = { readonly kind: 'words'; readonly words: readonly string[] } | { readonly kind: 'file' | 'any' }

interface OfferedOption extends Pick<Option, 'short' | 'meaning'> {
  readonly long: string
  /** Absent where it takes no value. */
  readonly offer: Offer | undefined
}

const optionsOf = (names: readonly OptionName[]): OfferedOption[] =>
  [...names, 'help' as const].map((long) => {
    const { value, oneOf, ...option } = optionNamed(long)
    return { ...option, long, offer: value === undefined ? undefined : offerOf(value, oneOf) }
  })

function offerOf(called: string, oneOf: readonly string[] | undefined): Offer {
  if (oneOf !== undefined) return { kind: 'words', words: oneOf }
  return { kind: called === 'FILE' ? 'file' : 'any' }
}

function wordOffer({ word }: CommandEntry, entries: Entries): Offer | undefined {
  if (word === undefined) return undefined
  const oneOf = word.oneOf === 'commands' ? entries.map(([name]) => name) : word.oneOf
  return offerOf(word.called, oneOf)
}

/** One command, as the scripts are made of it; the empty name stands for none, which means `start`. */
function offersOf(entries: Entries) {
  const start = entries.find(([name]) => name === 'start')?.[1].options ?? []
  const bare = {
    name: '',
    options: optionsOf([...start, 'version']),
    word: { kind: 'words', words: entries.map(([name]) => name) } as Offer | undefined,
  }
  const named = entries.map(([name, entry]) => ({
    name,
    options: optionsOf(entry.options),
    word: wordOffer(entry, entries),
  }))
  return [bare, ...named]
}

const flagsOf = ({ long, short }: OfferedOption): string[] => [
  ...(short === undefined ? [] : [`-${short}`]),
  `--${long}`,
]
const wordsOf = (offer: Offer | undefined): readonly string[] => (offer?.kind === 'words' ? offer.words : [])

/** Bash from 3.2 on, which macOS has. */
function bashScript(entries: Entries): string {
  const offers = offersOf(entries)
  const all = new Map(offers.flatMap(({ options }) => options).map((option) => [option.long, option]))
  const valued = [...all.values()].filter(({ offer }) => offer !== undefined)
  const values = valued.map((option) => {
    const { offer } = option
    const reply =
      offer?.kind === 'file' ? '_aiload_files' : `_aiload_words ${quoted(wordsOf(offer).join(' '))}`
    return `    ${flagsOf(option).join('|')}) ${reply}; return ;;`
  })
  const cases = offers.map(({ name, options, word }) => {
    const words = [...wordsOf(word), ...options.map(({ long }) => `--${long}`)]
    const files = word?.kind === 'file' ? '_aiload_files; ' : ''
    return `    ${quoted(name)}) ${files}_aiload_words ${quoted(words.join(' '))} ;;`
  })
  return `# Completion of aiload in bash: eval "$(aiload completion bash)"
_aiload_words() {
  local IFS=$' \\t\\n'
  COMPREPLY+=($(compgen -W "$1" -- "$current"))
}
_aiload_files() {
  local IFS=$'\\n'
  compopt -o filenames 2>/dev/null
  COMPREPLY+=($(compgen -f -- "$current"))
}
_aiload() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} command='' word skip=''
  COMPREPLY=()
  if [ "$current" = '=' ]; then current=''; fi
  if [ "$previous" = '=' ]; then previous=\${COMP_WORDS[COMP_CWORD-2]}; fi
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    if [ "$word" = '--' ]; then _aiload_files; return; fi
    if [ -n "$skip" ]; then skip=''; continue; fi
    case $word in
      ${valued.flatMap(flagsOf).join('|')}) skip=1 ;;
      ${entries.map(([name]) => name).join('|')}) if [ -z "$command" ]; then command=$word; fi ;;
    esac
  done
  case $previous in
${values.join('\n')}
  esac
  case $command in
${cases.join('\n')}
  esac
}
complete -F _aiload aiload`
}

function zshScript(entries: Entries): string {
  const escaped = (text: string): string => text.replaceAll(/[\\[\]:]/g, String.raw`\$&`)
  const actionOf = (offer: Offer): string => {
    if (offer.kind === 'file') return '_files'
    return offer.kind === 'words' ? `(${offer.words.join(' ')})` : ' '
  }
  const argumentsOf = ({ options, word }: ReturnType<typeof offersOf>[number]): string[] => [
    ...options.map((option) => {
      const { long, short, meaning, offer } = option
      const alone = short === undefined ? '' : `(-${short} --${long})`
      const flags = short === undefined ? `--${long}` : `'{-${short},--${long}}'`
      return quotedSpec(`${alone}${flags}[${escaped(meaning)}]${offer ? `:${long}:${actionOf(offer)}` : ''}`)
    }),
    ...(word === undefined ? [] : [quoted(`1:argument:${actionOf(word)}`)]),
  ]
  const [bare, ...named] = offersOf(entries)
  const described = entries.map(([name, { summary }]) => quoted(`${name}:${escaped(summary)}`))
  const top = bare === undefined ? [] : argumentsOf({ ...bare, word: undefined })
  const cases = named.map((offer) => `    ${offer.name}) _arguments ${argumentsOf(offer).join(' ')} ;;`)
  return `# Completion of aiload in zsh, behind compinit: eval "$(aiload completion zsh)"
_aiload() {
  local context state state_descr line
  typeset -A opt_args
  local -a commands=(${described.join(' ')})
  _arguments -C ${top.join(' ')} '1:command:->command' '*::argument:->argument'
  if [[ $state == command ]]; then _describe command commands; return; fi
  case $line[1] in
${cases.join('\n')}
  esac
}
compdef _aiload aiload`
}

/** Quotes all but the braces between a pair of quotes, which zsh is to expand. */
const quotedSpec = (text: string): string =>
  text
    .split(/('\{-\w,--\w+\}')/)
    .map((part) => (part.startsWith("'{") ? part.slice(1, -1) : quoted(part)))
    .filter((part) => part !== "''")
    .join('')

function fishScript(entries: Entries): string {
  const condition = (name: string): string =>
    name === '' ? '__fish_use_subcommand' : quoted(`__fish_seen_subcommand_from ${name}`)
  const argumentOf = (offer: Offer): string =>
    offer.kind === 'file' ? '-F' : `-f -a ${quoted(wordsOf(offer).join(' '))}`
  const lines = offersOf(entries).flatMap(({ name, options, word }) => [
    ...options.map(({ long, short, meaning, offer }) => {
      const flags = `${short === undefined ? '' : `-s ${short} `}-l ${long}`
      const taken = offer === undefined ? '' : ` -r ${argumentOf(offer)}`
      return `complete -c aiload -n ${condition(name)} ${flags}${taken} -d ${quoted(meaning)}`
    }),
    ...(word === undefined || name === ''
      ? []
      : [`complete -c aiload -n ${condition(name)} ${argumentOf(word)}`]),
  ])
  const commands = entries.map(
    ([name, { summary }]) =>
      `complete -c aiload -n __fish_use_subcommand -f -a ${name} -d ${quoted(summary)}`,
  )
  return `# Completion of aiload in fish: aiload completion fish | source
complete -c aiload -f
${[...commands, ...lines].join('\n')}`
}

const scripts: Readonly<Record<string, (entries: Entries) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
}
