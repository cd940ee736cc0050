import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import * as v from 'valibot'
import { expect, test } from 'vitest'
import { limitsSchema } from '../../src/config/model-schema.ts'
import { isUrlProblem, parseBaseUrl } from '../../src/config/rules.ts'
import { abilities } from '../../src/pool/outcome.ts'
import { endpoints } from '../../src/pool/upstream.ts'

/* The facts about vendors: each can be looked up again, and none would be refused if an operator wrote it. */

const file: unknown = JSON.parse(
  readFileSync(new URL('../../src/config/presets.json', import.meta.url), 'utf8'),
)

/** A further variable in an address, such as the id of an account. */
const VARIABLE = /\$\{[A-Z][A-Z0-9_]*\}/g

const text = v.pipe(v.string(), v.nonEmpty())
const link = v.pipe(text, v.startsWith('https://'), v.url())
const source = v.union([link, v.pipe(v.array(link), v.minLength(1))])
const read = v.pipe(v.string(), v.isoDate(), v.check(isPast, 'is no day up to today'))
const uniqueTexts = v.pipe(
  v.array(text),
  v.check((all) => new Set(all).size === all.length, 'holds something twice'),
)
const count = v.pipe(v.number(), v.integer(), v.minValue(1))
const variable = v.pipe(v.string(), v.regex(/^[A-Z][A-Z0-9_]*$/))

const limitKeys = ['rpm', 'rpd', 'tpm', 'tpd', 'concurrency', 'windows', 'day_resets']
/** The configuration lets misspelt keys pass with a warning; here they are mistakes. */
const limits = v.pipe(
  v.record(v.picklist(limitKeys), v.unknown()),
  v.check((written) => Object.keys(written).some((key) => key !== 'day_resets'), 'limits nothing'),
  limitsSchema,
)
const presetModel = v.strictObject({
  model: text,
  context: v.optional(count),
  can: v.optional(v.record(v.picklist(abilities), v.boolean())),
  endpoints: v.optional(v.pipe(v.array(v.picklist(endpoints)), v.minLength(1))),
  limits: v.optional(limits),
  source,
  read,
})
const presetVendor = v.pipe(
  v.strictObject({
    title: text,
    // Empty: asked for by name alone, such as the second address of a vendor whose variable leads to the first.
    key_variables: v.pipe(
      uniqueTexts,
      v.everyItem((name) => v.is(variable, name)),
    ),
    key_prefixes: v.optional(v.pipe(uniqueTexts, v.minLength(1))),
    base_url: v.pipe(v.string(), v.check(isAddress, 'is no address that a configuration may hold')),
    key_optional: v.optional(v.literal(true)),
    source,
    read,
    account: v.optional(v.strictObject({ limits, source, read })),
    models: v.optional(v.pipe(v.array(presetModel), v.minLength(1), v.maxLength(4))),
    discover: v.optional(v.pipe(uniqueTexts, v.minLength(1))),
  }),
  v.check(
    (vendor) => isLocal(vendor.base_url) === (vendor.key_optional ?? false),
    'only a local server needs no key',
  ),
  v.check(
    ({ models = [] }) => new Set(models.map(({ model }) => model)).size === models.length,
    'has a model twice',
  ),
)
const presetFile = v.record(v.pipe(v.string(), v.regex(/^[a-z][a-z0-9-]*$/)), presetVendor)
const vendors = Object.entries(file as v.InferInput<typeof presetFile>)

/** In UTC, to the day; a day such as the 31st of November is none. */
function isPast(day: string): boolean {
  const date = new Date(`${day}T00:00:00Z`)
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(day) && date.getTime() <= Date.now()
}

function isAddress(written: string): boolean {
  const filled = written.replaceAll(VARIABLE, 'x1')
  return !filled.includes('$') && !filled.endsWith('/') && !isUrlProblem(parseBaseUrl(filled))
}

function isLocal(address: string): boolean {
  return /^http:\/\/localhost:\d+\//.test(address)
}

/**
 * Paths of numbers and limits without a source and a date on the object that holds them. A model does not borrow the
 * source of its vendor's address.
 */
function unsourced(value: unknown, path = ''): string[] {
  if (typeof value !== 'object' || value === null) return []
  const isSourced = 'source' in value && 'read' in value
  return Object.entries(value).flatMap(([key, child]: [string, unknown]) => {
    const place = `${path}.${key}`
    if (typeof child !== 'number' && key !== 'limits') return unsourced(child, place)
    return isSourced ? [] : [place]
  })
}

const twice = (names: readonly string[]) => names.filter((name, at) => names.indexOf(name) !== at)

test('the presets have the shape that the program expects', () => {
  const { issues = [] } = v.safeParse(presetFile, file)
  expect(issues.map((issue) => `${v.getDotPath(issue)}: ${issue.message}`)).toEqual([])
  expect(vendors.length).toBeGreaterThanOrEqual(10)
})

test('vendors stand in the order of the alphabet, each once', () => {
  expect(Object.keys(file as object)).toEqual(Object.keys(file as object).toSorted())
  expect(twice(vendors.map(([id]) => id))).toEqual([])
})

test('each number says where and when it was read', () => {
  expect(unsourced(file)).toEqual([])
})

test('a number without a source of its own is found, that of a vendor does not cover it', () => {
  const sourced = { source: 'https://a.example', read: '2026-11-29' }
  const limited = { limits: { rpm: 1, windows: [{ requests: 2, per: '1h' }] } }
  expect(unsourced({ a: { ...sourced, models: [{ context: 1 }] } })).toEqual(['.a.models.0.context'])
  expect(unsourced({ a: { ...sourced, account: limited } })).toEqual(['.a.account.limits'])
  expect(unsourced({ a: { models: [{ ...sourced, context: 1, ...limited }] } })).toEqual([])
})

test('a variable and a prefix lead to one vendor', () => {
  expect(twice(vendors.flatMap(([, vendor]) => vendor.key_variables))).toEqual([])
  expect(twice(vendors.flatMap(([, vendor]) => vendor.key_prefixes ?? []))).toEqual([])
})

test.each(['2026-02-30', '2999-01-01', 'yesterday'])('%s is no day on which something was read', (day) => {
  expect(v.is(read, day)).toBe(false)
})

test.each([
  { today: '2026-12-01', code: 0, because: 'all was read lately' },
  { today: '2029-01-01', code: 1, because: 'nothing was read for years' },
])('presets:age ends with $code on $today: $because', ({ today, code }) => {
  const script = fileURLToPath(new URL('../../config/presets-age.ts', import.meta.url))
  const { status, stderr } = spawnSync(process.execPath, ['--import', 'tsx', script, '--today', today])
  expect(status).toBe(code)
  if (code === 1)
    expect(String(stderr)).toContain('groq.models.0 was read on 2026-11-29; read its sources again')
})
