import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { schemaText } from '../../config/generate-schema.ts'
import { keyMeanings } from '../../config/key-meanings.ts'
import { knownPaths } from '../../src/config/checks.ts'
import { readSource } from '../../src/config/source.ts'
import { sectionBelow, tableBelow } from '../support/markdown.ts'
import { configOf } from './texts.ts'

/**
 * A key stands in four places: the schema (with its rule, default and name), its meaning, the tables of both READMEs, and
 * where it is used; besides, config.full.json shows it. What the schema says of it and the others don't is red here.
 */

const shipped = (name: string) => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8')

/** Every key of the schema, without "each item" and "each name". */
const keys = knownPaths().filter((path) => !path.endsWith('[]'))

interface Described {
  readonly default?: unknown
  readonly description?: string
  readonly properties?: Readonly<Record<string, Described>>
  readonly items?: Described
  readonly additionalProperties?: Described | false
}

/** What config.schema.json says of each key, by the paths of `knownPaths`. */
const described = new Map(eachKey(JSON.parse(schemaText()) as Described, ''))

function eachKey({ properties = {}, items, additionalProperties: named }: Described, at: string) {
  const found: [string, Described][] = Object.entries(properties).flatMap(([key, inner]) => {
    const path = at === '' ? key : `${at}.${key}`
    return [[path, inner], ...eachKey(inner, path)]
  })
  for (const inner of [items, named]) if (inner) found.push(...eachKey(inner, `${at}[]`))
  return found
}

/** Keys whose default is given by an older name of theirs, or known to the program apart from what is written. */
const byOlderName: Readonly<Record<string, () => unknown>> = {
  'server.trusted_proxies': () => ['private'],
  'server.mode': () => described.get('server.model')?.default,
  'settings.affinity': () => (described.get('settings.ip_hash')?.default === true ? 'ip' : 'off'),
}

/** Undefined for none: nothing, or something empty. */
function defaultOf(key: string): unknown {
  const value = byOlderName[key]?.() ?? described.get(key)?.default
  return ['""', '[]', '{}'].includes(JSON.stringify(value)) ? undefined : value
}

describe('what editors show', () => {
  test('every key has a meaning, and no meaning is of a key that is not there', () => {
    expect(Object.keys(keyMeanings).toSorted()).toEqual(keys.toSorted())
    expect(keys.filter((key) => !described.get(key)?.description?.includes(keyMeanings[key] ?? '?'))).toEqual(
      [],
    )
    expect([...described.keys()].toSorted()).toEqual(keys.toSorted())
  })

  test.each(keys.filter((key) => defaultOf(key) !== undefined))(
    '%s is shown with its default, written once',
    (key) => {
      const shown = `Default: ${JSON.stringify(defaultOf(key))}.`
      expect(described.get(key)?.description?.split('Default: ')).toHaveLength(2)
      expect(described.get(key)?.description).toContain(shown)
      if (byOlderName[key] === undefined) expect(keyMeanings[key]).not.toContain('Default')
    },
  )
})

describe('config.full.json', () => {
  const text = shipped('config/config.full.json')

  test('it has every key that there is, but for second names, which it explains', () => {
    const written = new Set(pathsIn(readSource(text).value))
    const secondNames = ['server.model', 'settings.ip_hash']
    expect(knownPaths().filter((path) => !written.has(path))).toEqual(secondNames)
    for (const name of ['"model"', '"ip_hash"']) expect(text).toContain(`Also written ${name}`)
  })

  test('every key of it has its default or says that it has none', () => {
    const { settings, server } = configOf(text)
    const { passthrough: _, maxAttempts: __, proxy: ____, traces: _____, ...defaulted } = settings
    const { maxConnections: ___, logFile: ______, namedProxies: _______, ...limited } = server
    const plain = configOf('{ "models": [{ "base_url": "https://a.example", "model": "m" }] }')
    expect({ settings: defaulted, server: limited }).toEqual({
      settings: plain.settings,
      server: withoutNamed(plain.server),
    })
  })
})

/** That the file names proxies itself makes a difference of its own. */
function withoutNamed(server: ReturnType<typeof configOf>['server']) {
  const { namedProxies: _, ...others } = server
  return others
}

/** All paths of a document, written as `knownPaths` writes them. */
function pathsIn(value: unknown, at = ''): string[] {
  if (Array.isArray(value)) return [`${at}[]`, ...value.flatMap((item) => pathsIn(item, `${at}[]`))]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, item]) => {
    const here = at === '' ? key : at === 'quotas' ? 'quotas[]' : `${at}.${key}`
    return [here, ...pathsIn(item, here)]
  })
}

