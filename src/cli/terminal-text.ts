import type { UpstreamStatus } from '../telemetry/status.ts'

/** What takes two places in a terminal: Han, kana, Hangul and full-width forms. */
const WIDE =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303f\uff00-\uff60]/gu
const UNSEEN = /[\p{Cc}\p{Cf}\p{M}]/gu

/** A line with nothing in it that moves the cursor, colours what follows or turns its direction: names are anybody's. */
export const plainLine = (line: string): string => line.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\ufffd')

const CHARACTER = /[^]/gu

const countIn = (text: string, pattern: RegExp): number => text.match(pattern)?.length ?? 0
const widthOf = (text: string): number => countIn(text, CHARACTER) + countIn(text, WIDE)

/** Rows as lines, their cells below each other with two blanks between; nothing in a cell can move the cursor. */
export function tableLines(rows: readonly (readonly string[])[]): string[] {
  const cleaned = rows.map((row) => row.map((cell) => cell.replaceAll(UNSEEN, '')))
  const widths: number[] = []
  for (const row of cleaned)
    for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, widthOf(cell))
  const padded = (cell: string, at: number): string => cell + ' '.repeat((widths[at] ?? 0) - widthOf(cell))
  return cleaned.map((row) => row.map(padded).join('  ').trimEnd())
}

const UNITS = [
  { ms: 86_400_000, name: 'd' },
  { ms: 3_600_000, name: 'h' },
  { ms: 60_000, name: 'min' },
  { ms: 1_000, name: 's' },
] as const

/** A duration in its two largest units, rounded up: `2 d 3 h`, `4 min 10 s`, `1 s`. */
export function durationText(ms: number): string {
  const first = UNITS.findIndex((unit) => ms >= unit.ms)
  if (first < 0) return '1 s'
  const smallest = UNITS[first + 1] ?? { ms: 1_000, name: 's' }
  const whole = Math.ceil(ms / smallest.ms) * smallest.ms
  let left = whole
  const parts: string[] = []
  for (const unit of UNITS.slice(Math.max(0, first - 1), first + 2)) {
    const count = Math.floor(left / unit.ms)
    left -= count * unit.ms
    if (count > 0) parts.push(`${count} ${unit.name}`)
  }
  return parts.slice(0, 2).join(' ')
}

/** `1 upstream`, `2 upstreams`, `0 upstreams`. */
export const countText = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`

/** The first of a list, and how many more there are: `a, b and 3 more`. */
export function firstOf(names: readonly string[], most: number): string {
  const left = names.length - most
  return names.slice(0, most).join(', ') + (left > 0 ? ` and ${left} more` : '')
}

/** A text as bash, zsh and fish read it: in single quotes. */
export const shellQuoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`

/** The same, without quotes where it needs none. */
export const shellWord = (text: string): string => (/^[\w./:+=@%,-]*$/.test(text) ? text : shellQuoted(text))

/** One limit, as a part of a line. */
export function limitText({ counts, window, used, left, limit }: UpstreamStatus['windows'][number]): string {
  const what = window === 'at_once' ? `${counts} at once` : `${counts} per ${window}`
  return limit === null ? `${what}: ${left} left` : `${what}: ${used} used, ${left} left`
}
