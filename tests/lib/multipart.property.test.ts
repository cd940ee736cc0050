import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { findFormField, FormScanner, MultipartError, replaceFormField } from '../../src/lib/multipart.ts'

const text = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('\r\n--', '--\r\n', '\r\n\r\n', 'model'),
)
const entry = fc.oneof(
  fc.tuple(
    text.filter((name) => name !== 'model' && !name.endsWith('\\')),
    text,
  ),
  fc.tuple(
    fc.constantFrom('file', 'image[]'),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => new Blob([bytes])),
  ),
)

test('any form that the runtime prints reads the same after the change, but for the model', async () => {
  const entries = fc.array(entry, { maxLength: 5 })
  await fc.assert(
    fc.asyncProperty(
      entries,
      fc.option(text, { nil: undefined }),
      fc.nat(5),
      async (others, model, place) => {
        const before = formOf(model === undefined ? others : others.toSpliced(place, 0, ['model', model]))
        const printed = new Response(before)
        const contentType = printed.headers.get('content-type')!
        const field = findFormField(new Uint8Array(await printed.arrayBuffer()), contentType, 'model')
        // The form standard prints line breaks in values as CRLF.
        expect(field.value).toBe(model?.replaceAll(/\r\n|\r|\n/g, '\r\n'))
        const changed = new Response(Buffer.concat(replaceFormField(field, 'NEW')), {
          headers: { 'content-type': contentType },
        })
        const expected = formOf(
          model === undefined ? [['model', 'NEW'], ...others] : others.toSpliced(place, 0, ['model', 'NEW']),
        )
        expect(await contentsOf(await changed.formData())).toEqual(await contentsOf(expected))
      },
    ),
    { numRuns: 300 },
  )
})

test('garbage throws nothing but a MultipartError', () => {
  const piece = fc.constantFrom(
    '--',
    'XX',
    '\r\n',
    '\r',
    '\n',
    'Content-Disposition: form-data; ',
    'name="model"',
    ': ',
    '"',
    '=',
    ' ',
    'é',
    'text',
    '\r\n--XX\r\n',
    '\r\n--XX--',
  )
  const garbage = fc.array(piece, { maxLength: 30 }).map((pieces) => `--XX\r\n${pieces.join('')}`)
  let found = 0
  fc.assert(
    fc.property(garbage, fc.string(), fc.boolean(), (body, junk, usesJunk) => {
      const contentType = `multipart/form-data; boundary=${usesJunk ? junk : 'XX'}`
      try {
        const field = findFormField(new TextEncoder().encode(body), contentType, 'model')
        found++
        expect(Buffer.concat(replaceFormField(field, 'NEW')).includes('NEW')).toBe(true)
      } catch (error) {
        expect(error).toBeInstanceOf(MultipartError)
      }
    }),
    { numRuns: 3000 },
  )
  expect(found).toBeGreaterThan(5)
})

test('a form reads the same in one piece and in many, wherever they are cut', () => {
  const piece = fc.constantFrom(
    '--XX\r\n',
    '\r\n--XX\r\n',
    '\r\n--XX--',
    '\r\n--XX \t\r\n',
    '\r\n\r\n',
    '\r\n',
    '--XX',
    'Content-Disposition: form-data; name="model"',
    'Content-Disposition: form-data; name="model"\r\n\r\nauto\r\n--XX--',
    'X: y',
    'x'.repeat(70_000),
    ' '.repeat(17_000),
  )
  const content = fc.array(piece, { maxLength: 8 }).map((pieces) => `--XX\r\n${pieces.join('')}`)
  const read = (pieces: readonly Uint8Array[]): unknown => {
    const scanner = new FormScanner('multipart/form-data; boundary=XX', 'model')
    for (const one of pieces) scanner.push(one)
    try {
      const { span, formStart } = scanner.end(pieces)
      return { span, formStart }
    } catch (error) {
      return (error as Error).name
    }
  }
  let found = 0
  fc.assert(
    fc.property(
      content,
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 }),
      (body, cuts) => {
        const bytes = new TextEncoder().encode(body)
        const ends = [
          ...cuts.map((cut) => Math.floor(cut * bytes.length)).toSorted((a, b) => a - b),
          bytes.length,
        ]
        const pieces = ends.map((end, nth) => bytes.subarray(ends[nth - 1] ?? 0, end))
        const whole = read([bytes])
        if (typeof whole === 'object') found++
        expect(read(pieces)).toEqual(whole)
        if (bytes.length < 1_000) expect(read([...bytes].map((byte) => Uint8Array.of(byte)))).toEqual(whole)
      },
    ),
    { numRuns: 2_000 },
  )
  expect(found).toBeGreaterThan(20)
})

function formOf(entries: readonly (readonly [string, string | Blob])[]): FormData {
  const form = new FormData()
  for (const [name, value] of entries) {
    if (typeof value === 'string') form.append(name, value)
    else form.append(name, value, 'file.bin')
  }
  return form
}

async function contentsOf(form: FormData): Promise<unknown[]> {
  return Promise.all(
    [...form].map(async ([name, value]) => [
      lineBreaks(name),
      typeof value === 'string' ? lineBreaks(value) : Buffer.from(await value.arrayBuffer()).toString('hex'),
    ]),
  )
}

function lineBreaks(printed: string): string {
  return printed.replaceAll(/\r\n|\r|\n/g, '\r\n')
}
