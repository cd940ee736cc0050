import type { GenericSchema } from 'valibot'
import { upstreamNames } from '../pool/upstream.ts'
import type { Config, ConfigFile } from './config.ts'
import { pathKey, type Finding, type Path } from './problem.ts'
import { isUrlProblem, parseBaseUrl, quoted } from './rules.ts'
import { configSchema, keysOf } from './schema.ts'

/**
 * Finds names that refer to nothing: `models[].quota` and `settings.passthrough`. Looks at the document
 * before it is typed, so that these are told together with all other problems; what has a wrong type is
 * skipped here, the schema tells of it.
 */
export function crossCheck(document: unknown): Finding[] {
  const models = field(document, 'models')
  const entries = Array.isArray(models) ? models : []
  const quotas = field(document, 'quotas')
  const quotaNames = isRecord(quotas) ? Object.keys(quotas) : []
  return [
    ...entries.flatMap((model, at) => unknownQuotas(model, at, quotaNames)),
    ...unknownHeaders(entries),
    ...unknownPassthrough(field(field(document, 'settings'), 'passthrough'), entries),
  ]
}

function unknownQuotas(model: unknown, at: number, known: readonly string[]): Finding[] {
  const quota = field(model, 'quota')
  const wanted: readonly unknown[] = Array.isArray(quota) ? quota : [quota]
  return wanted.flatMap((name, position) => {
    if (typeof name !== 'string' || name.trim() === '' || known.includes(name)) return []
    const near = nearestName(name, known)
    const hint =
      near === undefined
        ? known.length === 0
          ? 'define it under quotas'
          : `define it under quotas, which has ${quoted(known)}`
        : `did you mean ${quoted([near])}?`
    const path = ['models', at, 'quota', ...(Array.isArray(quota) ? [position] : [])]
    return [{ path, message: 'names a quota that is not defined', hint }]
  })
}

/** Header names ignore case, so an object can name one header twice. */
function unknownHeaders(entries: readonly unknown[]): Finding[] {
  return entries.flatMap((model, at) => {
    const headers = field(model, 'headers')
    const names = isRecord(headers) ? Object.keys(headers) : []
    const first = new Map<string, string>()
    return names.flatMap((name) => {
      const isNew = !first.has(name.toLowerCase())
      if (isNew) first.set(name.toLowerCase(), name)
      const path = ['models', at, 'headers', name]
      return isNew
        ? []
        : [{ path, message: 'names a header a second time (case is ignored)', hint: 'keep one of them' }]
    })
  })
}

function unknownPassthrough(wanted: unknown, entries: readonly unknown[]): Finding[] {
  if (typeof wanted !== 'string' || wanted.trim() === '') return []
  const sources = entries.map((model) => nameSource(model))
  const known = sources.filter((source) => source !== undefined)
  if (upstreamNames(known).includes(wanted.trim())) return []
  // A model that is wrong in itself may be the one that is meant.
  if (known.length < sources.length) return []
  const hint = "write a model's name, or model@host where it has none"
  return [{ path: ['settings', 'passthrough'], message: 'names no upstream', hint }]
}

