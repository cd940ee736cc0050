import { describe, expect, test } from 'vitest'
import { replaceField } from '../../../src/lib/json/edit.ts'
import { scanTopLevel } from '../../../src/lib/json/scan.ts'
import { JsonSyntaxError, numberValue, stringValue } from '../../../src/lib/json/walk.ts'

const bytesOf = (text: string) => new TextEncoder().encode(text)

/** The document with "NEW" as its model. */
function replaced(text: string): string {
  const parts = replaceField(scanTopLevel(bytesOf(text), ['model']), 'model', bytesOf('"NEW"'))
  return Buffer.concat(parts).toString()
}

function errorOf(bytes: Uint8Array): JsonSyntaxError {
  try {
    scanTopLevel(bytes, ['model'])
  } catch (error) {
    if (error instanceof JsonSyntaxError) return error
    throw error
  }
  throw new Error('nothing was refused')
}

describe('replaceField', () => {
  test.each([
    { from: '{"model":"auto"}', to: '{"model":"NEW"}', because: 'it is there' },
    { from: '{}', to: '{"model":"NEW"}', because: 'an absent field is inserted without a comma when alone' },
    { from: ' { \n } ', to: ' {"model":"NEW" \n } ', because: 'white space is kept' },
    { from: '{"a":1}', to: '{"model":"NEW","a":1}', because: 'an absent field becomes the first key' },
    {
      from: '{ "model" :\t"x" , "a":1}\r\n',
      to: '{ "model" :\t"NEW" , "a":1}\r\n',
      because: 'white space is kept',
    },
    { from: '{"model":null}', to: '{"model":"NEW"}', because: 'any kind of value is replaced' },
    {
      from: '{"model":{"model":[1]},"b":2}',
      to: '{"model":"NEW","b":2}',
      because: 'any kind of value is replaced',
    },
    { from: '{"\\u006dodel":"x"}', to: '{"\\u006dodel":"NEW"}', because: 'an escaped key is the key' },
    {
      from: '{"\\u006D\\u006f\\u0064\\u0065\\u006c":1}',
      to: '{"\\u006D\\u006f\\u0064\\u0065\\u006c":"NEW"}',
      because: 'an escaped key is the key',
    },
    {
      from: '{"\\model":"x"}',
      to: '{"\\model":"NEW"}',
      because: 'lenient readers take an unknown escape for its letter',
    },
    {
      from: '{"model":"a","\\u006dodel":"b","model":"c"}',
      to: '{"model":"NEW","\\u006dodel":"NEW","model":"NEW"}',
      because: 'readers differ in which of them counts',
    },
    {
      from: '{"a":{"model":"x"},"b":[{"model":"y"}]}',
      to: '{"model":"NEW","a":{"model":"x"},"b":[{"model":"y"}]}',
      because: 'nested keys are others',
    },
    {
      from: '{"a":"\\"model\\":\\"x\\"","model":"m"}',
      to: '{"a":"\\"model\\":\\"x\\"","model":"NEW"}',
      because: 'text that looks like a key is text',
    },
    { from: '{"a":"model","model":"m"}', to: '{"a":"model","model":"NEW"}', because: 'a value is no key' },
    {
      from: '{"a\\\\":"x","model":"m"}',
      to: '{"a\\\\":"x","model":"NEW"}',
      because: 'an escaped backslash escapes no quote',
    },
    {
      from: '{"Model":"x","models":1,"mode":2,"model ":3}',
      to: '{"model":"NEW","Model":"x","models":1,"mode":2,"model ":3}',
      because: 'keys are compared exactly',
    },
    {
      from: '{"n":12345678901234567890,"t":1.0,"x":1e400,"z":-0.0E+5,"model":1}',
      to: '{"n":12345678901234567890,"t":1.0,"x":1e400,"z":-0.0E+5,"model":"NEW"}',
      because: 'numbers are never converted',
    },
    {
      from: '{"é":"\\ud83d \\q \u0001","model":"m"}',
      to: '{"é":"\\ud83d \\q \u0001","model":"NEW"}',
      because: 'escapes and control characters in strings are the upstream’s affair',
    },
    {
      from: '\ufeff{"model":"m"}',
      to: '\ufeff{"model":"NEW"}',
      because: 'a byte order mark is passed over and kept',
    },
  ])('$from becomes $to, since $because', ({ from, to }) => {
    expect(replaced(from)).toBe(to)
  })

  test('copies nothing of the document', () => {
    const bytes = bytesOf('{"a":1,"model":"m","b":2}')
    const value = bytesOf('"NEW"')
    const parts = replaceField(scanTopLevel(bytes, ['model']), 'model', value)
    expect(parts.map(({ buffer }) => buffer)).toEqual([bytes.buffer, value.buffer, bytes.buffer])
    expect(parts[0]!.buffer).toBe(bytes.buffer)
  })
})

