import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { findConfigFile, watchConfig } from '../../../src/adapter/node/config-file.ts'
import { checkConfig, openConfig } from '../../../src/adapter/node/open-config.ts'
import { hostOf, newToken, writeToken } from '../../../src/adapter/node/without-file.ts'
import { fiveKeys, textOf } from '../../config/texts.ts'

const template = fileURLToPath(new URL('../../../config/config.json', import.meta.url))
let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'aiload-config-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const open = (env = {}, given?: string) =>
  openConfig({ directory, env, template, ...(given === undefined ? {} : { given }) })
const check = (given: string) => checkConfig({ directory, env: {}, template, given }).loaded
const usual = () => join(directory, 'data', 'config', 'config.json')
const modeOf = (file: string) => (statSync(file).mode & 0o777).toString(8)

function write(file: string, text: string): string {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
  return file
}

test('the given file counts, else data/config/config.json, else data/config.json', () => {
  const short = join(directory, 'data', 'config.json')
  expect(findConfigFile({ directory })).toBe(usual())
  write(short, fiveKeys)
  expect(findConfigFile({ directory })).toBe(short)
  write(usual(), fiveKeys)
  expect(findConfigFile({ directory })).toBe(usual())
  expect(findConfigFile({ directory, given: 'x.json' })).toBe('x.json')
  expect(findConfigFile({ directory, given: '' })).toBe(usual())
})

test('a first start copies the template and writes a token into it, readable by nobody else', () => {
  const opened = open()
  expect(opened).toMatchObject({ ok: true, file: usual(), isNew: true, hasNewToken: true })
  const written = readFileSync(usual(), 'utf8')
  const token = opened.ok ? opened.config.authTokens[0] : ''
  expect(written).toBe(readFileSync(template, 'utf8').replace('"auth_token": ""', `"auth_token": "${token}"`))
  expect(opened).toMatchObject({ text: written })
  expect(modeOf(usual())).toBe('600')
  expect(readdirSync(dirname(usual()))).toEqual(['config.json'])
})

test('the second start finds the token of the first and writes nothing', () => {
  const first = open()
  const before = statSync(usual(), { bigint: true })
  const second = open()
  expect(second).toMatchObject({ ok: true, isNew: false, hasNewToken: false })
  expect(second.ok && first.ok && second.config.authTokens[0] === first.config.authTokens[0]).toBe(true)
  expect(statSync(usual(), { bigint: true }).mtimeNs).toBe(before.mtimeNs)
})

test('a file with a token is left as it is, its mode too', () => {
  write(usual(), textOf())
  chmodSync(usual(), 0o644)
  expect(open()).toMatchObject({ ok: true, hasNewToken: false })
  expect([readFileSync(usual(), 'utf8'), modeOf(usual())]).toEqual([textOf(), '644'])
})

test('a token from the environment is never written over', () => {
  const text = textOf({ auth_token: '${TOKEN}' })
  write(usual(), text)
  expect(open({ TOKEN: 'abc' })).toMatchObject({ ok: true, config: { authTokens: ['abc'] } })
  expect(open({ TOKEN: '' })).toMatchObject({ ok: false, problems: [{ path: 'auth_token' }] })
  expect(open()).toMatchObject({ ok: false, problems: [{ path: 'auth_token' }] })
  expect(readFileSync(usual(), 'utf8')).toBe(text)
})

test('the token of the environment is none of a client: all would be open to that client', () => {
  const token = `sk-alice-${'x'.repeat(32)}`
  const file = join(directory, 'own.json')
  const models = [{ base_url: 'https://a.example/v1', model: 'm' }]
  write(file, JSON.stringify({ models, tokens: [{ name: 'alice', token }] }))
  expect(open({ AILOAD_TOKEN: token }, file)).toMatchObject({
    ok: false,
    problems: [{ path: 'tokens[0].token' }],
  })
  expect(open({ AILOAD_TOKEN: `${token}y` }, file).ok).toBe(true)
})

test('a broken file gets no token', () => {
  const text = '{ "auth_token": "", "models": [] }'
  write(usual(), text)
  expect(open()).toMatchObject({ ok: false, problems: [{ path: 'models' }] })
  expect(readFileSync(usual(), 'utf8')).toBe(text)
})

test('a symbolic link stays one, and what it points to gets the token', () => {
  const real = write(join(directory, 'elsewhere', 'real.json'), fiveKeys)
  const link = join(directory, 'link.json')
  symlinkSync(real, link)
  expect(open({}, link)).toMatchObject({ ok: true, hasNewToken: true })
  expect(readFileSync(real, 'utf8')).toContain('"auth_token": "sk-')
  expect(readdirSync(dirname(real))).toEqual(['real.json'])
})

