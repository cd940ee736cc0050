import type { GenericSchema } from 'valibot'
import type { Path } from './source.ts'
import type { Finding } from './problem.ts'
import { accepts, eachLevel, entriesOf, isObjectSchema, isRecord, schemaBelow } from './schema-walk.ts'
import { configSchema } from './schema.ts'
import { nearestName } from './suggest.ts'

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
  if (isRecord(schema))
    return { path, message: 'can not be used as a name', hint: 'it is ignored; choose another name' }
  const known = Object.keys(entriesOf(schema))
  const near = nearestName(key, known)
  const elsewhere = near === undefined ? knownPaths().find((known) => known.endsWith(`.${key}`)) : undefined
  const right = near ?? elsewhere
  const hint = right === undefined ? `known here are ${known.join(', ')}` : `did you mean ${right}?`
  return { path, message: 'unknown key, it is ignored', hint }
}
