import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { replaceField } from '../../../src/lib/json/edit.ts'
import { JsonScanner, scanTopLevel } from '../../../src/lib/json/scan.ts'
import { JsonSyntaxError, stringValue } from '../../../src/lib/json/walk.ts'

const bytesOf = (text: string) => new TextEncoder().encode(text)
const value = bytesOf('"NEW"')

/** Gives small numbers for free choices, again and again the same ones. */
type Choose = (below: number) => number

const choices = fc.array(fc.nat(1000), { minLength: 1, maxLength: 60 }).map((numbers) => {
  let at = 0
  return (): Choose => {
    at = 0
    return (below) => numbers[at++ % numbers.length]! % below
  }
})

const entries = fc.array(
  fc.tuple(
    fc.oneof(fc.constantFrom('model', 'Model', 'mode', 'stream'), fc.string({ unit: 'grapheme' })),
    fc.jsonValue(),
  ),
  { maxLength: 6 },
)

/** Prints JSON with free white space and escapes where JSON allows them. */
function print(json: unknown, choose: Choose): string {
  const space = () => ['', '', ' ', '\n\t', '\r\n  '][choose(5)]!
  if (Array.isArray(json))
    return `[${space()}${json.map((item) => print(item, choose) + space()).join(`,${space()}`)}]`
  if (typeof json === 'object' && json !== null) return printObject(Object.entries(json), choose)
  if (typeof json === 'string') return printString(json, choose)
  return JSON.stringify(json)
}

function printObject(members: [string, unknown][], choose: Choose): string {
  const space = () => ['', '', ' ', '\n'][choose(4)]!
  const printed = members.map(
    ([key, item]) => `${printString(key, choose)}${space()}:${space()}${print(item, choose)}`,
  )
  return `{${space()}${printed.join(`${space()},${space()}`)}${space()}}`
}

function printString(text: string, choose: Choose): string {
  const hex = (char: string) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
  const units = Array.from({ length: text.length }, (_, index) => text[index]!)
  const hasSurrogates = /[\ud800-\udfff]/.test(text)
  if (hasSurrogates) return JSON.stringify(text)
  return `"${units.map((char) => (choose(4) === 0 ? hex(char) : JSON.stringify(char).slice(1, -1))).join('')}"`
}

test('any document, however it is printed, parses to itself with the model replaced', () => {
  fc.assert(
    fc.property(entries, choices, fc.nat(9), (members, choicesOf, shift) => {
      const choose = choicesOf()
      const text = printObject(members, choose)
      const bytes = within(bytesOf(text), shift)
      const parts = replaceField(scanTopLevel(bytes, ['stream', 'model']), 'model', value)
      const expected: unknown = { ...JSON.parse(text), model: 'NEW' }
      expect(JSON.parse(Buffer.concat(parts).toString())).toEqual(expected)
    }),
    { numRuns: 1000 },
  )
})

test('with the old values put back, the document is the same to the byte', () => {
  fc.assert(
    fc.property(entries, choices, (members, choicesOf) => {
      const bytes = bytesOf(printObject([...members, ['model', 'auto']], choicesOf()))
      const scan = scanTopLevel(bytes, ['model'])
      const spans = [...scan.fields.get('model')!]
      const restored = replaceField(scan, 'model', value).map((part) => {
        const span = part === value ? spans.shift() : undefined
        return span ? bytes.subarray(span.start, span.end) : part
      })
      expect(Buffer.concat(restored)).toEqual(Buffer.from(bytes))
      expect(spans).toEqual([])
    }),
  )
})

test('the last occurrence of a field has the value that JSON.parse gives', () => {
  fc.assert(
    fc.property(entries, fc.string({ unit: 'binary' }), choices, (members, model, choicesOf) => {
      const text = printObject([...members, ['model', model]], choicesOf())
      const bytes = bytesOf(text)
      const last = scanTopLevel(bytes, ['model']).fields.get('model')!.at(-1)!
      expect(stringValue(bytes, last)).toBe(JSON.parse(text).model)
    }),
  )
})

