import type { Finding } from './problem.ts'
import { eachLevel, isObjectSchema } from './schema-walk.ts'

/** Lists where an object belongs: valibot takes a list for an object without keys. */
export function misshapenIn(document: unknown): Finding[] {
  const found: Finding[] = []
  eachLevel(document, ({ schema, value, path }) => {
    if (Array.isArray(value) && isObjectSchema(schema))
      found.push({ path, message: 'must be an object, not a list', hint: 'write { … }' })
  })
  return found
}
