import type { GenericSchema } from 'valibot'
import type { Finding } from './problem.ts'
import type { Path } from './source.ts'
import { configSchema } from './schema.ts'
import { nearestName } from './suggest.ts'

/** What a walk along the schema finds that valibot lets pass. */
export interface Structure {
  /** Unknown keys: a warning each, since a misspelt key must not take a running gateway down. */
  readonly unknown: readonly Finding[]
  /** Lists where an object belongs: valibot takes a list for an object without keys. */
  readonly misshapen: readonly Finding[]
}

interface Level {
  readonly schema: GenericSchema
  readonly value: unknown
  readonly path: Path
}

/** Compares the shape of a document with the schema, at every level. */
export function structureOf(document: unknown): Structure {
  const unknown: Finding[] = []
  const misshapen: Finding[] = []
  const walk = (level: Level): void => {
    const { schema, value, path } = level
    if (typeof value !== 'object' || value === null) return
    const isObject = isObjectSchema(schema)
    if (Array.isArray(value)) {
      if (isObject) misshapen.push({ path, message: 'must be an object, not a list', hint: 'write { … }' })
      else for (const [at, item] of value.entries()) below(level, at, item)
      return
    }
    for (const [key, item] of Object.entries(value)) {
      if (isObject && !accepts(schema, key)) unknown.push(unknownKey(schema, [...path, key]))
      else below(level, key, item)
    }
  }
  const below = ({ schema, path }: Level, step: string | number, value: unknown): void => {
    const inner = schemaBelow(schema, step)
    if (inner) walk({ schema: inner, value, path: [...path, step] })
  }
  walk({ schema: configSchema, value: document, path: [] })
  return { unknown, misshapen }
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

// Keys that valibot leaves out of every record, so that no output can reach a prototype.
const neverNames: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

const accepts = (schema: GenericSchema, key: string): boolean =>
  isRecord(schema) ? !neverNames.has(key) : Object.hasOwn(entriesOf(schema), key)

function unknownKey(schema: GenericSchema, path: Path): Finding {
  const key = String(path.at(-1))
  if (isRecord(schema))
    return { path, message: 'can not be used as a name', hint: 'it is ignored; choose another name' }
  const known = Object.keys(entriesOf(schema))
  const near = nearestName(key, known)
  const elsewhere = near === undefined ? knownPaths().find((known) => known.endsWith(`.${key}`)) : undefined
  const right = near ?? elsewhere
  const hint = right === undefined ? `known here are ${known.join(', ')}` : `did you mean ${right}?`
  return { path, message: 'unknown key, it is ignored', hint }
}

// A schema in `v.pipe` or with a default keeps its own fields; only optional ones are wrapped.
const unwrapped = (schema: GenericSchema): object =>
  'wrapped' in schema ? unwrapped(schema.wrapped as GenericSchema) : schema

function entriesOf(schema: GenericSchema): Readonly<Record<string, GenericSchema>> {
  const inner = unwrapped(schema)
  return 'entries' in inner ? (inner.entries as Record<string, GenericSchema>) : {}
}

function schemaBelow(schema: GenericSchema, step: string | number): GenericSchema | undefined {
  const inner = unwrapped(schema)
  if ('item' in inner) return inner.item as GenericSchema
  if (isRecord(schema) && 'value' in inner) return inner.value as GenericSchema
  return Object.hasOwn(entriesOf(schema), step) ? entriesOf(schema)[step] : undefined
}

const typeOf = (schema: GenericSchema): unknown => {
  const inner = unwrapped(schema)
  return 'type' in inner ? inner.type : undefined
}
const isRecord = (schema: GenericSchema): boolean => typeOf(schema) === 'record'
const isObjectSchema = (schema: GenericSchema): boolean => isRecord(schema) || typeOf(schema) === 'object'
