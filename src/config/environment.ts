import type { Finding } from './problem.ts'
import type { Path } from './source.ts'

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>

/** A value with its references replaced. */
export interface Substituted {
  readonly value: unknown
  /** References that can't be replaced: the variable is not set, or it is not a name. Their strings stay as written. */
  readonly findings: readonly Finding[]
  /** Paths of all strings that refer to a variable, as JSON text of the path. */
  readonly referring: ReadonlySet<string>
  /** Those of them where a variable is set but empty. */
  readonly emptied: ReadonlySet<string>
}

const reference = /\$\$\{|\$\{[^}]*\}?/g
const wellFormed = /^\$\{([A-Za-z_]\w*)\}$/

/** How a path is written in the sets of `Substituted`. */
export const pathKey = (path: Path): string => JSON.stringify(path)

/**
 * Replaces `${NAME}` in every string of a document, list items included; `$${` is a literal `${`. What a
 * variable holds is taken as it is: not split, not read for further references. Keys are left alone.
 */
export function substitute(document: unknown, env: Environment): Substituted {
  const findings: Finding[] = []
  const referring = new Set<string>()
  const emptied = new Set<string>()

  const inString = (text: string, path: Path): string => {
    const before = findings.length
    const replaced = text.replaceAll(reference, (whole) => {
      if (whole === '$${') return '${'
      referring.add(pathKey(path))
      const value = valueOf(env, whole)
      if (value === '') emptied.add(pathKey(path))
      if (value === undefined) findings.push(missing(path, whole))
      return value ?? whole
    })
    return findings.length === before ? replaced : text
  }
  const inValue = (value: unknown, path: Path): unknown => {
    if (typeof value === 'string') return inString(value, path)
    if (Array.isArray(value)) return value.map((item, at) => inValue(item, [...path, at]))
    if (typeof value !== 'object' || value === null) return value
    const object = Object.create(null) as Record<string, unknown>
    for (const [key, item] of Object.entries(value)) object[key] = inValue(item, [...path, key])
    return object
  }
  return { value: inValue(document, []), findings, referring, emptied }
}

function valueOf(env: Environment, whole: string): string | undefined {
  const name = wellFormed.exec(whole)?.[1]
  return name !== undefined && Object.hasOwn(env, name) ? env[name] : undefined
}

/** What is no name may be a secret that was pasted in the wrong place, so only names are repeated. */
function missing(path: Path, whole: string): Finding {
  const name = wellFormed.exec(whole)?.[1]
  if (name === undefined) {
    const hint = 'write ${NAME} with letters, digits and _; a literal ${ is written $${'
    return { path, message: 'a ${…} that names no environment variable', hint }
  }
  const message = `the environment variable ${name} is not set`
  return { path, message, hint: 'set it, or write the value here' }
}