test('accepts and refuses what JSON.parse does, one change away from JSON', () => {
  // Without backslashes and control characters nothing is left to the upstream, so both must agree exactly.
  const key = fc.constantFrom('a', 'model', 'a longer key than sixteen bytes')
  const json = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 4 },
      tie('leaf'),
      fc.array(tie('any'), { maxLength: 3 }),
      fc.dictionary(key, tie('any')),
    ),
    leaf: fc.oneof(
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      key,
    ),
  })).any
  const change = fc.record({
    at: fc.nat(),
    cut: fc.nat(2),
    put: fc.oneof(
      fc.constantFrom(...'{}[],:"0123.eE+-tfn '),
      fc.constantFrom('', 'true', 'null', '1', '""', '{}', '[]', ',"a":1'),
    ),
  })
  let accepted = 0
  fc.assert(
    fc.property(fc.dictionary(key, json), fc.array(change, { maxLength: 2 }), (object, changes) => {
      const text = changes.reduce((text, { at, cut, put }) => {
        const from = at % (text.length + 1)
        return text.slice(0, from) + put + text.slice(from + cut)
      }, JSON.stringify(object))
      const verdict = verdictOf(bytesOf(text))
      if (verdict === 'object') accepted++
      expect(verdict).toBe(expectedVerdict(text))
    }),
    { numRuns: 2000 },
  )
  expect(accepted).toBeGreaterThan(200)
})

test('what JSON.parse takes for an object is accepted, whatever is in its strings', () => {
  fc.assert(
    fc.property(fc.oneof(fc.json({ stringUnit: 'binary' }), fc.json()), (text) => {
      expect(verdictOf(bytesOf(text))).toBe(expectedVerdict(text))
    }),
    { numRuns: 1000 },
  )
})

test('garbage throws nothing but a JsonSyntaxError', () => {
  const structural = fc.constantFrom(...bytesOf('{}[],:"\\0-1e.tfn \n'), 0x80, 0xff)
  const garbage = fc.oneof(
    fc.uint8Array(),
    fc.array(structural, { maxLength: 80 }).map((bytes) => Uint8Array.from(bytes)),
  )
  fc.assert(
    fc.property(garbage, fc.boolean(), (bytes, asObject) => {
      const body = asObject ? Buffer.concat([bytesOf('{"a":'), bytes]) : bytes
      expect(['object', 'syntax', 'utf8', 'not-an-object']).toContain(verdictOf(body))
    }),
    { numRuns: 2000 },
  )
})

test('a document reads the same in one piece and in many, wherever they are cut', () => {
  const mutation = fc.option(
    fc.tuple(fc.nat(), fc.constantFrom(...bytesOf('{}[],:"\\0-1e.tfn '), 0x80, 0xc3, 0xf0)),
  )
  const cuts = fc.array(fc.nat({ max: 400 }), { maxLength: 12 })
  const urls = fc.constantFrom('data:image/png;base64,AAAA', 'data', 'dat😀a', 'a data: url', '\\"')
  const members = fc.tuple(entries, fc.array(fc.tuple(fc.constantFrom('model', 'u'), urls), { maxLength: 3 }))
  let refused = 0
  fc.assert(
    fc.property(members, choices, mutation, cuts, ([some, more], choicesOf, mutated, places) => {
      const bytes = bytesOf(printObject([...some, ...more], choicesOf()))
      if (mutated !== null) bytes[mutated[0] % bytes.length] = mutated[1]
      const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length].toSorted(
        (a, b) => a - b,
      )
      const pieces = ends.map((end, nth) => bytes.subarray(ends[nth - 1] ?? 0, end))
      const whole = resultOf([bytes])
      if (typeof whole === 'string') refused += 1
      expect(resultOf(pieces)).toEqual(whole)
    }),
    { numRuns: 3000 },
  )
  expect(refused).toBeGreaterThan(300)
})

/** What a scan finds, and the document with its model replaced; what is wrong with it otherwise. */
function resultOf(pieces: readonly Uint8Array[]): object | string {
  const scanner = new JsonScanner(['model', 'stream'])
  for (const piece of pieces) scanner.push(piece)
  try {
    const { pieces: _, ...found } = scanner.end(pieces)
    const text = Buffer.concat(replaceField({ ...found, pieces }, 'model', value)).toString()
    return { ...found, text }
  } catch (error) {
    if (error instanceof JsonSyntaxError) return `${error.kind}: ${error.message}`
    throw error
  }
}

function verdictOf(bytes: Uint8Array): string {
  try {
    scanTopLevel(bytes, ['model'])
    return 'object'
  } catch (error) {
    if (error instanceof JsonSyntaxError) return error.kind
    throw error
  }
}

function expectedVerdict(text: string): string {
  try {
    const json: unknown = JSON.parse(text)
    return typeof json === 'object' && json !== null && !Array.isArray(json) ? 'object' : 'not-an-object'
  } catch {
    return 'syntax'
  }
}

/** The same bytes as part of a larger buffer whose other bytes are quotes. */
function within(bytes: Uint8Array, shift: number): Uint8Array {
  const larger = new Uint8Array(bytes.length + shift + 16).fill(0x22)
  larger.set(bytes, shift)
  return larger.subarray(shift, shift + bytes.length)
}
