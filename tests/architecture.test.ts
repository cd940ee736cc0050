import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'

/** A room imports from itself and from those before it. */
const ROOMS = [
  'lib',
  'errors.ts',
  'pool',
  'transport',
  'vendors',
  'openai',
  'config',
  'state',
  'relay',
  'telemetry',
  'events',
  'http',
  'app.ts',
  'adapter',
  'cli',
  'page',
]
const FILES = filesBelow('src')

function filesBelow(folder: string): { path: string; text: string }[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\.tsx?$/.test(name),
  )
  return names.map((name) => ({ path: join(folder, name), text: readFileSync(join(folder, name), 'utf8') }))
}

const roomOf = (path: string): number => ROOMS.indexOf(path.split('/')[1] ?? '')
const importsOf = (text: string): string[] =>
  [...text.matchAll(/(?:from|import\()\s*'([^']+)'/g)].map(([, name = '']) => name)
const staticImportsOf = (text: string): string[] =>
  [...text.matchAll(/from\s*'([^']+)'/g)].map(([, name = '']) => name)
const targetsOf = (path: string, imported: readonly string[]): string[] =>
  imported.filter((name) => name.startsWith('.')).map((name) => join(dirname(path), name))
const linesOf = (text: string): number => text.split('\n').length - 1
const EXPORTED = /^export (?:async )?(?:function\*?|const|let|class|interface|type|enum) (\w+)/gm
const withoutComments = (text: string): string => text.replaceAll(/\/\*[^]*?\*\/|(?<=^|\s)\/\/.*$/gm, '')

test('every file is in a room, and imports go down only', () => {
  const wrong = FILES.flatMap(({ path, text }) =>
    targetsOf(path, importsOf(text))
      .filter((to) => roomOf(to) > roomOf(path) || roomOf(to) < 0)
      .map((to) => `${path} imports ${to}`),
  )
  expect(wrong).toEqual([])
  expect(FILES.filter(({ path }) => roomOf(path) < 0).map(({ path }) => path)).toEqual([])
  expect(FILES.length).toBeGreaterThan(100)
})

/** Files over 500 lines, and why. */
const LONG: Readonly<Record<string, string>> = {}

test('a file over 500 lines has its reason here', () => {
  const long = FILES.filter(({ text }) => linesOf(text) > 500)
  expect(long.map(({ path }) => path).toSorted()).toEqual(Object.keys(LONG).toSorted())
})

/** Short files that one neighbour alone imports, and why they stand by themselves. */
const BY_THEMSELVES: Readonly<Record<string, string>> = {
  'src/adapter/cloudflare/gateway.ts': 'the gateway of one isolate, which loads without workerd',
  'src/adapter/cloudflare/state-object.ts': 'the class of the Durable Object, which loads without workerd',
  'src/adapter/edge/whole-events.ts': 'streams on runtimes that hide a broken answer',
  'src/adapter/node/authority-file.ts':
    'files beside the configuration, apart from how that is found and watched',
  'src/adapter/node/config-editor.ts':
    'edits of the configuration file, apart from how it is found and watched',
  'src/adapter/node/kept-usage.ts': 'how sums of usage stand in a file, which edges have no use for',
  'src/adapter/node/gateway.ts': 'Node, which a start loads only when its configuration is good',
  'src/cli/import/document.ts': 'what a file may be, apart from what it means',
  'src/config/traces.ts': 'where traces go by the environment, apart from how they are made and sent',
  'src/cli/what-if/troubles.ts': 'what fails for other reasons than a limit',
  'src/config/plain-source.ts': 'a small parser, for runtimes that load the program anew in each isolate',
  'src/http/admin.ts': 'the table of what operators ask and do',
  'src/http/health.ts': 'what probes and browsers ask',
  'src/lib/json/number.ts': 'the grammar of numbers, as a table',
  'src/lib/json/string-sample.ts': 'what of strings is no text, beside the grammar',
  'src/relay/trial.ts': "the operator's own request, beside those of clients",
  'src/state/refill.ts': 'how a limit comes back by its words, apart from the account of it',
  'src/telemetry/log-pretty.ts': 'the log for people',
  'src/vendors/lesson.ts': 'what refusals teach of those who refuse',
  'src/vendors/rate-limit-text.ts': 'the words of vendors about limits, beside their headers',
  'src/page/follow.ts': 'how the page hears of changes, apart from what they make of what it knows',
  'src/page/overview.tsx': 'a view of its own',
  'src/page/tokens.tsx': 'a view of its own',
  'src/telemetry/outlook.ts': 'how limits go on, apart from how `/admin/status` says it',
  'src/telemetry/needs.ts': 'what waits for the operator, apart from how everything is',
  'src/telemetry/notices.ts': 'what changes are worth a word to the operator',
}

test('a file that one neighbour alone imports is long, or has its reason here', () => {
  // What is loaded when it is asked for (`import()`) has a file of its own for that.
  const importers = FILES.map(({ path, text }) => ({
    path,
    imported: targetsOf(path, staticImportsOf(text)),
  }))
  const alone = FILES.filter(
    ({ path, text }) =>
      linesOf(text) <= 150 && importers.filter(({ imported }) => imported.includes(path)).length === 1,
  )
  expect(alone.map(({ path }) => path).toSorted()).toEqual(Object.keys(BY_THEMSELVES).toSorted())
})

test('no imports go in circles, those of types neither', () => {
  const left = new Map(FILES.map(({ path, text }) => [path, targetsOf(path, importsOf(text))]))
  // What imports nothing that is left can be in no circle; in the end the circles stay, and who imports them.
  for (let before = Infinity; left.size < before;) {
    before = left.size
    for (const [path, imported] of left) if (!imported.some((other) => left.has(other))) left.delete(path)
  }
  expect([...left.keys()]).toEqual([])
})

test('a name is exported by one file alone', () => {
  const places = new Map<string, string[]>()
  for (const { path, text } of FILES) {
    for (const [, name = ''] of withoutComments(text).matchAll(EXPORTED))
      places.set(name, [...(places.get(name) ?? []), path])
  }
  expect([...places].filter(([, paths]) => paths.length > 1)).toEqual([])
  expect(places.size).toBeGreaterThan(100)
})

test('only the command line and the adapters that run on Node know it', () => {
  // Bun and Deno speak Node's API too, and share its files for configuration and state.
  const others = FILES.filter(({ path }) => !/^src\/(?:adapter\/(?:node|bun\.|deno\.)|cli\/)/.test(path))
  const knowing = others.filter(({ text }) => {
    const code = withoutComments(text)
    return importsOf(code).some((name) => name.startsWith('node:')) || /\b(?:process\.|Buffer\b)/.test(code)
  })
  expect(knowing.map(({ path }) => path)).toEqual([])
})

test('clock, dice and timers come in as arguments, but for the adapters that make them', () => {
  const core = FILES.filter(({ path }) => !/^src\/(?:adapter|cli|page)\//.test(path))
  const impure = /\b(?:setTimeout|setInterval|Date\.now|performance\.now|Math\.random|new Date\(\)|crypto\.)/
  expect(core.filter(({ text }) => impure.test(withoutComments(text))).map(({ path }) => path)).toEqual([])
})

test('no file has a name that says nothing', () => {
  const vague = /(?:^|-)(?:utils?|helpers?|common|managers?|services?|handlers?|index|misc)(?:-|\.ts$)/
  expect(
    FILES.filter(({ path }) => vague.test(path.split('/').at(-1) ?? '')).map(({ path }) => path),
  ).toEqual([])
})

test('nothing is exported twice', () => {
  // A Worker's entry file has to export the classes of its Durable Objects.
  const barrels = FILES.filter(({ text }) => /^export (?:\*|\{[^}]*\}) from/m.test(text)).map(
    ({ path }) => path,
  )
  expect(barrels.filter((path) => path !== 'src/adapter/cloudflare/worker.ts')).toEqual([])
})

test('every folder has one file that opens with a list of what is in it', () => {
  const folders = new Set(FILES.map(({ path }) => dirname(path)).filter((folder) => folder !== 'src'))
  const opening = [...folders].map((folder) => {
    const listed = FILES.filter(
      ({ path, text }) =>
        dirname(path) === folder && text.slice(0, 100).includes(`/*\n * ${folder.replace('src/', '')}: `),
    )
    return { folder, lists: listed.length }
  })
  expect(opening.filter(({ lists }) => lists !== 1)).toEqual([])
  expect(opening.length).toBeGreaterThan(10)
})
