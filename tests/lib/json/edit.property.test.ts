import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { editDocument, type MemberEdit, namesIn, renameEdit, valueEdit } from '../../../src/lib/json/edit.ts'
import { JsonScanner, scanTopLevel } from '../../../src/lib/json/scan.ts'

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const textOf = (parts: readonly Uint8Array[]): string => Buffer.concat(parts).toString()

/** A member as it is written: its key, perhaps with escapes, its value, and white space around all of it. */
interface Written {
  readonly name: string
  readonly key: string
  readonly value: string
  /** Before the key, before the colon, behind it, and behind the value. */
  readonly spaces: readonly string[]
}

const NAMES = ['tools', 'max_tokens', 'seed', 'top_k', 'user', 'stream_options']
const space = fc.constantFrom('', '', ' ', '\n  ', '\t\r\n')
const escaped = (name: string, nth: number): string =>
  `"${name.slice(0, nth)}\\u${name.charCodeAt(nth).toString(16).padStart(4, '0')}${name.slice(nth + 1)}"`
const written: fc.Arbitrary<Written> = fc
  .record({
    name: fc.oneof(fc.constantFrom(...NAMES), fc.constantFrom('messages', 'Tools', 'x')),
    escapeAt: fc.option(fc.nat(1)),
    value: fc.jsonValue(),
    spaces: fc.tuple(space, space, space, space),
  })
  .map(({ name, escapeAt, value, spaces }) => ({
    name,
    key: escapeAt === null || escapeAt >= name.length ? `"${name}"` : escaped(name, escapeAt),
    value: JSON.stringify(value),
    spaces,
  }))

const print = (members: readonly Written[], inside = ''): string =>
  `{${members.length === 0 ? inside : members.map(printed).join(',')}}`
const printed = ({ key, value, spaces: [a, b, c, d] }: Written): string => `${a}${key}${b}:${c}${value}${d}`

/** One edit for each name at most, as a configuration may have them. */
const edits = fc
  .record({
    kinds: fc.array(fc.constantFrom('set', 'default', 'drop', 'rename', 'none'), {
      minLength: NAMES.length,
      maxLength: NAMES.length,
    }),
    value: fc.jsonValue(),
  })
  .map(({ kinds, value }) => {
    const all = new Map<string, MemberEdit>()
    for (const [at, kind] of kinds.entries()) {
      const name = NAMES[at]!
      if (kind === 'set' || kind === 'default') all.set(name, valueEdit(kind, name, value))
      if (kind === 'drop') all.set(name, { kind })
      // Only once, to a name that stands there, or to a new one.
      const to = kinds[0] === 'drop' || kinds[0] === 'rename' ? 'renamed' : NAMES[0]!
      const isFirst = kinds.indexOf('rename') === at
      if (kind === 'rename' && isFirst && to !== name) all.set(name, renameEdit(to))
    }
    return { all, value }
  })

/** What the documentation says, over members and not over bytes: pairs of a name and a value's text, in order. */
function expected(
  members: readonly Written[],
  all: ReadonlyMap<string, MemberEdit>,
  value: unknown,
): [string, string][] {
  const has = (name: string): boolean => members.some((member) => member.name === name)
  let pairs = members.map(({ name, value: text }): [string, string] => [name, text])
  for (const [name, edit] of all) {
    if (edit.kind === 'drop') pairs = pairs.filter(([own]) => own !== name)
    if (edit.kind !== 'rename') continue
    pairs = has(edit.to)
      ? pairs.filter(([own]) => own !== name)
      : pairs.map(([own, text]) => [own === name ? edit.to : own, text])
  }
  const added: [string, string][] = []
  for (const [name, edit] of all) {
    if (edit.kind !== 'set' && edit.kind !== 'default') continue
    const stands = pairs.some(([own]) => own === name)
    if (!stands) added.push([name, JSON.stringify(value)])
    else if (edit.kind === 'set')
      pairs = pairs.map(([own, text]) => [own, own === name ? JSON.stringify(value) : text])
  }
  return [...added, ...pairs]
}

/** The members of a document in their order, duplicates too. */
function membersOf(text: string): [string, string][] {
  const members: [string, string][] = []
  let depth = 0
  let isInString = false
  let start = 1
  const take = (end: number): void => {
    const member = text.slice(start, end)
    if (member.trim() === '') return
    const [[name, value] = ['', undefined]] = Object.entries(JSON.parse(`{${member}}`) as object)
    members.push([name, JSON.stringify(value)])
  }
  for (let at = 0; at < text.length; at++) {
    const sign = text[at]!
    if (isInString) {
      if (sign === '\\') at += 1
      else if (sign === '"') isInString = false
      continue
    }
    if (sign === '"') isInString = true
    if ('{['.includes(sign)) depth += 1
    if ('}]'.includes(sign)) depth -= 1
    if ((sign === ',' && depth === 1) || (sign === '}' && depth === 0)) {
      take(at)
      start = at + 1
    }
  }
  return members
}

const scanOf = (text: string, all: ReadonlyMap<string, MemberEdit>) =>
  scanTopLevel(bytesOf(text), namesIn(all))

