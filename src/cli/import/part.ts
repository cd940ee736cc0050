import { pathText, recordOf, type Path } from '../../config/problem.ts'
import { inTheirLanguage } from '../language.ts'

/** Longer texts are no names, addresses or keys. */
const MOST_CHARACTERS = 4096

/** The key of the list in a file that is nothing but a list. */
export const WHOLE_LIST = ''

/** Something that the new configuration does not say: where it stood, and why not. */
export interface NotCarried {
  readonly path: Path
  readonly why: string
}

/**
 * An object of the file to import. Whoever reads a key of it takes that key along; what nobody took is told in the end,
 * so that nothing is lost in silence. A value of another type than the one asked for counts as not taken.
 */
export interface Part {
  readonly path: Path
  has(key: string): boolean
  keys(): readonly string[]
  /** A text with something in it, trimmed; a number or flag as its text. */
  text(key: string): string | undefined
  /** The same, without taking it along. */
  peek(key: string): string | undefined
  /** A finite number, also one that was written as a text. */
  number(key: string): number | undefined
  flag(key: string): boolean | undefined
  /** The texts of a list, which may be a text of JSON, or a text alone. */
  texts(key: string): readonly string[]
  /** The object under a key; an empty one where there is none. In a database export it may be a text of JSON. */
  part(key: string): Part
  /** The objects of a list; the same. */
  parts(key: string): readonly Part[]
  /** Tells that a key, or with none the whole part, is not carried over. */
  leave(why: string, key?: string): void
}

/** Reads a document; `reasons` say by key why what nobody takes is left, `otherwise` says it of all other keys. */
export function createReading(
  document: unknown,
  reasons: Readonly<Record<string, string>>,
  otherwise = 'no setting of AILoad is like it',
) {
  const told = new Map<string, NotCarried>()
  /** What is not carried over as a whole; nothing more is told of what is in it. */
  const left = new Set<string>()
  const open = new Map<
    string,
    { readonly path: Path; readonly value: Readonly<Record<string, unknown>>; readonly taken: Set<string> }
  >()

  function partOf(raw: unknown, path: Path): Part {
    const place = pathText(path)
    const { value, taken } = open.get(place) ?? { value: recordOf(raw), taken: new Set<string>() }
    open.set(place, { path, value, taken })
    const take = <T>(key: string, wanted: T | undefined): T | undefined => {
      if (wanted !== undefined) taken.add(key)
      return wanted
    }
    const peek = (key: string): string | undefined => {
      const written = textOf(value[key])
      return written !== undefined && written.length <= MOST_CHARACTERS ? written : undefined
    }
    return {
      path,
      has: (key) => !isNothing(value[key]),
      keys: () => Object.keys(value),
      text: (key) => take(key, peek(key)),
      peek,
      number: (key) => take(key, numberOf(value[key])),
      flag: (key) => take(key, flagOf(value[key])),
      texts(key) {
        const listed = [unpacked(value[key])].flat()
        const texts = listed.map(textOf).filter((each) => each !== undefined)
        if (texts.length === listed.length) taken.add(key)
        return texts
      },
      part(key) {
        const inner = unpacked(value[key])
        if (typeof inner === 'object' && !Array.isArray(inner)) taken.add(key)
        return partOf(inner, [...path, key])
      },
      parts(key) {
        const inner = unpacked(value[key])
        if (!Array.isArray(inner)) return []
        taken.add(key)
        return inner.map((item, at) => partOf(item, [...path, key, at]))
      },
      leave(why, key) {
        const whole = key === undefined ? path : [...path, key]
        if (key !== undefined) taken.add(key)
        left.add(pathText(whole))
        told.set(`${pathText(whole)} ${why}`, { path: whole, why })
      },
    }
  }

  const root = partOf(Array.isArray(document) ? { [WHOLE_LIST]: document as unknown } : document, [])
  return {
    root,
    /** Everything that was not carried over: what was told, and every key that nobody took. */
    notCarried(): readonly NotCarried[] {
      const remaining = [...open.values()].filter(
        ({ path }) => !path.some((_, at) => left.has(pathText(path.slice(0, at + 1)))),
      )
      const untaken = remaining.flatMap(({ path, value, taken }) =>
        Object.keys(value)
          .filter((key) => !taken.has(key) && !isNothing(value[key]))
          .map((key) => ({
            path: [...path, key],
            why: entryOf(reasons, key) ?? otherwise,
          })),
      )
      return [...told.values(), ...untaken]
    },
  }
}

/** One line for the same key of many entries: the first place, how many more, and why. */
export function notCarriedLines(all: readonly NotCarried[]): string[] {
  const byKind = new Map<string, { first: string; count: number; why: string }>()
  for (const { path, why } of all) {
    const kind = `${path.map((step) => (typeof step === 'number' ? '' : step)).join('\n')}\n\n${why}`
    const known = byKind.get(kind)
    if (known === undefined) byKind.set(kind, { first: shownPath(path), count: 1, why })
    else known.count += 1
  }
  return [...byKind.values()].map(
    ({ first, count, why }) =>
      `${first}${count === 1 ? '' : ` and ${count - 1} more like it`}: ${inTheirLanguage(why)}`,
  )
}

/** Keys of a file may be anything, a long text too. */
const shownPath = (path: Path): string =>
  pathText(
    path
      .filter((step) => step !== WHOLE_LIST)
      .map((step) => (typeof step === 'string' && step.length > 60 ? `${step.slice(0, 60)}…` : step)),
  )

const isNothing = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  (typeof value === 'string' && /^(?:\{\s*\}|\[\s*\]|null)?$/.test(value.trim())) ||
  (typeof value === 'object' && Object.keys(value).length === 0)

function textOf(value: unknown): string | undefined {
  const text = typeof value === 'number' || typeof value === 'boolean' ? String(value) : value
  return typeof text === 'string' && text.trim() !== '' ? text.trim() : undefined
}

function numberOf(value: unknown): number | undefined {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  return typeof number === 'number' && Number.isFinite(number) ? number : undefined
}

const flagOf = (value: unknown): boolean | undefined => (typeof value === 'boolean' ? value : undefined)

/** Columns of a database hold objects and lists as texts of JSON. */
function unpacked(value: unknown): unknown {
  if (typeof value !== 'string' || !/^\s*[[{]/.test(value)) return value
  try {
    return JSON.parse(value) as unknown
  } catch {
    return value
  }
}

/** What a table has under a name that a file gives: names such as `constructor` are no part of it. */
export const entryOf = <T>(table: Readonly<Record<string, T>>, name = ''): T | undefined =>
  Object.hasOwn(table, name) ? table[name] : undefined
