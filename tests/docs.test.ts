import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { strategyNames } from '../src/pool/strategy.ts'
import { loadConfig } from '../src/config/load.ts'
import { tableBelow } from './support/markdown.ts'

/** What the Markdown files of the project say of each other, of commands and of metrics is there. */

const root = fileURLToPath(new URL('..', import.meta.url))
const NOT_OURS = new Set(['node_modules', 'dist', 'dist-edge', 'data'])

function markdownFilesIn(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name)
    const isHidden = entry.name.startsWith('.') && entry.name !== '.github'
    if (entry.isDirectory()) return isHidden || NOT_OURS.has(entry.name) ? [] : markdownFilesIn(path)
    return entry.name.endsWith('.md') ? [relative(root, path)] : []
  })
}

const files = markdownFilesIn(root)
const textOf = (file: string): string => readFileSync(join(root, file), 'utf8')
/** Without its blocks of code, in which nothing is a table, a link or a heading. */
const proseOf = (text: string): string => text.replaceAll(/^```[\s\S]*?^```$/gm, '')

test('the files are found', () => {
  expect(files).toEqual(expect.arrayContaining(['README.md', 'CONTRIBUTING.md', 'docs/operate.md']))
})

describe.each(files)('%s', (file) => {
  const text = textOf(file)

  test('every table has as many cells in each row as in its head', () => {
    const wrong: string[] = []
    for (const [table] of proseOf(text).matchAll(/(?:^\|.*(?:\n|$))+/gm)) {
      const [head = '', rule = '', ...rows] = table.trimEnd().split('\n')
      if (!/^\|(?: *:?-+:? *\|)+$/.test(rule)) wrong.push(head)
      wrong.push(...[rule, ...rows].filter((row) => cellsOf(row) !== cellsOf(head)))
    }
    expect(wrong).toEqual([])
  })

  test('every link within the project leads to a file, and to a heading of it', () => {
    const links = [...proseOf(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target)
    const inside = links.filter((target) => !/^[a-z]+:/.test(target))
    expect(inside.filter((target) => !isThere(target, file))).toEqual([])
  })

  test('every npm script that it tells people to run exists', () => {
    const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> }
    const told = [...text.matchAll(/npm run (?:--silent )?([\w:-]+)/g)].map(([, script = '']) => script)
    expect(told.filter((script) => scripts[script] === undefined)).toEqual([])
    expect(text).not.toMatch(/npm start -- (?!-)/)
  })
})

test.each(['README.md', 'README.zh.md'])('the pictures of %s are there, small, and told in words', (file) => {
  const text = textOf(file)
  const pictures = [...text.matchAll(/(?:src|srcset)="([^"]+)"/g)].map(([, path = '']) => path)
  const large = pictures.filter((path) => statSync(join(root, path)).size > 200 * 1024)
  expect([pictures.length, large]).toEqual([4, []])
  const told = [...text.matchAll(/<img [^>]*alt="([^"]+)"/g)].map(([, words = '']) => words)
  expect(told.filter((words) => words.length > 30)).toHaveLength(2)
})

/** Bars that separate, and not those that are escaped. */
const cellsOf = (row: string): number => row.trim().match(/(?<!\\)\|/g)?.length ?? 0

function isThere(target: string, from: string): boolean {
  const [path = '', anchor] = target.split('#')
  const file = path === '' ? from : join(dirname(from), path)
  if (!existsSync(join(root, file))) return false
  return anchor === undefined || anchorsIn(textOf(file)).includes(decodeURIComponent(anchor))
}

/** As GitHub makes them: letters, digits, `_` and `-` of a heading stay, and blanks become `-`. */
const anchorsIn = (text: string): string[] =>
  [...proseOf(text).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{M}\p{N}_\- ]/gu, '')
      .replaceAll(' ', '-'),
  )

/** Nothing is published yet; how it will be stands in docs/release.md. */
test.each(files.filter((file) => /^(?:README|docs\/(?!release))/.test(file)))(
  '%s shows no command that needs a published package or image',
  (file) => {
    expect(textOf(file)).not.toMatch(/npx aiload|npm (?:install|i) (?:-g )?aiload|ghcr\.io/)
  },
)

describe.each(['README.md', 'README.zh.md'])('%s', (file) => {
  const samples = [...textOf(file).matchAll(/^```json\n([\s\S]*?)^```$/gm)]
    .map(([, sample = '']) => sample)
    .filter((sample) => sample.startsWith('{'))

  test.each(samples)('the configuration can be used as it stands (sample %#)', (sample) => {
    expect(sample).not.toContain('…')
    const names = [...sample.matchAll(/\$\{(\w+)\}/g)].map(
      ([, name = '']) => [name, `sk-of-${name}`] as const,
    )
    const loaded = loadConfig(sample, Object.fromEntries(names), 'config.json')
    expect([loaded.ok ? [] : loaded.problems, loaded.warnings]).toEqual([[], []])
    expect(loaded).toMatchObject({
      config: { settings: { strategy: 'headroom', affinity: { kind: 'conversation' } } },
    })
  })

  test('there are samples', () => expect(samples).toHaveLength(2))
})

test.each([
  ['docs/measured.md', '## How much of the limits it uses'],
  ['docs/measured.zh.md', '## 限额能用到多少'],
])(
  '%s tells of every strategy how much it answers, of what is possible, and at what cost',
  (file, heading) => {
    const rows = tableBelow(textOf(file), heading)
    for (const strategy of strategyNames) {
      const [row, ...others] = rows.filter(([first]) => first === `\`${strategy}\``)
      expect(others).toEqual([])
      const [answered, ofPerfect, withRoom, dark, met, wait, ...more] = row?.slice(1) ?? []
      for (const share of [answered, ofPerfect]) expect(share).toMatch(/^[\d.]+ %$/)
      for (const count of [withRoom, met]) expect(count).toMatch(/^[\d,]+$/)
      for (const time of [dark, wait]) expect(time).toMatch(/^[\d.]+ (s|秒)$/)
      expect(more).toEqual([])
    }
    const memoryless = rows.filter(([first = '']) => /^(memoryless|无记忆)/.test(first))
    expect(memoryless.map(({ length }) => length)).toContain(7)
  },
)
