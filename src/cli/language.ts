/** The first of these that is set and not empty names the language of messages (POSIX, Base Definitions, 8.2). */
const LOCALE_VARIABLES = ['LC_ALL', 'LC_MESSAGES', 'LANG'] as const

let translate: ((text: string) => string) | undefined

/** Whether messages should be Chinese. A terminal with another encoding than UTF-8 would show noise: it gets English. */
export function wantsChinese(env: Readonly<Record<string, string | undefined>>): boolean {
  const locale = LOCALE_VARIABLES.map((name) => env[name]).find(Boolean) ?? ''
  return /^zh(?:[_.@-]|$)/i.test(locale) && !/\.(?!utf-?8)/i.test(locale)
}

/** Has everything below speak the language that the environment names. Loads nothing for English. */
export async function chooseLanguage(env: Readonly<Record<string, string | undefined>>): Promise<void> {
  translate = wantsChinese(env) ? (await import('./chinese.ts')).inChinese : undefined
}

/** A line, or a part of one, in the reader's language; as it is where that has no words for it. */
export const inTheirLanguage = (text: string): string => translate?.(text) ?? text

/** Prints lines for people on the standard output. What is for programs is written as it is, and not by this. */
export function say(...lines: readonly string[]): void {
  process.stdout.write(lines.map((line) => `${inTheirLanguage(line)}\n`).join(''))
}
