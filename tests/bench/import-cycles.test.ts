import { expect, test } from 'vitest'
import { cyclesIn } from '../../bench/import-cycles.ts'

const cyclesOf = (files: Readonly<Record<string, string>>): string[][] =>
  cyclesIn(new Map(Object.entries(files))).map((cycle) => cycle.toSorted())

test('files that only import downwards make no cycle', () => {
  const files = { 'src/a.ts': "import { b } from './b.ts'\nimport net from 'node:net'", 'src/b.ts': '' }
  expect(cyclesOf(files)).toEqual([])
})

test('a type that is imported back closes a cycle', () => {
  const files = {
    'src/a.ts': "import { b } from './in/b.ts'",
    'src/in/b.ts': "import type { A } from '../a.ts'",
    'src/c.ts': "import { a } from './a.ts'",
  }
  expect(cyclesOf(files)).toEqual([['src/a.ts', 'src/in/b.ts']])
})

test('two cycles with a way between them are two', () => {
  const files = {
    'a.ts': "export { b } from './b.ts'",
    'b.ts': "type A = import('./a.ts').A\nimport './c.ts'",
    'c.ts': "import {\n  d,\n} from './d.ts'",
    'd.ts': "import { c } from './c.ts'",
  }
  const both = [
    ['a.ts', 'b.ts'],
    ['c.ts', 'd.ts'],
  ]
  const found = cyclesOf(files)
  expect(found).toHaveLength(2)
  expect(found).toEqual(expect.arrayContaining(both))
})
