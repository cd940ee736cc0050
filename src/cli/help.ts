import { optionNamed, type Command, type CommandEntry, type Commands, type OptionName } from './arguments.ts'
import { inTheirLanguage } from './language.ts'
import { tableLines } from './terminal-text.ts'

/** Prints what all commands are, or what one of them takes. */
export function printHelp({ word }: Command, commands: Commands): number {
  const entry = word === undefined ? undefined : commands[word]
  const parts = word === undefined || entry === undefined ? overview(commands) : commandHelp(word, entry)
  process.stdout.write(`${parts.map(inTheirLanguage).join('\n\n')}\n`)
  return 0
}

function overview(commands: Commands): string[] {
  const names = Object.entries(commands).map(
    ([name, entry]) => [`${name}${wordOf(entry)}`, inTheirLanguage(entry.summary)] as const,
  )
  const ofStart = commands['start']?.options ?? []
  return [
    'AILoad puts one OpenAI-compatible endpoint in front of many.',
    'Usage: aiload [command] [options]',
    columns(names),
    'Options of start, which is the default; "aiload help COMMAND" has those of another:',
    optionLines([...ofStart, 'help', 'version']),
    commands['start']?.details ?? '',
  ]
}

function commandHelp(name: string, entry: CommandEntry): string[] {
  const { summary, details, options, word } = entry
  return [
    `Usage: aiload ${name}${wordOf(entry)}${options.length > 0 ? ' [options]' : ''}${restOf(entry)}`,
    `${summary[0]?.toUpperCase()}${summary.slice(1)}.`,
    ...(typeof word?.oneOf === 'object' ? [`${word.called} is one of ${word.oneOf.join(', ')}.`] : []),
    ...(options.length > 0 ? [optionLines(options)] : []),
    ...(details === undefined ? [] : [details]),
  ]
}

/** What a command takes without a dash, with a blank in front. */
function wordOf({ word }: CommandEntry): string {
  if (word === undefined) return ''
  const called = word.named === undefined ? word.called : `${word.called} [NAME]`
  return word.isOptional ? ` [${called}]` : ` ${called}`
}

const restOf = ({ rest }: CommandEntry): string => (rest === undefined ? '' : ` -- ${rest}`)

const optionLines = (names: readonly OptionName[]): string =>
  columns(
    names.map((name) => {
      const option = optionNamed(name)
      const short = option.short === undefined ? '    ' : `-${option.short}, `
      const value = option.value === undefined ? '' : ` ${option.value}`
      return [`${short}--${name}${value}`, inTheirLanguage(option.meaning)] as const
    }),
  )

/** Lines of a name and its meaning, the meanings below each other. */
const columns = (rows: readonly (readonly [name: string, meaning: string])[]): string =>
  tableLines(rows)
    .map((line) => `  ${line}`)
    .join('\n')
