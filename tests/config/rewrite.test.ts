import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { isSame, rewritten } from '../../src/config/rewrite.ts'
import { readSource } from '../../src/config/source.ts'

type Doc = Readonly<Record<string, unknown>>

/** The text after a change of what it reads as. */
function changed(text: string, change: (document: Doc) => unknown): string {
  const source = readSource(text)
  return rewritten(source, change(source.value as Doc))
}
const itemsOf = (document: Doc): unknown[] => document['list'] as unknown[]
const inList = (text: string, change: (items: unknown[]) => unknown[]): string =>
  changed(text, (document) => ({ ...document, list: change(itemsOf(document)) }))

const listed = `// top
{
  "list": [ // the list
    // Stands for itself.

    // of a
    { "a": 1 }, // a, behind
    // of b
    {
      "b": 2 // two
    } /* b, behind */
    // { "off": 1 }
  ], // end
  "other": [1,2 , 3],
}
`

test('a text that nothing changes in stays as it is, to the last blank', () => {
  expect(changed(listed, (document) => ({ ...document, list: [...itemsOf(document)] }))).toBe(listed)
  expect(changed(`\uFEFF${listed}`, (document) => document)).toBe(`\uFEFF${listed}`)
})

test('an item that moves brings its comments along, and what stands for itself stays', () => {
  expect(inList(listed, ([a, b]) => [b, a])).toBe(
    `// top
{
  "list": [ // the list
    // Stands for itself.

    // of b
    {
      "b": 2 // two
    }, /* b, behind */
    // of a
    { "a": 1 } // a, behind
    // { "off": 1 }
  ], // end
  "other": [1,2 , 3],
}
`,
  )
})

test('an item that goes takes its own comments along and no others', () => {
  const without = inList(listed, ([, b]) => [b])
  for (const gone of ['of a', 'a, behind']) expect(without).not.toContain(gone)
  for (const kept of ['top', 'the list', 'Stands for itself', 'of b', 'two', 'b, behind', '"off"', 'end'])
    expect(without).toContain(kept)
  expect(inList(listed, ([a]) => [a])).toContain('{ "a": 1 } // a, behind\n    // { "off": 1 }\n  ]')
})

test.each([
  {
    what: 'at the end of lines that have no comma behind the last',
    text: '{\n  "list": [\n    1 // one\n  ]\n}\n',
    written: '{\n  "list": [\n    1, // one\n    2\n  ]\n}\n',
  },
  {
    what: 'where the last has a comma',
    text: '{\n\t"list": [\n\t\t1,\n\t],\n}\n',
    written: '{\n\t"list": [\n\t\t1,\n\t\t2,\n\t],\n}\n',
  },
  { what: 'on one line', text: '{ "list": [1] }', written: '{ "list": [1, 2] }' },
  {
    what: 'in a file of another system',
    text: '{\r\n "list": [\r\n  1\r\n ]\r\n}',
    written: '{\r\n "list": [\r\n  1,\r\n  2\r\n ]\r\n}',
  },
])('a new item is written as the others are: $what', ({ text, written }) => {
  expect(inList(text, (items) => [...items, 2])).toBe(written)
})

test('a line comment never swallows what comes behind it', () => {
  const text = '{ "list": [1, 2 // two\n] }'
  const turned = inList(text, ([one, two]) => [two, one])
  expect(turned).toContain('// two\n')
  expect(readSource(turned)).toMatchObject({ value: { list: [2, 1] }, syntaxErrors: [] })
})

test('a key that changes keeps its place and the comments around it; one that goes leaves the others', () => {
  const text = `{
  "x": { // of x
    "a": 1, // one
    "b": "https://h/" /* two */, // behind two
    // three
    "c": 3
  }
}`
  expect(changed(text, () => ({ x: { a: 1, b: 'http://i/', d: [4] } }))).toBe(`{
  "x": { // of x
    "a": 1, // one
    "b": "http://i/" /* two */, // behind two
    "d": [4]
  }
}`)
})

