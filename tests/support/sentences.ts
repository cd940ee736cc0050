import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseSync, Visitor } from 'oxc-parser'

const root = fileURLToPath(new URL('../../', import.meta.url))
const LIST = join(root, 'tests/sentences.txt')

/** Three words and more: what a client or an operator reads, and not a name, a key or a line of HTTP. */
const isSentence = (text: string): boolean =>
  (text.match(/[\p{L}\d}>"')]+[,.:;]? +(?=[\p{L}$<"'(])/gu) ?? []).length >= 2

/** Every text in the code of one file, in its order; `${…}` stands for what is filled in. */
export function textsIn(path: string): string[] {
  const found: string[] = []
  const add = (text: string): void => void found.push(text.trim().replaceAll(/\s*\n\s*/g, ' ⏎ '))
  const { program } = parseSync(path, readFileSync(join(root, path), 'utf8'))
  new Visitor({
    Literal: ({ value }) => {
      if (typeof value === 'string') add(value)
    },
    TemplateLiteral: ({ quasis }) => add(quasis.map(({ value }) => value.cooked ?? value.raw).join('${…}')),
  }).visit(program)
  return found
}

/** The source files below `src`. */
export const sourceFiles = (): string[] =>
  readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.m?[jt]s$/.test(name) && !name.endsWith('.d.ts'))
    .map((name) => join('src', name))
    .toSorted()

/** Every sentence of the program, file by file: to be read by somebody who has not written them. */
export function sentencesText(): string {
  const parts = sourceFiles()
    .map((path) => ({ path, lines: textsIn(path).filter(isSentence) }))
    .filter(({ lines }) => lines.length > 0)
  return parts.map(({ path, lines }) => `${path}\n${lines.map((line) => `  ${line}\n`).join('')}`).join('\n')
}

/** The list as it was read last. */
export const readSentences = (): string => readFileSync(LIST, 'utf8')

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(LIST, sentencesText())