/** Keys that are told of where another one has its row. */
const toldWith = (key: string): string | undefined => {
  if (key === 'settings.ip_hash') return 'settings.affinity'
  if (key.startsWith('models[].can.')) return 'models[].can'
  if (key.startsWith('models[].params.')) return 'models[].params'
  if (key.startsWith('models[].tls.')) return 'models[].tls'
  if (key.startsWith('settings.traces.')) return 'settings.traces'
  if (key.startsWith('server.log_file.')) return 'server.log_file'
  if (key === 'models[].limits.windows') return undefined
  if (key.includes('.windows[].')) return 'models[].limits.windows'
  return /^(?:(?:models|tokens)\[\]\.limits|quotas\[\])\./.test(key) ? 'models[].limits' : undefined
}

/** The objects that rows stand for part by part, and what the text above the table explains. */
const withoutRow = new Set(['settings.events', 'models', 'server', 'settings', '$schema'])

describe.each([
  {
    file: 'README.md',
    heading: '## Configuration',
    none: 'none',
    asDefault: (value: string) => `\`${value}\` (default)`,
    computed: {
      auth_token: 'made at first start',
      'models[].base_url': '',
      'models[].model': '',
      'tokens[].name': '',
      'tokens[].token': '',
      'models[].name': '`model@host`',
      'models[].endpoints': 'all',
      'models[].timeout': '`settings.timeout`',
      'models[].proxy': 'from the environment',
      'settings.proxy': 'from the environment',
      'settings.traces': 'from the environment',
      'server.max_connections': 'from the descriptor limit',
    } as Readonly<Record<string, string>>,
  },
  {
    file: 'README.zh.md',
    heading: '## 配置',
    none: '无',
    asDefault: (value: string) => `\`${value}\`（默认）`,
    computed: {
      auth_token: '首次启动时生成',
      'models[].base_url': '',
      'models[].model': '',
      'tokens[].name': '',
      'tokens[].token': '',
      'models[].name': '`model@host`',
      'models[].endpoints': '全部',
      'models[].timeout': '`settings.timeout`',
      'models[].proxy': '取自环境变量',
      'settings.proxy': '取自环境变量',
      'settings.traces': '取自环境变量',
      'server.max_connections': '取自描述符上限',
    } as Readonly<Record<string, string>>,
  },
])('the table of $file', ({ file, heading, none, asDefault, computed }) => {
  const text = shipped(file)
  const rows = new Map(tableBelow(text, heading).flatMap(rowsOf))

  test('it tells of every key that there is, and of no other', () => {
    const told = keys.filter((key) => !withoutRow.has(key) && toldWith(key) === undefined)
    expect([...rows.keys()].toSorted()).toEqual(told.toSorted())
    expect(sectionBelow(text, heading)).toContain('"$schema"')
  })

  test.each([...rows.keys()])('%s has the default there that it has in the schema', (key) => {
    const written = rows.get(key)?.default ?? ''
    if (computed[key] === undefined) expect(valueIn(written, none)).toEqual(defaultOf(key))
    else expect([written, defaultOf(key)]).toEqual([computed[key], undefined])
  })

  test.each(keys.filter((key) => toldWith(key) !== undefined))('%s is told of with its like', (key) => {
    const { meaning = '' } = rows.get(toldWith(key) ?? '') ?? {}
    const [name] = key.split('.').slice(-1)
    expect(meaning).toMatch(new RegExp(`[\`"]${name}\\b`))
    const value = defaultOf(key)
    if (typeof value === 'string') expect(meaning).toContain(asDefault(value))
  })
})

interface Row {
  readonly default: string
  readonly meaning: string
}

/**
 * The keys of one row: `server.max_body`, `.max_buffered` are two of one object, with a default each; where
 * there is one default for two, it is that of both.
 */
function rowsOf([first = '', defaults = '', meaning = '']: string[]): [string, Row][] {
  const named = [...first.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name)
  const object = (named[0] ?? '').replace(/\.[^.]*$/, '')
  const values = named.length === 1 ? [defaults] : defaults.split(/, |、/)
  return named.map((name, at) => [
    name.startsWith('.') ? `${object}${name}` : name,
    { default: values[at] ?? values.at(-1) ?? '', meaning },
  ])
}

/** The value that a cell stands for: as in the file, without the quotes of plain words, sizes in MiB. */
function valueIn(cell: string, none: string): unknown {
  if (cell === none) return undefined
  const size = /^(\d+) MiB$/.exec(cell)?.[1]
  if (size !== undefined) return Number(size) * 2 ** 20
  const text = cell.replaceAll('`', '')
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
