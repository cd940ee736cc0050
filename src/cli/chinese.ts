import translations from './chinese.json' with { type: 'json' }

/*
 * The program speaks English. Its finished lines are put into Chinese here: a sentence is found again by what stands around
 * its blanks. In `chinese.json` `sentences` has `${…}` for what is filled in and ` ⏎ ` for line breaks, as
 * tests/sentences.txt has them; `composed` has the same, of sentences that the code puts together from several; and `counted`
 * the nouns behind a number.
 */

const sentences: Readonly<Record<string, string>> = { ...translations.sentences, ...translations.composed }
const counted: Readonly<Record<string, string>> = translations.counted

interface Template {
  readonly pattern: RegExp
  /** The Chinese around the blanks. */
  readonly parts: readonly string[]
  readonly length: number
  /** It could be found by chance in words that are not ours. */
  readonly isVague: boolean
}

const BLANK = '${…}'
/** What stands in a blank may be anybody's words: there a sentence that begins with a blank must show so many letters. */
const ENOUGH_LETTERS = 6

/** Most words first: what is nearer to a line says more of it. */
const templates: readonly Template[] = Object.entries(sentences)
  .filter(([english]) => english.includes(BLANK))
  .map(([english, chinese]) => {
    const words = aroundBlanks(english)
    const text = words.join('')
    return {
      pattern: new RegExp(`^${words.map(escaped).join('(.*?)')}$`),
      parts: aroundBlanks(chinese),
      length: text.length,
      isVague: words[0] === '' && (text.match(/\p{L}/gu)?.length ?? 0) < ENOUGH_LETTERS,
    }
  })
  .toSorted((a, b) => b.length - a.length)

/** Blanks side by side are one: where the first ends nobody can tell. */
function aroundBlanks(sentence: string): string[] {
  return sentence.replaceAll(/(?:\$\{…\})+/g, BLANK).split(BLANK)
}

function escaped(text: string): string {
  return text.replaceAll(/[$()*+.?[\\\]^{|}/]/g, String.raw`\$&`)
}

/** `config.json:3:5: models[0].name: ` or `environment: NAME: `, in front of what is wrong there. */
const PLACE =
  /^(?:\S(?:(?!: ).)*?:\d+:\d+|environment): (?:(?:[\w$]+|\[".*?"\])(?:\.[\w$]+|\[\d+\]|\["(?:[^"\\]|\\.)*"\])*: )?/
/** What may stand in front of any line. */
const PREFIXES: Readonly<Record<string, string>> = {
  '  ': '  ',
  'warning: ': '警告：',
  'aiload: ': 'aiload: ',
}

/**
 * A line of the command line in Chinese, or a part of one. Names, addresses and the words of others stay, and so does a
 * line that has no Chinese one.
 */
export function inChinese(line: string): string {
  const isKnown = Object.hasOwn(sentences, line)
  for (const [prefix, own] of Object.entries(PREFIXES))
    if (!isKnown && line.startsWith(prefix)) return own + inChinese(line.slice(prefix.length))
  return knownText(line, {}) ?? line
}

/** Whether it stands within another sentence, where only what is surely ours is known. */
type Where = { readonly isInside?: true }
const INSIDE: Where = { isInside: true }

/** Undefined = there is no Chinese for it. */
function knownText(text: string, where: Where): string | undefined {
  const [place] = PLACE.exec(text) ?? []
  if (place !== undefined) {
    const known = knownText(text.slice(place.length), where)
    return known && place + known
  }
  if (text.length > LONGEST) return sentenceText(text, where)
  return joinedText(text, where, { isWhole: true }) ?? sentenceText(text, where) ?? joinedText(text, where)
}

/** What is longer is hardly ours, and is looked at as a single sentence alone. */
const LONGEST = 500
const MOST_SENTENCES = 8

function sentenceText(text: string, { isInside }: Where): string | undefined {
  const whole = sentences[text.replaceAll(/\s*\n\s*/g, ' ⏎ ')]
  if (whole !== undefined) return whole.replaceAll(/ ?⏎ ?/g, '\n')
  for (const { pattern, parts, isVague } of templates) {
    const [, ...blanks] = (isInside && isVague ? undefined : pattern.exec(text)) ?? []
    if (blanks.length > 0)
      return parts.reduce((before, part, at) => before + blankText(blanks[at - 1]) + part)
  }
  return countedText(text)
}

function blankText(text = ''): string {
  const core = text.trim()
  const known = knownText(core, INSIDE)
  // Full-width signs bring their blank along.
  return known === undefined ? text : text.replace(core, () => known).replace(/^ (?=[（，；])/, '')
}

/** `3 upstreams`, `4 min 10 s`. */
function countedText(text: string): string | undefined {
  if (!/^\d+ \D/.test(text)) return undefined
  const parts = text.split(/ (?=\d)/).map((part) => {
    const [, count, noun = ''] = /^(\d+) (.+)$/.exec(part) ?? []
    const chinese = counted[noun] ?? counted[noun.replace(/s$/, '')]
    return chinese && `${count} ${chinese}`
  })
  return parts.includes(undefined) ? undefined : parts.join(' ')
}

/** `message; hint`, `state (owner)`, and a sentence with its full stop. With `isWhole` only where every part is known. */
function joinedText(text: string, where: Where, { isWhole = false } = {}): string | undefined {
  const parts = text.split('; ')
  if (parts.length > MOST_SENTENCES) return undefined
  for (let taken = 1; taken < parts.length; taken += 1) {
    const before = sentenceText(parts.slice(0, taken).join('; '), where)
    if (before === undefined) continue
    const rest = parts.slice(taken).join('; ')
    const after = knownText(rest, where)
    if (after !== undefined || !isWhole) return `${before}；${after ?? rest}`
  }
  if (isWhole) return undefined
  const [, stem = '', aside = ''] = /^(.+) \((.+)\)$/.exec(text) ?? []
  const [ofStem, ofAside] = [sentenceText(stem, where), sentenceText(aside, INSIDE)]
  if (ofStem !== undefined || ofAside !== undefined) return `${ofStem ?? stem}（${ofAside ?? aside}）`
  const [, initial = '', more = ''] = /^([A-Z])(.*)\.$/.exec(text) ?? []
  const stopped = sentenceText(initial.toLowerCase() + more, where)
  return stopped && `${stopped}。`
}