function nameSource(model: unknown) {
  const [name, wireName, baseUrl] = [field(model, 'name'), field(model, 'model'), field(model, 'base_url')]
  if (typeof wireName !== 'string' || typeof baseUrl !== 'string') return undefined
  const url = parseBaseUrl(baseUrl)
  if (isUrlProblem(url)) return undefined
  const key = field(model, 'api_key')
  const apiKeys = Array.isArray(key) ? key.map(String) : ['']
  return {
    model: wireName,
    root: url.root,
    apiKeys,
    ...(typeof name === 'string' ? { name: name.trim() } : {}),
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const field = (value: unknown, key: string): unknown => (isRecord(value) ? value[key] : undefined)

/** A configuration that is valid, in the three shapes in which its oddities show. */
export interface Accepted {
  /** As it was written, references to variables replaced. */
  readonly file: ConfigFile
  readonly config: Config
  /** Paths of strings that became shorter than meant, since a variable was empty (`Substituted.emptied`). */
  readonly emptied: ReadonlySet<string>
}

/** What is allowed and yet probably not meant: a warning each, never an error. */
export const warningsFor = (accepted: Accepted): Finding[] => [
  ...accepted.file.models.flatMap((entry, at) => onModel(entry, at, accepted)),
  ...onDuplicates(accepted.config),
  ...onServer(accepted),
  ...onSettings(accepted.file),
  ...onToken(accepted.config),
]

function onModel(entry: ConfigFile['models'][number], at: number, { config, emptied }: Accepted): Finding[] {
  const findings: Finding[] = []
  const path = ['models', at]
  const warn = (below: Path, message: string, hint: string) =>
    findings.push({ path: [...path, ...below], message, hint })
  const isList = Array.isArray(entry.api_key)
  const keys = [entry.api_key ?? ''].flat()
  for (const [position, key] of keys.entries()) {
    const below = isList ? ['api_key', position] : ['api_key']
    if (isPlaceholderKey(key.trim())) warn(below, 'is still a placeholder', 'put the key of the vendor here')
    if (key.trim() === '' && emptied.has(pathKey([...path, ...below])))
      warn(below, 'its environment variable is empty', 'no Authorization will be sent; set the variable')
  }
  if (keysOf(keys).length < keys.length)
    warn(['api_key'], 'has the same key twice', 'it counts once; take the second one out')
  if (foreignEndpoint.test(config.models[at]?.root ?? ''))
    warn(['base_url'], 'looks like the address of one endpoint', 'write the root, such as https://host/v1')
  for (const [position, group] of (entry.groups ?? []).entries())
    if (group.trim() === 'auto')
      warn(['groups', position], 'auto always means all upstreams', 'choose another name')
  if (entry.name?.trim() === 'auto') warn(['name'], 'auto always means all upstreams', 'choose another name')
  return findings
}

/** True for keys that documentation and templates show and that no vendor ever gave out. */
const isPlaceholderKey = (key: string): boolean =>
  /^(?:sk-)?(?:x{3,}|\.{3}|…|<.*>|your[-_ ]?(?:api[-_ ]?)?key.*)$/i.test(key)

// The chat endpoint's address is a form of base_url and no longer in the root; its siblings would be.
const foreignEndpoint = /\/(?:completions|embeddings|responses|moderations|rerank|images\/\w+|audio\/\w+)$/i

function onDuplicates({ models }: Config): Finding[] {
  const seen = new Map<string, string>()
  return models.flatMap(({ apiKeys, root, model, path }, at) => {
    const ids = apiKeys.map((key) => JSON.stringify([root, model, key]))
    const duplicateOf = ids.map((id) => seen.get(id)).find((other) => other !== undefined)
    for (const id of ids) seen.set(id, path)
    if (duplicateOf === undefined) return []
    const message = `has an upstream that ${duplicateOf} has already: same base_url, model and key`
    return [
      {
        path: ['models', at],
        message,
        hint: 'they share cooldowns and limits; keep one and raise its weight',
      },
    ]
  })
}

function onServer({ file, config }: Accepted): Finding[] {
  const findings: Finding[] = []
  const { mode, model } = file.server ?? {}
  if (mode !== undefined && model !== undefined && mode !== model)
    findings.push({
      path: ['server', 'model'],
      message: 'is another name of server.mode, which wins',
      hint: 'take it out',
    })
  if (config.server.maxBodyBytes > config.server.maxBufferedBytes)
    findings.push({
      path: ['server', file.server?.max_buffered === undefined ? 'max_body' : 'max_buffered'],
      message: 'max_buffered is smaller than max_body, so the largest allowed requests never fit',
      hint: 'make max_buffered at least max_body',
    })
  if (config.models.every(({ enabled }) => !enabled))
    findings.push({
      path: ['models'],
      message: 'no model is enabled',
      hint: 'set "enabled": true on one of them',
    })
  return findings
}

function onSettings({ settings = {} }: ConfigFile): Finding[] {
  if (settings.affinity === undefined || settings.ip_hash === undefined) return []
  const message = 'settings.affinity is there too and wins'
  return [{ path: ['settings', 'ip_hash'], message, hint: 'take ip_hash out' }]
}

function onToken({ authToken }: Config): Finding[] {
  if (/^[\x20-\x7e]*$/.test(authToken)) return []
  const message = 'has characters beyond ASCII, which many clients cannot send in a header'
  return [{ path: ['auth_token'], message, hint: 'use letters, digits, signs and blanks' }]
}

/** Unknown keys: a warning each, since a misspelt key must not take a running gateway down. */
export function unknownKeysIn(document: unknown): Finding[] {
  const found: Finding[] = []
  eachLevel(document, ({ schema, value, path }) => {
    if (Array.isArray(value) || !isObjectSchema(schema)) return
    for (const key of Object.keys(value))
      if (!accepts(schema, key)) found.push(unknownKey(schema, [...path, key]))
  })
  return found
}

/** Every path that the schema knows, with `[]` for "each item": `models[].limits.rpm`, `quotas[].rpm`. */
export function knownPaths(schema: GenericSchema = configSchema, at = ''): string[] {
  const own = at === '' ? [] : [at]
  const below = Object.entries(entriesOf(schema)).flatMap(([key, inner]) =>
    knownPaths(inner, at === '' ? key : `${at}.${key}`),
  )
  const inner = schemaBelow(schema, 0)
  return [
    ...own,
    ...below,
    ...(inner && below.length === 0 && isObjectSchema(inner) ? knownPaths(inner, `${at}[]`) : []),
  ]
}

function unknownKey(schema: GenericSchema, path: Path): Finding {
  const key = String(path.at(-1))
  if (isRecordSchema(schema))
    return { path, message: 'cannot be used as a name', hint: 'it is ignored; choose another name' }
  const known = Object.keys(entriesOf(schema))
  const near = nearestName(key, known)
  const elsewhere = near === undefined ? knownPaths().find((known) => known.endsWith(`.${key}`)) : undefined
  const right = near ?? elsewhere
  const hint = right === undefined ? `known: ${known.join(', ')}` : `did you mean ${right}?`
  return { path, message: 'unknown key, it is ignored', hint }
}

/** Lists where an object belongs: valibot takes a list for an object without keys. */
export function shapeProblemsIn(document: unknown): Finding[] {
  const found: Finding[] = []
  eachLevel(document, ({ schema, value, path }) => {
    if (Array.isArray(value) && isObjectSchema(schema))
      found.push({ path, message: 'must be an object, not a list', hint: 'write { … }' })
  })
  return found
}

/**
 * The known name nearest to one that was misspelt, or undefined when none is near enough. Upper case,
 * `-` and `_` don't count (`apiKey` is `api_key`); otherwise up to a third of the letters may differ.
 */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const wanted = comparable(name)
  let best: { name: string; distance: number } | undefined
  for (const candidate of known) {
    const other = comparable(candidate)
    const distance = editDistance(wanted, other)
    const allowed = Math.max(1, Math.floor(Math.max(wanted.length, other.length) / 3))
    if (distance <= allowed && distance < (best?.distance ?? Infinity)) best = { name: candidate, distance }
  }
  return best?.name
}

// No key is longer; a cut keeps the table small for a key that is a whole novel.
const comparable = (name: string): string =>
  name
    .toLowerCase()
    .replaceAll(/[-_\s]/g, '')
    .slice(0, 40)

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
function editDistance(from: string, to: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row]
    for (let column = 1; column <= to.length; column += 1) {
      const same = from[row - 1] === to[column - 1]
      const swapped =
        row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]
      current.push(
        Math.min(
          cell(last, column) + 1,
          cell(current, column - 1) + 1,
          cell(last, column - 1) + (same ? 0 : 1),
          swapped ? cell(beforeLast, column - 2) + 1 : Infinity,
        ),
      )
    }
    beforeLast = last
    last = current
  }
  return cell(last, to.length)
}

