import type { GenericSchema } from 'valibot'
import type { Path } from './source.ts'
import { configSchema } from './schema.ts'

/** An object or a list of a document, and what the schema says of it. */
export interface Level {
  readonly schema: GenericSchema
  readonly value: object
  readonly path: Path
}

/** Calls `visit` with every object and list of a document that the schema knows of, from the top down. */
export function eachLevel(document: unknown, visit: (level: Level) => void): void {
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
export const accepts = (schema: GenericSchema, key: string): boolean =>
  isRecord(schema) ? !neverNames.has(key) : Object.hasOwn(entriesOf(schema), key)

/** The keys of an object by name; none for anything else. */
export function entriesOf(schema: GenericSchema): Readonly<Record<string, GenericSchema>> {
  const inner = unwrapped(schema)
  return 'entries' in inner ? (inner.entries as Record<string, GenericSchema>) : {}
}

/** The schema of what is inside, under a key or at a position. */
export function schemaBelow(schema: GenericSchema, step: string | number): GenericSchema | undefined {
  const inner = unwrapped(schema)
  if ('item' in inner) return inner.item as GenericSchema
  if (isRecord(schema) && 'value' in inner) return inner.value as GenericSchema
  return Object.hasOwn(entriesOf(schema), step) ? entriesOf(schema)[step] : undefined
}

/** An object with names of its own choice. */
export const isRecord = (schema: GenericSchema): boolean => typeOf(schema) === 'record'

/** Any object. */
export const isObjectSchema = (schema: GenericSchema): boolean =>
  isRecord(schema) || typeOf(schema) === 'object'

const typeOf = (schema: GenericSchema): unknown => {
  const inner = unwrapped(schema)
  return 'type' in inner ? inner.type : undefined
}

// A schema in `v.pipe` or with a default keeps its own fields; only optional ones are wrapped.
const unwrapped = (schema: GenericSchema): object =>
  'wrapped' in schema ? unwrapped(schema.wrapped as GenericSchema) : schema