describe('scanTopLevel', () => {
  test.each([
    { text: '', because: 'there is nothing' },
    { text: ' \n', because: 'there is nothing but white space' },
    { text: 'hello', because: 'no value begins so' },
    { text: '{', because: 'the brace is never closed' },
    { text: '{"a"', because: 'the colon is missing' },
    { text: '{"a":', because: 'the value is missing' },
    { text: '{"a":}', because: 'the value is missing' },
    { text: '{"a" 1}', because: 'the colon is missing' },
    { text: '{"a":1', because: 'the brace is never closed' },
    { text: '{"a":1,}', because: 'a key must follow the comma' },
    { text: '{,"a":1}', because: 'no key is before the comma' },
    { text: '{"a":1 "b":2}', because: 'the comma is missing' },
    { text: '{"a":1,,"b":2}', because: 'one comma is enough' },
    { text: '{a:1}', because: 'a key needs quotes' },
    { text: "{'a':1}", because: 'single quotes are no quotes' },
    { text: '{"a":1]', because: 'the bracket is of the wrong kind' },
    { text: '{"a":[1}}', because: 'the bracket is of the wrong kind' },
    { text: '{"a":{"b":1]}', because: 'the bracket is of the wrong kind' },
    { text: '{"a":[1,]}', because: 'a value must follow the comma' },
    { text: '{"a":[,1]}', because: 'no value is before the comma' },
    { text: '{"a":[1 2]}', because: 'the comma is missing' },
    { text: '{"a":["b":1]}', because: 'lists have no keys' },
    { text: '{"a":{"b"}}', because: 'the colon is missing' },
    { text: '{"a":{1:1}}', because: 'a key is a string' },
    { text: '{"a":"b}', because: 'the string never ends' },
    { text: '{"a":"b\\"}', because: 'the last quote is escaped' },
    { text: '{"a":"b\\', because: 'the escape has nothing behind it' },
    { text: '{"a":tru}', because: 'the word is misspelt' },
    { text: '{"a":True}', because: 'the word is misspelt' },
    { text: '{"a":nulll}', because: 'the word is misspelt' },
    { text: '{"a":undefined}', because: 'no value begins so' },
    { text: '{"a":NaN}', because: 'no value begins so' },
    { text: '{"a":-Infinity}', because: 'no number goes on so' },
    { text: '{"a":01}', because: 'numbers have no leading zero' },
    { text: '{"a":+1}', because: 'numbers have no plus sign' },
    { text: '{"a":.5}', because: 'numbers begin with a digit' },
    { text: '{"a":5.}', because: 'digits follow the point' },
    { text: '{"a":1e}', because: 'digits follow the e' },
    { text: '{"a":1e+}', because: 'digits follow the sign' },
    { text: '{"a":-}', because: 'digits follow the sign' },
    { text: '{"a":0x10}', because: 'numbers are decimal' },
    { text: '{"a":1}{', because: 'nothing may follow' },
    { text: '{"a":1},', because: 'nothing may follow' },
    { text: '{"a":1}\0', because: 'nothing may follow' },
    { text: '{"a":1} // x', because: 'comments are no JSON' },
    { text: '{\u00a0"a":1}', because: 'that is no white space in JSON' },
    { text: '\ufeff\ufeff{}', because: 'one mark is enough' },
    { text: '[1', because: 'the list is never closed' },
  ])('$text is refused, since $because', ({ text }) => {
    expect(errorOf(bytesOf(text)).kind).toBe('syntax')
  })

  test.each(['[]', '[{"model":"x"}]', '"model"', '1', 'true', ' null '])(
    '%s is JSON but not an object',
    (text) => {
      expect(errorOf(bytesOf(text)).kind).toBe('not-an-object')
    },
  )

  test.each([
    { bytes: [0xff], because: 'no character has it' },
    { bytes: [0xc0, 0xaf], because: 'it is overlong' },
    { bytes: [0xed, 0xa0, 0x80], because: 'it is a surrogate' },
    { bytes: [0xe2, 0x82], because: 'it is cut short' },
  ])('a string with the bytes $bytes is refused, since $because', ({ bytes }) => {
    const error = errorOf(Buffer.concat([bytesOf('{"a":"'), Uint8Array.from(bytes), bytesOf('"}')]))
    expect(error).toMatchObject({ kind: 'utf8', offset: 6 })
  })

  test('the error tells where, and nothing of the document', () => {
    const error = errorOf(bytesOf('{"secret":"s3cr3t" "b":1}'))
    expect(error.offset).toBe(19)
    expect(error.message).toBe('expected a comma or }, found something else (byte 19)')
    expect(errorOf(bytesOf('{"secret":')).message).toBe('expected a value, found the end (byte 10)')
  })

  test('finds every wanted field with its kind and no other', () => {
    const text = '{"s":"x","n":-1.5,"o":{},"a":[ ],"t":true,"f":false,"z":null,"other":1}'
    const bytes = bytesOf(text)
    const { fields } = scanTopLevel(bytes, ['s', 'n', 'o', 'a', 't', 'f', 'z', 'absent'])
    const found = [...fields].map(([name, spans]) => {
      return [name, ...spans.map(({ start, end, kind }) => `${kind} ${text.slice(start, end)}`)]
    })
    expect(found).toEqual([
      ['s', 'string "x"'],
      ['n', 'number -1.5'],
      ['o', 'object {}'],
      ['a', 'array [ ]'],
      ['t', 'true true'],
      ['f', 'false false'],
      ['z', 'null null'],
    ])
  })

  test('a field that stands over a thousand times is refused, so that a client can’t fill the memory', () => {
    const document = (count: number) => `{${Array.from({ length: count }, () => '"model":""').join()}}`
    expect(replaced(document(1000)).match(/NEW/g)).toHaveLength(1000)
    expect(errorOf(bytesOf(document(1001))).kind).toBe('too-many-duplicates')
  })

  test('names such as __proto__ and constructor are fields like others', () => {
    const { fields } = scanTopLevel(bytesOf('{"__proto__":1,"a":2}'), ['__proto__', 'constructor'])
    expect([...fields.keys()]).toEqual(['__proto__'])
  })
})

