import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { configOf, model, problemPaths, problemsOf, textOf, warningsOf, window } from './texts.ts'

const plain = `sk-${'a'.repeat(40)}`
const hex = createHash('sha256').update(plain).digest('hex')
const inToken = (parts: object) => textOf({ tokens: [{ name: 'alice', token: plain, ...parts }] })
const tokenOf = (parts: object = {}, env = {}) => configOf(inToken(parts), env).tokens[0]

const nothingElse = { admin: false, passthrough: false, limits: undefined, zone: 'UTC' }

test('a token is kept as its digest alone, however it is written', () => {
  expect(tokenOf()).toEqual({ name: 'alice', digest: hex, ...nothingElse })
  expect(tokenOf({ token: `sha256:${hex}` })).toEqual(tokenOf())
  expect(tokenOf({ token: `sha256:${hex.toUpperCase()}` })).toEqual(tokenOf())
  expect(tokenOf({ token: '${ALICE}' }, { ALICE: plain })).toEqual(tokenOf())
  expect(configOf(textOf()).tokens).toEqual([])
})

test('limits are those of models, and their days are those of the use', () => {
  expect(tokenOf({ limits: { rpm: 3, day_resets: 'Asia/Shanghai', concurrency: 2 } })).toMatchObject({
    limits: { windows: [window({ limit: 3 })], concurrency: 2 },
    zone: 'Asia/Shanghai',
  })
  expect(tokenOf({ limits: { rpd: 3, day_resets: 'rolling' } })).toMatchObject({ zone: 'UTC' })
})

test.each([
  ['2027-01-31', '2027-02-01T00:00:00Z'],
  ['2027-12-31', '2028-01-01T00:00:00Z'],
  ['2027-01-31T18:00:00Z', '2027-01-31T18:00:00Z'],
  ['2027-01-31T18:00:00+08:00', '2027-01-31T10:00:00Z'],
  ['2027-01-31T18:00', '2027-01-31T18:00:00Z'],
])('it ends at %s, which is %s', (expires, end) => {
  expect(tokenOf({ expires })?.expiresAt).toBe(Date.parse(end))
})

test.each(['alice', 'a', '7', 'alice.b_c-d@example.org', '张三', 'é'.normalize('NFD'), 'x'.repeat(64)])(
  '%j is a name',
  (name) => {
    expect(tokenOf({ name })?.name).toBe(name)
  },
)

describe('what is wrong', () => {
  const slips: readonly (readonly [text: string, path: string])[] = [
    [textOf({ tokens: {} }), 'tokens'],
    [textOf({ tokens: [[]] }), 'tokens[0]'],
    [textOf({ tokens: [{ token: plain }] }), 'tokens[0].name'],
    [textOf({ tokens: [{ name: 'alice' }] }), 'tokens[0].token'],
    ...['', ' ', 'two words', '-x', '.x', 'a"b', 'a\nb', 'a{b', 'x'.repeat(65), 7].map(
      (name) => [inToken({ name }), 'tokens[0].name'] as const,
    ),
    ...['', 'sk-short', 'x'.repeat(31), 'x'.repeat(257), `${plain} `, `${plain}é`, 7].map(
      (token) => [inToken({ token }), 'tokens[0].token'] as const,
    ),
    ...['sha256:', `sha256:${hex.slice(1)}`, `sha256:${hex}0`, `SHA256:${plain}`, `sha256: ${hex}`].map(
      (token) => [inToken({ token }), 'tokens[0].token'] as const,
    ),
    ...[
      'soon',
      '31.1.2027',
      '2027-02-30',
      '2027',
      '2027-01-31T25:00Z',
      'Sun, 06 Nov 1994 08:49:37 GMT',
      1,
    ].map((expires) => [inToken({ expires }), 'tokens[0].expires'] as const),
    [inToken({ models: [] }), 'tokens[0].models'],
    [inToken({ models: 'm' }), 'tokens[0].models'],
    [inToken({ models: [' '] }), 'tokens[0].models[0]'],
    [inToken({ limits: { rpm: 0 } }), 'tokens[0].limits.rpm'],
    [inToken({ allow_ips: [] }), 'tokens[0].allow_ips'],
    [inToken({ allow_ips: 'private' }), 'tokens[0].allow_ips'],
    [inToken({ allow_ips: ['10.0.0.0/33'] }), 'tokens[0].allow_ips[0]'],
    [inToken({ admin: 'yes' }), 'tokens[0].admin'],
    [inToken({ passthrough: 1 }), 'tokens[0].passthrough'],
    [
      textOf({ auth_token: ['t', plain], tokens: [{ name: 'a', token: `sha256:${hex}` }] }),
      'tokens[0].token',
    ],
  ]

  test.each(slips)('%s has one problem, at %s', (text, path) => {
    expect(problemPaths(text)).toEqual([path])
    for (const line of problemsOf(text)) {
      expect(line).not.toContain(plain)
      expect(line).not.toContain(hex)
    }
  })

  test('two of one name, or of one token, are told apart by nobody', () => {
    const two = (second: object) => problemsOf(textOf({ tokens: [{ name: 'a', token: plain }, second] }))
    expect(two({ name: 'a', token: `sk-${'b'.repeat(40)}` })).toEqual([
      expect.stringContaining('tokens[1]: has the name of an earlier token'),
    ])
    expect(two({ name: 'b', token: `sha256:${hex}` })).toEqual([
      expect.stringContaining('tokens[1]: has the same token as an earlier entry'),
    ])
  })
})

describe('what is probably not meant', () => {
  const models = [model({ name: 'up', model: 'gpt-4o', groups: ['fast'] })]
  const warningsWith = (parts: object) =>
    warningsOf(textOf({ models, tokens: [{ name: 'alice', token: plain, ...parts }] }))

  test('names that stand for nobody', () => {
    expect(warningsWith({ models: ['gpt-4o', 'up', 'fast', 'AUTO', 'gpt-4p', 'elsewhere'] })).toEqual([
      expect.stringMatching(
        /tokens\[0\]\.models\[4\]: names no model, group or upstream; did you mean gpt-4o\?$/,
      ),
      expect.stringContaining('tokens[0].models[5]: names no model, group or upstream; write the name'),
    ])
    const listed = textOf({
      models: [model({ model: undefined, models: '*' })],
      tokens: [{ name: 'a', token: plain, models: ['x'] }],
    })
    expect(warningsOf(listed)).toEqual([])
  })

  test('a whole account beside a few models, and misspelt keys', () => {
    expect(warningsWith({ models: ['up'], passthrough: true })).toEqual([
      expect.stringContaining('tokens[0].passthrough: reaches the whole account'),
    ])
    expect(warningsWith({ allow_ip: ['private'], limits: { rpmm: 1 } })).toEqual([
      expect.stringContaining('did you mean allow_ips?'),
      expect.stringContaining('did you mean rpm?'),
    ])
  })
})
