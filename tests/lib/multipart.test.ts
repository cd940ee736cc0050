import { describe, expect, test } from 'vitest'
import { findFormField, MultipartError, replaceFormField } from '../../src/lib/multipart.ts'

const type = 'multipart/form-data; boundary=XX'
const bytesOf = (text: string) => new TextEncoder().encode(text)

/** Lines joined by CRLF. */
const lines = (...texts: string[]) => texts.join('\r\n')

/** A part as it stands behind its delimiter. */
const part = (disposition: string, value: string) =>
  lines(`Content-Disposition: form-data; ${disposition}`, '', value)
const form = (...parts: string[]) => `${parts.map((text) => `--XX\r\n${text}\r\n`).join('')}--XX--\r\n`

const model = part('name="model"', 'auto')
const file = part('name="file"; filename="a.bin"', 'bytes')

const find = (text: string, contentType = type) => findFormField(bytesOf(text), contentType, 'model')
const replaced = (text: string) => Buffer.concat(replaceFormField(find(text), 'NEW')).toString()

describe('findFormField', () => {
  test.each([
    { disposition: 'Content-Disposition: form-data; name="model"', because: 'that is the usual form' },
    {
      disposition: 'content-disposition:form-data;name=model',
      because: 'header names have no case and a token needs no quotes',
    },
    { disposition: 'CONTENT-DISPOSITION: Form-Data; NAME="model"', because: 'parameter names have no case' },
    { disposition: 'Content-Disposition: form-data;\r\n name="model"', because: 'a header may be folded' },
    {
      disposition: 'Content-Type: text/plain\r\nContent-Disposition: form-data; name="model"',
      because: 'other headers may come first',
    },
    {
      disposition: 'Content-Disposition: form-data; name="mo\\del"',
      because: 'a backslash in quotes stands for what follows it',
    },
    {
      disposition: 'Content-Disposition: form-data; filename="x"; name="model"',
      because: 'a file called model is the field too',
    },
    {
      disposition: 'Content-Disposition: attachment; name="model"',
      because: 'servers do not look at the word',
    },
    {
      disposition: 'Content-Disposition: form-data; name="model"\r\nContent-Transfer-Encoding: 8bit',
      because: 'that encodes nothing',
    },
  ])('$disposition names the field, since $because', ({ disposition }) => {
    const text = form(file, lines(disposition, '', 'auto'), file)
    expect(find(text).value).toBe('auto')
    expect(replaced(text)).toBe(form(file, lines(disposition, '', 'NEW'), file))
  })

  test.each([
    { disposition: 'name="Model"', because: 'names are compared exactly' },
    { disposition: 'name="x"; filename="model"', because: 'a file name is no name' },
    { disposition: 'name="x; name=\\"model\\""', because: 'a quoted value is a value' },
    { disposition: 'name="%6dodel"', because: 'form names are not percent-decoded (WHATWG HTML)' },
    { disposition: 'name="x"; filename*=UTF-8\'\'model', because: 'an extended file name is a file name' },
    { disposition: 'fieldname="model"', because: 'that is another parameter' },
  ])('$disposition does not, since $because', ({ disposition }) => {
    expect(find(form(part(disposition, 'x'))).span).toBeUndefined()
  })

  test('an empty value, one of several lines and one that is no UTF-8 are read', () => {
    expect(find(form(part('name="model"', ''))).value).toBe('')
    expect(find(form(part('name="model"', 'a\r\n\r\nb'))).value).toBe('a\r\n\r\nb')
    const bytes = Buffer.concat([
      bytesOf('--XX\r\nContent-Disposition: form-data; name=model\r\n\r\n'),
      Uint8Array.of(0xff),
      bytesOf('\r\n--XX--'),
    ])
    expect(findFormField(bytes, type, 'model').value).toBe('\ufffd')
  })

  test('a part without headers or without a name belongs to nobody', () => {
    expect(
      find(form('\r\nContent-Disposition: form-data; name="model"', 'X-A: b\r\n\r\n', model)).value,
    ).toBe('auto')
  })

  test.each([
    { inside: '--XX', because: 'a line break must come before it' },
    { inside: '\n--XX\r\n', because: 'half a line break is none' },
    { inside: '\r\n--XXX\r\n', because: 'it goes on' },
    { inside: '\r\n--XX-\r\n', because: 'one dash closes nothing' },
    { inside: '\r\n--XX\n', because: 'half a line break is none' },
    { inside: '\r\n--XX x\r\n', because: 'it goes on behind the blank' },
    { inside: '\r\n-XX\r\n\r\n--X\r\n\r\n--', because: 'it is not the boundary' },
    { inside: '\r\r\n\r\n--xx\r\n', because: 'boundaries have case' },
  ])('$inside within a file is part of the file, since $because', ({ inside }) => {
    const trap = part(
      'name="file"; filename="a"',
      `${inside}Content-Disposition: form-data; name="model"\r\n\r\ntrap`,
    )
    expect(replaced(form(trap, model))).toBe(form(trap, part('name="model"', 'NEW')))
    expect(find(form(trap)).span).toBeUndefined()
  })

  test('text before the first and behind the last delimiter is no part', () => {
    const before = `Preamble --XX\r\n${model}\r\n`
    const text = `${before}${form(file)}\r\n${form(model)}`
    expect(find(text).span).toBeUndefined()
    expect(
      replaced(text).startsWith(
        `${before}--XX\r\nContent-Disposition: form-data; name="model"\r\n\r\nNEW\r\n--XX\r\n`,
      ),
    ).toBe(true)
  })

  test('blanks behind a boundary are allowed, as in RFC 2046', () => {
    expect(find(form(file, model).replaceAll('--XX\r\n', '--XX \t\r\n')).value).toBe('auto')
  })

  test.each([
    { contentType: 'multipart/form-data; boundary="XX"' },
    { contentType: 'Multipart/Form-Data ; charset=utf-8; BOUNDARY=XX' },
    { contentType: 'multipart/form-data; boundary="X\\X"' },
  ])('$contentType names the boundary', ({ contentType }) => {
    expect(find(form(model), contentType).value).toBe('auto')
  })

  test('a boundary of every character that RFC 2046 allows and of its full length is found', () => {
    const boundary = "0aZ'()+_,-./:=? x".padEnd(70, '-')
    const text = form(model).replaceAll('--XX', `--${boundary}`)
    expect(find(text, `multipart/form-data; boundary="${boundary}"`).value).toBe('auto')
  })

  test.each([
    { contentType: 'multipart/form-data', because: 'it names no boundary' },
    { contentType: 'multipart/form-data; boundary=', because: 'the boundary is empty' },
    { contentType: 'multipart/form-data; boundary=""', because: 'the boundary is empty' },
    { contentType: 'multipart/form-data; boundary="XX', because: 'the quote never ends' },
    { contentType: 'multipart/form-data; boundary="XX "', because: 'a boundary does not end in a blank' },
    { contentType: 'multipart/form-data; boundary=XX; boundary=YY', because: 'there are two' },
    { contentType: `multipart/form-data; boundary=${'X'.repeat(71)}`, because: 'it is too long' },
    { contentType: 'multipart/form-data; boundary=Xé', because: 'it is not ASCII' },
    { contentType: 'multipart/mixed; boundary=XX', because: 'it is no form' },
    { contentType: 'application/json', because: 'it is no form' },
  ])('the content type $contentType is refused, since $because', ({ contentType }) => {
    expect(() => find(form(model), contentType)).toThrow(/^the content type /)
  })

  test.each([
    { text: '', because: 'there is nothing' },
    { text: model, because: 'there is no delimiter' },
    { text: form(model).replaceAll('\r\n', '\n'), because: 'lines end in CRLF' },
    { text: `--XX\r\n${model}\r\n`, because: 'it is cut short' },
    { text: `--XX\r\n${model}\r\n--XX`, because: 'it is cut short' },
    { text: `--XX\r\n${model}\r\n--XX-`, because: 'it is cut short' },
    {
      text: form(file).replace('--XX\r\n', '--XX\r\n--XX\r\n'),
      because: 'there is nothing between two delimiters',
    },
    {
      text: form('Content-Disposition: form-data; name="model"\r\nauto'),
      because: 'the blank line is missing',
    },
    { text: form(lines('no colon', '', 'x')), because: 'a header has a colon' },
    {
      text: form(lines('X: a\nContent-Disposition: form-data; name="model"', '', 'x')),
      because: 'a bare line feed may or may not end a header',
    },
    { text: form(lines('X: a\rb', '', 'x')), because: 'so may a bare carriage return' },
    { text: form(lines(`X: ${'a'.repeat(20_000)}`, '', 'x')), because: 'headers of a part are short' },
    { text: form(part('name="model', 'x')), because: 'the quote never ends' },
    { text: form(part('name="x"; name="model"', 'x')), because: 'one name is enough' },
    { text: form(part("name*=UTF-8''model", 'x')), because: 'some servers would read it as the name' },
    { text: form(part('name*0="mo"; name*1="del"', 'x')), because: 'some servers would read it as the name' },
    {
      text: form(
        lines(
          'Content-Disposition: form-data; name="x"',
          'Content-Disposition: form-data; name="model"',
          '',
          'x',
        ),
      ),
      because: 'one disposition is enough',
    },
    {
      text: form(
        lines(
          'Content-Disposition: form-data; name="model"',
          'Content-Transfer-Encoding: base64',
          '',
          'YXV0bw==',
        ),
      ),
      because: 'the value would read otherwise',
    },
    { text: form(model, file, model), because: 'readers differ in which of two counts' },
    {
      text: form(model, part('name="model"; filename="x"', 'y')),
      because: 'the second counts in some servers',
    },
    { text: form(...Array.from({ length: 1_001 }, () => '\r\n')), because: 'no form has so many parts' },
  ])('a form is refused, since $because', ({ text }) => {
    expect(() => find(text)).toThrow(MultipartError)
  })

  test('a delimiter is one even where it could be a header', () => {
    const text = form(model).replace('--XX\r\n', '--XX\r\n--XX\r\n').replaceAll('XX', 'X:Y')
    expect(() => find(text, 'multipart/form-data; boundary="X:Y"')).toThrow(/blank line/)
  })

  test('no message quotes the form', () => {
    expect(() => find(form(part('name="s3cr3t', 'x')))).toThrow(
      /^a part has a malformed content disposition$/,
    )
  })
})

