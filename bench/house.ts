/**
 * How large is the house, and how much of it does one request walk through?
 *
 * `npm run bench:house` counts in `src/` and prints what is there beside what is wanted; it judges nothing.
 *
 * - Import lines are statements that begin with `import`. A cycle is a set of files each of which reaches all others
 *   over imports, those of types included.
 * - Executed are files and functions that one warm chat request runs through on Node (see `executed.ts`).
 * - Names of a request: how many different parameter names the executed functions give to what they take, where its
 *   type is an interface, type or class that `src/` exports. A request that is called `request` by all of them and
 *   carries a `context` and an `upstream` bears three; parameters taken apart in braces bear none. It is read from
 *   the text of the signatures, so a few functions (callbacks without a name) are left out.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { executedFunctions, type ExecutedFunction } from './executed.ts'
import { medianOf } from './http/interval.ts'
import { cyclesIn } from './import-cycles.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const texts = new Map(
  readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join('src', file))
    .map((file) => [file, readFileSync(join(root, file), 'utf8')] as const),
)
const matches = (pattern: RegExp): RegExpExecArray[] =>
  [...texts.values()].flatMap((text) => [...text.matchAll(pattern)])
const types = new Set(matches(/^export (?:interface|type|class) (\w+)/gm).map(([, name]) => name))

/** Names of parameters in the signatures of a function, wherever its file declares one of that name. */
function parametersOf({ file, name }: ExecutedFunction): string[] {
  if (!/^\w+$/.test(name)) return []
  const between = String.raw`\s*(?:[=:]\s*(?:async\s*)?)?(?:function\s*)?(?:<[^>]*>)?`
  const signatures = (texts.get(file) ?? '').matchAll(
    new RegExp(String.raw`\b${name}${between}\(([^)]*)\)`, 'g'),
  )
  return [...signatures].flatMap(([, list = '']) =>
    [...list.matchAll(/(\w+)\??:\s*(?:readonly\s+)?([A-Z]\w*)/g)]
      .filter(([, , type]) => types.has(type))
      .map(([, parameter = '']) => parameter),
  )
}

const lines = [...texts.values()].map((text) => text.split('\n').length - 1)
const cycles = cyclesIn(texts)
const executed = await executedFunctions()
const rows: readonly (readonly [what: string, today: number, wanted: string])[] = [
  ['files', texts.size, '≤ 120'],
  ['lines of the median file', medianOf(lines), 'about 130'],
  ['lines of the largest', Math.max(...lines), '≤ 500'],
  ['files under 40 lines', lines.filter((count) => count < 40).length, ''],
  ['lines', lines.reduce((sum, count) => sum + count, 0), '≤ 14,500'],
  ['import lines', matches(/^import\b/gm).length, '≤ 550'],
  ['cycles, types included', cycles.length, '0'],
  ['files that one chat request executes', new Set(executed.map(({ file }) => file)).size, '≤ 55'],
  ['functions that it executes', executed.length, ''],
  ['names of a request on its way', new Set(executed.flatMap(parametersOf)).size, '≤ 30'],
]
console.log('| src | today | wanted |\n|---|---|---|')
for (const [what, today, wanted] of rows)
  console.log(`| ${what} | ${today.toLocaleString('en')} | ${wanted} |`)
for (const cycle of cycles) console.log(`\ncycle: ${cycle.join(', ')}`)
process.exit(0)
