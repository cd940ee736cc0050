/**
 * What does it cost to check a request body and to replace its model, next to parsing and printing it?
 *
 * `node --expose-gc --import tsx bench/json-field.ts`. The check must stay below the relay itself: about 80 µs of CPU for
 * a small chat request, 600 µs for 200 KB.
 */
import { bench, do_not_optimize, group, run } from 'mitata'
import { replaceField } from '../src/lib/json/edit.ts'
import { scanTopLevel } from '../src/lib/json/scan.ts'
import { firstMessages } from '../src/openai/affinity-key.ts'
import { findFormField, replaceFormField } from '../src/lib/multipart.ts'
import { invalidUtf8At } from '../src/lib/json/utf8.ts'

const wanted = ['model', 'stream', 'max_tokens', 'n', 'user', 'messages', 'input', 'prompt', 'instructions']
const model = new TextEncoder().encode('"gpt-4o"')

const english = 'The quick brown fox jumps over the lazy dog. '
const chinese = '敏捷的棕色狐狸跳过了懒狗。'
const code = 'if (a === "b") { return "\\n" }\n'

const bodies = [
  ['657 B', chat(english, 480)],
  ['200 KB, 100 messages', chat(english, 2000, 100)],
  ['200 KB Chinese', chat(chinese, 70_000)],
  ['200 KB of code (escapes)', chat(code, 150_000)],
  ['5 MB, one string', chat(english, 5_000_000)],
  ['100,000 levels', bytesOf(`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)},"model":"auto"}`)],
  [
    '100,000 keys',
    bytesOf(`{${Array.from({ length: 100_000 }, (_, i) => `"k${i}":0,`).join('')}"model":"auto"}`),
  ],
] as const

for (const [name, body] of bodies) {
  group(name, () => {
    bench('check, find, replace', () =>
      do_not_optimize(replaceField(scanTopLevel(body, wanted), 'model', model)))
    bench('UTF-8 alone', () => do_not_optimize(invalidUtf8At(body)))
    const scan = scanTopLevel(body, wanted)
    const messages = scan.fields.get('messages')?.[0]
    if (messages)
      bench('first messages', () =>
        do_not_optimize(firstMessages(body.subarray(messages.start, messages.end))))
    if (name.endsWith('levels')) return
    bench('parse and print', () => do_not_optimize(parseAndPrint(body)))
  })
}

group('multipart, a file of 25 MB', () => {
  const contentType = 'multipart/form-data; boundary=----formdata-undici-012345678901'
  const noise = form(Uint8Array.from({ length: 25e6 }, () => Math.random() * 256))
  const lineBreaks = form(bytesOf('\r\n--'.repeat(25e6 / 4)))
  bench('noise', () =>
    do_not_optimize(replaceFormField(findFormField(noise, contentType, 'model'), 'gpt-4o')))
  bench('line breaks and dashes', () => do_not_optimize(findFormField(lineBreaks, contentType, 'model')))
})

await run()

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

function parseAndPrint(body: Uint8Array): Uint8Array {
  return bytesOf(JSON.stringify({ ...JSON.parse(new TextDecoder().decode(body)), model: 'gpt-4o' }))
}

function chat(text: string, length: number, count = 1): Uint8Array {
  const content = text.repeat(Math.ceil(length / text.length)).slice(0, length)
  const messages = Array.from({ length: count }, () => ({ role: 'user', content }))
  const system = { role: 'system', content: 'You are a helpful assistant.' }
  return bytesOf(
    JSON.stringify({ model: 'auto', stream: true, temperature: 0.7, messages: [system, ...messages] }),
  )
}

function form(file: Uint8Array): Uint8Array {
  const head = (name: string) =>
    `------formdata-undici-012345678901\r\nContent-Disposition: form-data; ${name}\r\n\r\n`
  const before = bytesOf(head('name="file"; filename="a.mp3"'))
  const after = bytesOf(`\r\n${head('name="model"')}auto\r\n------formdata-undici-012345678901--\r\n`)
  const whole = new Uint8Array(before.length + file.length + after.length)
  whole.set(before)
  whole.set(file, before.length)
  whole.set(after, before.length + file.length)
  return whole
}
