import * as v from 'valibot'
import type { Finding } from './problem.ts'
import { configSchema } from './schema.ts'
import type { ConfigFile } from './schema.ts'
import type { Path } from './source.ts'

/** A document that fits the schema, or all that does not fit. */
export type Checked = { readonly file: ConfigFile } | { readonly findings: readonly Finding[] }

/** Checks a document against the schema, every rule of it, without ever repeating a value. */
export function checkAgainstSchema(document: unknown): Checked {
  const result = v.safeParse(configSchema, document)
  return result.success
    ? { file: result.output }
    : { findings: result.issues.flatMap((issue) => findingsOf(issue)) }
}

function findingsOf(issue: v.BaseIssue<unknown>, above: Path = []): Finding[] {
  const path = [...above, ...(issue.path ?? []).map(({ key }) => stepOf(key))]
  // A list where a string or a list may stand: what is wrong in the list says more than "neither of them".
  const inside = issue.type === 'union' ? (issue.issues ?? []).filter((inner) => inner.path) : []
  if (inside.length > 0) return inside.flatMap((inner) => findingsOf(inner, path))
  const [message = '', hint = ''] = issue.message.split('\n')
  return [{ path, message, hint }]
}

const stepOf = (key: unknown): string | number => (typeof key === 'number' ? key : String(key))
