import { shellWord } from '../terminal-text.ts'
import type { Part } from './part.ts'

/** Keys on their way into a configuration: each becomes a reference to a variable, unless plain ones were asked for. */
export type Variables = ReturnType<typeof createVariables>

/** Why a header is left. */
export const MADE_OF_REQUEST = 'is made from the key or the request, which a configured header cannot be'

/** Nothing refers to the environment. */
export const NO_REFERENCE = /(?!)/g

/**
 * `reference` is how the file to import refers to the environment, with the variable's name in its first group;
 * `text` is all of that file, whose names are not given to anything else.
 */
export function createVariables(text: string, reference: RegExp, plainKeys: 'plain' | 'named') {
  /** By name; undefined = the file does not say it. */
  const values = new Map<string, string | undefined>()
  const definitions = new Map<string, string>()
  const nameOfSecret = new Map<string, string>()
  const foreign = new Set(Array.from(text.matchAll(/[A-Za-z_]\w*/g), ([name]) => name))

  function refer(name: string): string {
    const value = definitions.get(name)
    if (!values.has(name)) values.set(name, value)
    if (plainKeys === 'plain' && value !== undefined) return literal(value)
    return `\${${name}}`
  }

  /** A text of the file as a configuration writes it: its references in our form, and nothing else taken for one. */
  function written(original: string): string {
    let result = ''
    let at = 0
    for (const found of original.matchAll(reference)) {
      result += literal(original.slice(at, found.index)) + refer(found[1] ?? '')
      at = found.index + found[0].length
    }
    return result + literal(original.slice(at))
  }

  function unused(wanted: string): string {
    let name = wanted
    for (let number = 2; values.has(name) || foreign.has(name); number += 1) name = `${wanted}_${number}`
    return name
  }

  /** A key or token; `wanted` is the name of its variable, which gets a number when it is taken. */
  function secret(original: string, wanted: string): string {
    const isReference = original.search(reference) >= 0
    if (isReference || plainKeys === 'plain' || IS_NO_KEY.test(original)) return written(original)
    const name = nameOfSecret.get(original) ?? unused(wanted)
    nameOfSecret.set(original, name)
    values.set(name, original)
    return `\${${name}}`
  }

  /** The value of a header, which is a secret where its name says so. */
  const header = (name: string, value: string): string =>
    /key|token|secret|auth|password|cookie|credential/i.test(name)
      ? secret(value, `HEADER_${name.toUpperCase().replaceAll(/[^A-Z\d]+/g, '_')}`)
      : written(value)

  /** A value with all its texts as a configuration writes them. */
  function writtenIn(value: unknown): unknown {
    if (typeof value === 'string') return written(value)
    if (Array.isArray(value)) return value.map(writtenIn)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, writtenIn(inner)]))
  }

  return {
    written,
    writtenIn,
    secret,
    header,
    /** An object of headers, or these of it. */
    headersIn(part: Part, names = part.keys()): Record<string, string> {
      const headers: Record<string, string> = {}
      for (const name of names) {
        const value = part.text(name)
        if (value !== undefined) headers[name] = header(name, value)
      }
      return headers
    },
    /** A variable that the file names: whoever runs the gateway sets it. */
    refer,
    /** A variable for a key that a part should have under a name; that is told. */
    lacking(part: Part, key: string, wanted: string): string {
      const name = unused(wanted)
      part.leave(`no key is in the file; put one into ${name}`, key)
      return refer(name)
    },
    isReferred: (name: string): boolean => values.has(name),
    /** The value that the file itself gives to a variable; to be said before anything refers to it. */
    define: (name: string, value: string): void => void definitions.set(name, value),
    /** Of the variables that a configuration refers to. */
    valuesIn(configuration: string): ReadonlyMap<string, string | undefined> {
      const named = new Set(Array.from(configuration.matchAll(/\$\{(\w+)\}/g), ([, name = '']) => name))
      return new Map([...values].filter(([name]) => named.has(name)))
    },
  }
}

/** What people write for servers that want a key and look at none. */
const IS_NO_KEY = /^(?:none|empty|dummy|anything|no-?key|not-?needed)$/i

const literal = (text: string): string => text.replaceAll('${', () => '$${')

/** Lines that a shell reads and `docker run --env-file` does, as far as that one can: it knows no quotes. */
export function environmentFile(values: ReadonlyMap<string, string | undefined>): string {
  const set = [...values].filter((pair): pair is [string, string] => pair[1] !== undefined)
  return set.map(([name, value]) => `${name}=${shellWord(value)}\n`).join('')
}
