import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseArguments } from '../../src/cli/arguments.ts'
import { commands } from '../../src/cli/commands.ts'
import { readSource } from '../../src/config/source.ts'
import { withoutTokenEntry, withTokenEntry } from '../../src/cli/token.ts'
import { runAiload, temporaryDirectory } from '../support/gateway-process.ts'

const model = '{ "base_url": "https://a.example/v1", "model": "m", "api_key": "${NOT_SET_HERE}" }'
const whole = '{ "base_url": "https://a.example/v1", "model": "m" }'

function written(text: string) {
  const directory = temporaryDirectory()
  mkdirSync(join(directory, 'data'))
  const file = join(directory, 'data', 'config.json')
  writeFileSync(file, text)
  const read = (): string => readFileSync(file, 'utf8')
  return { directory, file, read, run: (...args: string[]) => runAiload(['token', ...args], { directory }) }
}

const digestOf = (token: string): string => `sha256:${createHash('sha256').update(token).digest('hex')}`

describe('token add', () => {
  test('prints the token alone on stdout and writes its digest, behind auth_token, with comments kept', async () => {
    const { run, read, file } = written(`{
  // of the operator
  "auth_token": "sk-own", // not for clients
  "models": [${whole}], // all of them
}
`)
    const { code, stdout, stderr } = await run('add', 'alice', '--models', 'm, fast')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^sk-[\w-]{43}\n$/)
    expect(stderr).toContain('shown only now')
    expect(stderr).toContain(`tokens[0].models[1]: names no model`)
    expect(read()).toBe(`{
  // of the operator
  "auth_token": "sk-own", // not for clients
  "tokens": [
    {
      "name": "alice",
      "token": "${digestOf(stdout.trim())}",
      "models": ["m", "fast"]
    }
  ],
  "models": [${whole}], // all of them
}
`)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(read()).not.toContain(stdout.trim())
  })

  test('refuses a name that is taken or none, and then changes nothing', async () => {
    const { run, read } = written(
      `{ "auth_token": "sk-own", "tokens": [{ "name": "alice", "token": "${digestOf('x')}" }], "models": [${model}] }`,
    )
    const before = read()
    const taken = await run('add', 'alice')
    expect([taken.code, taken.stdout]).toEqual([1, ''])
    expect(taken.stderr).toContain('there is a token "alice" already')
    const bad = await run('add', 'no name')
    expect([bad.code, bad.stdout]).toEqual([1, ''])
    expect(bad.stderr).toContain('tokens[1].name: cannot be the name of a token')
    expect(read()).toBe(before)
  })

  // Between the last look at the file and its replacement some microseconds are left, in which a busy machine may stop.
  test('of several at once each is in the file, or says that it is not', { retry: 2 }, async () => {
    const { run, read } = written(`{ "auth_token": "sk-own", "models": [${whole}] }`)
    const names = ['a', 'b', 'c', 'd']
    const ended = await Promise.all(names.map((name) => run('add', name)))
    const text = read()
    for (const { code, stdout, stderr } of ended) {
      if (code === 0) expect(text).toContain(digestOf(stdout.trim()))
      else expect([stdout, stderr]).toEqual(['', expect.stringContaining('has changed meanwhile')])
    }
    expect(ended.map(({ code }) => code)).toContain(0)
  })

  test('needs a file that is there and can be written', async () => {
    const directory = temporaryDirectory()
    const none = await runAiload(['token', 'add', 'alice'], { directory })
    expect([none.code, none.stdout]).toEqual([1, ''])
    expect(none.stderr).toContain('there is no ')
    const broken = written('{ "auth_token": "x", "tokens": [{ "name": "a" }] }')
    const refused = await broken.run('add', 'bob')
    expect([refused.code, refused.stdout]).toEqual([1, ''])
    expect(refused.stderr).toContain('tokens[0].token: is missing')
  })
})

describe('token revoke', () => {
  test('takes the entry out, and nothing else', async () => {
    const { run, read } = written(`{
  "auth_token": "sk-own",
  "tokens": [
    // first
    { "name": "alice", "token": "${digestOf('a')}" }, // of Alice
    { "name": "bob", "token": "${digestOf('b')}" }, // of Bob
    { "name": "carol", "token": "${digestOf('c')}" } // of Carol
  ],
  "models": [${model}]
}
`)
    expect(await run('revoke', 'bob')).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('goes on with what it has'),
    })
    expect(read()).toContain(`    // first
    { "name": "alice", "token": "${digestOf('a')}" }, // of Alice
    { "name": "carol", "token": "${digestOf('c')}" } // of Carol
  ],`)
    const unknown = await run('revoke', 'bob')
    expect([unknown.code, unknown.stderr]).toEqual([1, 'there is no token "bob"; there are: alice, carol\n'])
    expect((await run('revoke', 'carol')).code).toBe(0)
    expect((await run('revoke', 'alice')).code).toBe(0)
    expect(readSource(read()).value).toMatchObject({ tokens: [] })
    expect(read()).not.toContain('Alice')
  })
})

test.each([['add'], ['revoke'], ['add', 'a', 'b'], ['list', 'a'], ['remove'], ['add', 'a', '--models']])(
  'token %s %s %s means nothing',
  (...words) => {
    expect(parseArguments(['token', ...words], commands)).toHaveProperty('misuse')
  },
)

test('whatever the file looks like, an entry comes and goes, and the rest reads the same', () => {
  const gap = fc.constantFrom('', ' ', '\n', '\r\n\t', ' // c\n', '/* } */', '\n  // , ]\n')
  const entries = fc.subarray(['{"name":"a"}', '{ "name": "b,]" }', '{\n"name":"c"\n}'])
  fc.assert(
    fc.property(
      entries,
      fc.array(gap, { minLength: 24, maxLength: 24 }),
      fc.record({ comma: fc.boolean(), isMissing: fc.boolean(), first: fc.boolean(), end: fc.boolean() }),
      (items, gaps, { comma, isMissing, first, end }) => {
        let nth = 0
        const next = (): string => gaps[nth++ % gaps.length] ?? ''
        const list = items.map((item) => `${next()}${item}${next()}`).join(',')
        const tokens = `${next()}"tokens"${next()}:${next()}[${list}${comma && items.length > 0 ? ',' : ''}${next()}]${next()}`
        const own = `${next()}"auth_token":${next()}"t"${next()}`
        const parts = [
          ...(first ? [own] : []),
          ...(isMissing ? [] : [tokens]),
          `${next()}"models": [1]${next()}`,
          ...(first ? [] : [own]),
        ]
        const text = `{${parts.join(',')}${end ? ',' : ''}${next()}}`
        const before = readSource(text)
        expect(before.syntaxErrors).toEqual([])
        const { tokens: present = [], ...rest } = { ...(before.value as { tokens?: object[] }) }
        const added = readSource(withTokenEntry(text, { name: 'new', n: [1] }))
        expect(added.syntaxErrors).toEqual([])
        expect({ ...(added.value as object) }).toEqual({
          ...rest,
          tokens: [...present, { name: 'new', n: [1] }],
        })
        for (const at of present.keys()) {
          const removed = readSource(withoutTokenEntry(text, at))
          expect(removed.syntaxErrors).toEqual([])
          expect({ ...(removed.value as object) }).toEqual({ ...rest, tokens: present.toSpliced(at, 1) })
        }
      },
    ),
    { numRuns: 1_000 },
  )
}, 60_000)