test('where a key stands twice, the one that counts is changed, and both go', () => {
  const text = '{ "a": 1, "b": 2, "a": 3 }'
  expect(changed(text, (document) => ({ ...document, a: 4 }))).toBe('{ "a": 1, "b": 2, "a": 4 }')
  expect(changed(text, () => ({ b: 2 }))).toBe('{ "b": 2 }')
})

test('names that every object inherits are names like any other', () => {
  const text = '{ "__proto__": { "a": 1 }, "b": 2 }'
  const next = changed(text, (document) => ({ ...document, b: 3 }))
  expect(next).toBe('{ "__proto__": { "a": 1 }, "b": 3 }')
})

test('a text without an object has nothing to change', () => {
  expect(() => rewritten(readSource('[]'), {})).toThrow(TypeError)
})

/** A value with text between its parts, and a number for each comment in it. */
const gaps = [
  '',
  ' ',
  '\n  ',
  '\r\n',
  '\n\n',
  '/*c*/',
  ' // c\n',
  '\n// c\n\n  ',
  '/* } , */ ',
  '\n/* a\n b */\n',
]
const plain = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.oneof(fc.integer(), fc.constantFrom('a', 'https://x/ // no', '/* no */', ',]}', null, true)),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.constantFrom('a', 'b', 'c', '__proto__', '//'), tie('value'), { maxKeys: 4 }),
  ),
})).value

function written(value: unknown, gap: () => string): string {
  const comma = (parts: string[]): string => parts.map((part) => gap() + part + gap()).join(',')
  if (Array.isArray(value))
    return `[${comma(value.map((item) => written(item, gap)))}${value.length > 0 && gap().length > 3 ? ',' : ''}${gap()}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value).map(
    ([key, item]) => `${JSON.stringify(key)}${gap()}:${gap()}${written(item, gap)}`,
  )
  return `{${comma(members)}${gap()}}`
}

const commentsIn = (text: string): number =>
  (text.match(/"(?:[^"\\]|\\.)*"|\/\/[^\r\n]*|\/\*[^]*?\*\//g) ?? []).filter(
    (found) => !found.startsWith('"'),
  ).length
const anyList = fc.array(plain, { minLength: 1, maxLength: 5 })
const anyGaps = fc.array(fc.constantFrom(...gaps), { minLength: 40, maxLength: 40 })
const textWith = (list: unknown[], filling: readonly string[]): string => {
  let at = 0
  const gap = (): string => filling[at++ % filling.length] ?? ''
  return written({ first: 1, list, last: [] }, gap)
}

/** An item that is there, by its place, or a new value. */
const pick = fc.oneof(fc.record({ from: fc.nat(4) }), fc.record({ fresh: plain }))
const picked = (items: readonly unknown[], picks: readonly { from?: number; fresh?: unknown }[]): unknown[] =>
  picks.map(({ from, fresh }) => (from === undefined ? fresh : items[from % items.length]))

test('whatever a text looks like, it reads as it is meant to after any change', () => {
  fc.assert(
    fc.property(anyList, anyGaps, fc.array(pick, { maxLength: 6 }), (list, filling, picks) => {
      const next = inList(textWith(list, filling), (items) => picked(items, picks))
      const { value, syntaxErrors } = readSource(next)
      expect(syntaxErrors).toEqual([])
      expect(isSame(value, { first: 1, list: picked(list, picks), last: [] })).toBe(true)
    }),
    { numRuns: 1_000 },
  )
})

test('whatever order items are brought into, no comment is lost', () => {
  fc.assert(
    fc.property(
      anyList.chain((list) =>
        fc.tuple(fc.constant(list), fc.shuffledSubarray([...list.keys()], { minLength: list.length })),
      ),
      anyGaps,
      ([list, order], filling) => {
        const text = textWith(list, filling)
        const next = inList(text, (items) => order.map((at) => items[at]))
        expect(
          isSame(
            (readSource(next).value as Doc)['list'],
            order.map((at) => list[at]),
          ),
        ).toBe(true)
        expect(commentsIn(next)).toBe(commentsIn(text))
      },
    ),
    { numRuns: 1_000 },
  )
})