describe('replaceFormField', () => {
  test('an absent field becomes the first part, in a form without parts too', () => {
    expect(replaced(form(file))).toBe(form(part('name="model"', 'NEW'), file))
    expect(replaced('--XX--')).toBe(`--XX\r\n${part('name="model"', 'NEW')}\r\n--XX--`)
  })

  test('no file is copied', () => {
    const bytes = bytesOf(form(file, model, file))
    const [before, , after] = replaceFormField(findFormField(bytes, type, 'model'), 'NEW')
    expect(before?.buffer).toBe(bytes.buffer)
    expect(after?.buffer).toBe(bytes.buffer)
  })
})

describe('hostile forms', () => {
  const mebibytes8 = 8 * 2 ** 20
  test.each([
    { name: 'carriage returns', text: '\r' },
    { name: 'line breaks and dashes', text: '\r\n--' },
    { name: 'almost boundaries', text: `\r\n--${'X'.repeat(69)}` },
    { name: 'the boundary’s last character', text: 'X' },
    { name: 'boundaries that go on', text: `\r\n--${'X'.repeat(71)}` },
  ])('8 MiB of $name are read within seconds', ({ text }) => {
    const boundary = 'X'.repeat(70)
    const filler = text.repeat(mebibytes8 / text.length)
    const body = bytesOf(
      form(part('name="file"', filler), model)
        .replaceAll('--XX\r\n', `--${boundary}\r\n`)
        .replace(/--XX--\r\n$/, `--${boundary}--`),
    )
    const started = performance.now()
    expect(findFormField(body, `multipart/form-data; boundary=${boundary}`, 'model').value).toBe('auto')
    expect(performance.now() - started).toBeLessThan(20_000)
  })
})