const cell = (row: readonly number[], column: number): number => row[column] ?? Infinity

/** An object or a list of a document, and what the schema says of it. */
interface Level {
  readonly schema: GenericSchema
  readonly value: object
  readonly path: Path
}

/** Calls `visit` with every object and list of a document that the schema knows of, from the top down. */
function eachLevel(document: unknown, visit: (level: Level) => void): void {
  const walk = (schema: GenericSchema, value: unknown, path: Path): void => {
    if (typeof value !== 'object' || value === null) return
    visit({ schema, value, path })
    if (Array.isArray(value) && isObjectSchema(schema)) return
    for (const [key, item] of Object.entries(value)) {
      const step = Array.isArray(value) ? Number(key) : key
      const inner = schemaBelow(schema, step)
      if (inner && (typeof step === 'number' || accepts(schema, step))) walk(inner, item, [...path, step])
    }
  }
  walk(configSchema, document, [])
}

// Keys that valibot leaves out of every record, so that no output can reach a prototype.
const neverNames: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

/** Whether an object of this schema may have the key. */
const accepts = (schema: GenericSchema, key: string): boolean =>
  isRecordSchema(schema) ? !neverNames.has(key) : Object.hasOwn(entriesOf(schema), key)

/** The keys of an object by name; none for anything else. */
function entriesOf(schema: GenericSchema): Readonly<Record<string, GenericSchema>> {
  const inner = unwrapped(schema)
  return 'entries' in inner ? (inner.entries as Record<string, GenericSchema>) : {}
}

/** The schema of what is inside, under a key or at a position. */
function schemaBelow(schema: GenericSchema, step: string | number): GenericSchema | undefined {
  const inner = unwrapped(schema)
  if ('item' in inner) return inner.item as GenericSchema
  if (isRecordSchema(schema) && 'value' in inner) return inner.value as GenericSchema
  return Object.hasOwn(entriesOf(schema), step) ? entriesOf(schema)[step] : undefined
}

/** An object with names of its own choice. */
const isRecordSchema = (schema: GenericSchema): boolean => typeOf(schema) === 'record'

/** Any object. */
const isObjectSchema = (schema: GenericSchema): boolean =>
  isRecordSchema(schema) || typeOf(schema) === 'object'

const typeOf = (schema: GenericSchema): unknown => {
  const inner = unwrapped(schema)
  return 'type' in inner ? inner.type : undefined
}

// A schema in `v.pipe` or with a default keeps its own fields; only optional ones are wrapped.
const unwrapped = (schema: GenericSchema): object =>
  'wrapped' in schema ? unwrapped(schema.wrapped as GenericSchema) : schema