describe('hostile documents', () => {
  const million = 1_000_000
  test.each([
    {
      name: '1,000,000 levels of lists',
      text: `{"a":${'['.repeat(million)}${']'.repeat(million)},"model":1}`,
    },
    {
      name: '100,000 levels of objects',
      text: `{"a":${'{"b":'.repeat(100_000)}1${'}'.repeat(100_000)},"model":1}`,
    },
    {
      name: '100,000 keys',
      text: `{${Array.from({ length: 100_000 }, (_, i) => `"k${i}":${i},`).join('')}"model":1}`,
    },
    { name: '100,000 escaped keys', text: `{${'"\\u006dodex":1,'.repeat(100_000)}"model":1}` },
    { name: '5,000,000 backslashes', text: `{"a":"${'\\'.repeat(5 * million)}","model":1}` },
    { name: '2,500,000 escaped quotes', text: `{"a":"${'\\"'.repeat(2.5 * million)}","model":1}` },
    { name: 'escaped quotes far apart', text: `{"a":"${`${'x'.repeat(300)}\\"`.repeat(20_000)}","model":1}` },
    { name: 'a key of 5,000,000 escapes', text: `{"${'\\m'.repeat(5 * million)}":0,"model":1}` },
  ])('$name are answered within seconds', ({ text }) => {
    const bytes = bytesOf(text)
    const started = performance.now()
    const parts = replaceField(scanTopLevel(bytes, ['model', 'messages']), 'model', bytesOf('"NEW"'))
    expect(performance.now() - started).toBeLessThan(20_000)
    expect(Buffer.concat(parts).toString().endsWith('"model":"NEW"}')).toBe(true)
  })

  test.each([
    { name: 'brackets', text: `{"a":${'['.repeat(million)}` },
    { name: 'brackets closed by braces', text: `{"a":${'['.repeat(100_000)}${'}'.repeat(100_000)}}` },
    { name: 'strings', text: `{"a":"${'\\"'.repeat(million)}` },
  ])('$name that do not match are refused', ({ text }) => {
    expect(errorOf(bytesOf(text)).kind).toBe('syntax')
  })

  test('levels beyond a machine word keep their kinds', () => {
    const opens = Array.from({ length: 200 }, (_, level) => (level % 3 === 0 ? '{"k":' : '['))
    const closes = opens.map((open) => (open === '[' ? ']' : '}')).toReversed()
    const nested = (ends: string[]) => bytesOf(`{"a":${opens.join('')}0${ends.join('')}}`)
    expect(() => scanTopLevel(nested(closes), [])).not.toThrow()
    for (let level = 0; level < closes.length; level++) {
      const wrong = closes.with(level, closes[level] === ']' ? '}' : ']')
      expect(errorOf(nested(wrong)).kind).toBe('syntax')
    }
  })
})

describe('values', () => {
  const valueOf = (json: string) => [bytesOf(json), { start: 0, end: bytesOf(json).length }] as const

  test.each([
    { json: '""', text: '' },
    { json: '"auto"', text: 'auto' },
    { json: '"\\u0061\\"\\\\\\/\\b\\f\\n\\r\\t"', text: 'a"\\/\b\f\n\r\t' },
    { json: '"\\ud83d\\ude00 😀 模型"', text: '😀 😀 模型' },
    { json: '"\\ud83d"', text: '\ud83d' },
    { json: '"\\q\\u12"', text: 'qu12' },
    { json: '"\\\\u0061"', text: '\\u0061' },
    { json: '"\ufeffx"', text: '\ufeffx' },
    { json: '"a\nb"', text: 'a\nb' },
  ])('the string $json reads $text', ({ json, text }) => {
    expect(stringValue(...valueOf(json))).toBe(text)
  })

  test.each([
    { json: '512', value: 512 },
    { json: '-1.50e+2', value: -150 },
    { json: '12345678901234567890', value: 12345678901234567000 },
    { json: '1e400', value: undefined },
    { json: '"512"', value: undefined },
    { json: 'null', value: undefined },
    { json: 'true', value: undefined },
    { json: '[1]', value: undefined },
  ])('the number in $json is $value', ({ json, value }) => {
    expect(numberValue(...valueOf(json))).toBe(value)
  })
})
