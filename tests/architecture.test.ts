import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'

/** A room imports from itself and from those before it. */
const ROOMS = [
  'lib',
  'errors.ts',
  'pool',
  'config',
  'state',
  'relay',
  'telemetry',
  'http',
  'app.ts',
  'adapter',
  'cli',
]
const FILES = filesBelow('src')

function filesBelow(folder: string): { path: string; text: string }[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  )
  return names.map((name) => ({ path: join(folder, name), text: readFileSync(join(folder, name), 'utf8') }))
}

const roomOf = (path: string): number => ROOMS.indexOf(path.split('/')[1] ?? '')
const importsOf = (text: string): string[] =>
  [...text.matchAll(/(?:from|import\()\s*'([^']+)'/g)].map(([, name = '']) => name)
const withoutComments = (text: string): string => text.replaceAll(/\/\*[^]*?\*\/|(?<=^|\s)\/\/.*$/gm, '')

test('every file is in a room, and imports go down only', () => {
  const wrong = FILES.flatMap(({ path, text }) => {
    const imported = importsOf(text).filter((name) => name.startsWith('.'))
    const targets = imported.map((name) => join(dirname(path), name))
    return targets
      .filter((to) => roomOf(to) > roomOf(path) || roomOf(to) < 0)
      .map((to) => `${path} imports ${to}`)
  })
  expect(wrong).toEqual([])
  expect(FILES.filter(({ path }) => roomOf(path) < 0).map(({ path }) => path)).toEqual([])
  expect(FILES.length).toBeGreaterThan(100)
})

test('no file is over 500 lines', () => {
  expect(FILES.filter(({ text }) => text.split('\n').length > 501).map(({ path }) => path)).toEqual([])
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
  const core = FILES.filter(({ path }) => !/^src\/(?:adapter|cli)\//.test(path))
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
  expect(barrels.filter((path) => path !== 'src/adapter/cloudflare.ts')).toEqual([])
})