test('an edited document means what its edits say, with duplicates and escapes, and parses', () => {
  fc.assert(
    fc.property(fc.array(written, { maxLength: 7 }), edits, space, (members, { all, value }, inside) => {
      const text = print(members, inside)
      const edited = textOf(editDocument(scanOf(text, all), all).parts)
      JSON.parse(edited)
      const wanted = expected(members, all, value).map(([name, json]) => [
        name,
        JSON.stringify(JSON.parse(json)),
      ])
      expect(membersOf(edited)).toEqual(wanted)
    }),
    { numRuns: 3000 },
  )
})

test('every member that no edit names keeps its bytes, with the white space around it', () => {
  fc.assert(
    fc.property(fc.array(written, { maxLength: 7 }), edits, (members, { all }) => {
      const edited = textOf(editDocument(scanOf(print(members), all), all).parts)
      const untouched = members.filter(({ name }) => !all.has(name))
      let at = 0
      for (const member of untouched) {
        const found = edited.indexOf(printed(member).trim(), at)
        expect(found).toBeGreaterThanOrEqual(at)
        at = found + 1
      }
    }),
    { numRuns: 2000 },
  )
})

test('edits that change nothing give the very bytes', () => {
  fc.assert(
    fc.property(fc.array(written, { maxLength: 7 }), space, (members, inside) => {
      const text = print(members, inside)
      const all = new Map<string, MemberEdit>([
        ['absent', { kind: 'drop' }],
        ['gone', renameEdit('away')],
        ...members.map(({ name }): [string, MemberEdit] => [name, valueEdit('default', name, 1)]),
      ])
      expect(textOf(editDocument(scanOf(text, all), all).parts)).toBe(text)
    }),
  )
})

test('a document in pieces is edited like one in one piece, and no piece is copied', () => {
  fc.assert(
    fc.property(
      fc.array(written, { maxLength: 6 }),
      edits,
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 20 }),
      (members, { all }, sizes) => {
        const bytes = bytesOf(print(members))
        const pieces: Uint8Array[] = []
        for (let at = 0, nth = 0; at < bytes.length; nth++) {
          const size = sizes[nth % sizes.length]!
          pieces.push(bytes.subarray(at, at + size))
          at += size
        }
        const scanner = new JsonScanner(namesIn(all))
        for (const piece of pieces) scanner.push(piece)
        const { parts, scan } = editDocument(scanner.end(pieces), all)
        const whole = editDocument(scanTopLevel(bytes, namesIn(all)), all)
        expect(textOf(parts)).toBe(textOf(whole.parts))
        expect(scan.length).toBe(whole.scan.length)
        const own = new Set([...all.values()].flatMap((edit) => Object.values(edit) as unknown[]))
        const isNew = (part: Uint8Array) => part.buffer !== bytes.buffer && !own.has(part)
        expect(parts.filter(isNew).map((part) => textOf([part]))).toEqual(parts.filter(isNew).map(() => ','))
      },
    ),
  )
})

test('the scan that comes with it finds what a scan of the edited document finds', () => {
  fc.assert(
    fc.property(fc.array(written, { maxLength: 6 }), edits, (members, { all }) => {
      const { parts, scan } = editDocument(scanOf(print(members), all), all)
      const again = scanTopLevel(Buffer.concat(parts), namesIn(all))
      const valuesIn = ({ fields, pieces }: typeof scan) =>
        new Map(
          [...fields].map(([name, spans]) => {
            const { start, end, kind } = spans.at(-1)!
            return [name, `${kind} ${Buffer.concat(pieces).subarray(start, end).toString()}`]
          }),
        )
      expect(valuesIn(scan)).toEqual(valuesIn(again))
      expect(scan.length).toBe(again.length)
    }),
  )
})

test.each([
  { text: '{"a":1,"b":2,"c":3}', drop: ['b', 'c'], left: '{"a":1}' },
  { text: '{"a":1, "b":2 , "c":3 }', drop: ['b', 'c'], left: '{"a":1   }' },
  { text: '{"a":1,"b":2,"c":3}', drop: ['a', 'c'], left: '{"b":2}' },
  { text: '{ "a" : 1 }', drop: ['a'], left: '{  }' },
  { text: '{"a":1,"a":2,"b":3,"a":4}', drop: ['a'], left: '{"b":3}' },
  { text: '\ufeff{"\\u0061":{"a":1},"b":"a"}', drop: ['a'], left: '\ufeff{"b":"a"}' },
])('$text without $drop is $left', ({ text, drop, left }) => {
  const all = new Map(drop.map((name): [string, MemberEdit] => [name, { kind: 'drop' }]))
  expect(textOf(editDocument(scanOf(text, all), all).parts)).toBe(left)
})

test('thousands of members that go one after the other, behind much white space, take little time', () => {
  const all = new Map<string, MemberEdit>([['a', { kind: 'drop' }]])
  const text = `{${Array.from({ length: 900 }, () => `"a":1${' '.repeat(5_000)}`).join(',')}}`
  const start = performance.now()
  expect(textOf(editDocument(scanOf(text, all), all).parts).trim()).toMatch(/^\{ *\}$/)
  expect(performance.now() - start).toBeLessThan(5_000)
})