test('a token that cannot be written keeps the gateway from starting, with what to do', () => {
  write(usual(), fiveKeys)
  // Occupies the name of the file that is written aside; root is refused nothing by modes.
  write(join(`${usual()}.${process.pid}.tmp`, 'x'), '')
  const opened = open()
  expect(opened).toMatchObject({
    ok: false,
    problems: [{ file: usual(), message: expect.stringContaining('a new one cannot be written') as string }],
  })
  expect(readFileSync(usual(), 'utf8')).toBe(fiveKeys)
})

test('a first start without a place for its file is a problem', () => {
  writeFileSync(join(directory, 'data'), '')
  expect(open()).toMatchObject({
    ok: false,
    problems: [{ message: expect.stringContaining('the first one cannot be written') as string }],
  })
})

test('a file that was named and is not there is a problem and is not made', () => {
  const file = join(directory, 'typo.json')
  expect(open({}, file)).toMatchObject({ ok: false, problems: [{ file, message: 'there is no such file' }] })
  expect(existsSync(file)).toBe(false)
})

test('a check reads and never writes', () => {
  expect(check(usual())).toMatchObject({
    ok: false,
    problems: [{ message: 'there is no such file' }],
  })
  expect(existsSync(join(directory, 'data'))).toBe(false)
  write(usual(), fiveKeys)
  expect(check(usual())).toMatchObject({ ok: true, config: { authTokens: [] } })
  expect(readFileSync(usual(), 'utf8')).toBe(fiveKeys)
})

test('a directory and a file in another encoding are told as such', () => {
  expect(check(directory)).toMatchObject({ problems: [{ message: 'is a directory' }] })
  writeFileSync(join(directory, 'utf16.json'), Buffer.from(`\uFEFF${fiveKeys}`, 'utf16le'))
  expect(check(join(directory, 'utf16.json'))).toMatchObject({
    problems: [{ message: 'is not UTF-8' }],
  })
})

test('tokens are sk- and at least 32 random characters, never the same twice', () => {
  const tokens = Array.from({ length: 100 }, newToken)
  for (const token of tokens) expect(token).toMatch(/^sk-[A-Za-z0-9_-]{32,}$/)
  expect(new Set(tokens).size).toBe(100)
})

test.each([
  { env: {}, there: '', host: '127.0.0.1', because: 'nothing says that it is a container' },
  { env: {}, there: '/.dockerenv', host: '0.0.0.0', because: "it is Docker's" },
  { env: {}, there: '/run/.containerenv', host: '0.0.0.0', because: "it is Podman's" },
  { env: { KUBERNETES_SERVICE_HOST: '10.0.0.1' }, there: '', host: '0.0.0.0', because: 'it is a pod' },
  { env: { AILOAD_DROP_ROOT: '1000:1000' }, there: '', host: '0.0.0.0', because: 'it is our image' },
])('without a file it listens on $host where $because', ({ env, there, host }) => {
  expect(hostOf(env, (file) => file === there)).toBe(host)
})

test('a token that another first start has written meanwhile stays, and an empty file gets one', () => {
  const others = write(join(directory, 'data', 'token'), 'sk-of-the-other\n')
  writeToken(others)
  expect(readFileSync(others, 'utf8')).toBe('sk-of-the-other\n')
  const empty = write(join(directory, 'empty'), '')
  writeToken(empty)
  expect(readFileSync(empty, 'utf8')).toMatch(/^sk-[\w-]{43}\n$/)
})

test('the file is looked at twice a second, and the first look after a change serves it', () => {
  const withTokens = (...names: string[]) =>
    textOf({ tokens: names.map((name) => ({ name, token: `sk-${name}-${'x'.repeat(40)}` })) })
  const file = write(usual(), withTokens('alice', 'bob'))
  const opened = open({}, file)
  if (!opened.ok || opened.file === undefined) throw new Error('the file of the test is wrong')
  const served: string[][] = []
  let look = (): void => {}
  const watched = watchConfig({
    ...opened,
    env: {},
    report: () => {},
    apply: ({ tokens }) => void served.push(tokens.map(({ name }) => name)),
    every(ms, task) {
      expect(ms).toBeLessThanOrEqual(500)
      look = task
      return () => {}
    },
  })
  for (const [text, before, after] of [
    [withTokens('alice', 'bob'), [], []],
    [withTokens('bob'), [], [['bob']]],
    // Of the same length, in the same moment, and by a file in its place.
    [withTokens('eve'), [['bob']], [['bob'], ['eve']]],
  ] as const) {
    const aside = write(`${file}.new`, text)
    renameSync(aside, file)
    expect(served).toEqual(before)
    look()
    expect(served).toEqual(after)
    look()
    expect(served).toEqual(after)
  }
  watched.stop()
})
