import { pathText, recordOf, type Path } from '../../config/problem.ts'
import { parsedJson } from '../../lib/json/parse.ts'
import { inTheirLanguage } from '../language.ts'

/** Longer texts are no names, addresses or keys. */
const MOST_CHARACTERS = 4096

/** The key of the list in a file that is nothing but a list. */
export const WHOLE_LIST = ''

/** Why keys are left that no importer takes. */
const reasons = reasonByKey({
  'a record and no setting':
    'created_time,test_time,response_time,balance,balance_updated_time,used_quota,other_info,total,type_counts,' +
    'code,message,created_at,updated_at,last_validated_at,last_used_at,request_count,failure_count',
  'a note': 'tag,remark,notes',
  'AILoad asks for nothing by itself but lists of models': 'test_model',
  'AILoad does this by itself':
    'num_retries,max_retries,retry_policy,allowed_fails,cooldown_time,api_key_cooldown_period,AUTO_RETRY,' +
    'api_key_quota_cooldown_period,cooldown_period,error_triggers,blacklist_threshold,failover_status_codes,' +
    'key_validation_interval_minutes,key_validation_concurrency,key_validation_timeout_seconds',
  'AILoad lets an upstream rest by itself, and tries it again': 'auto_ban',
  'all models are behind one address, and asked for by their names': 'endpoint',
  'answers are not cached': 'cache,cache_params',
  'each key is an upstream of its own': 'is_multi_key,multi_key_size,multi_key_polling_index,multi_key_mode',
  'each key is an upstream of its own, and settings.strategy chooses among all': 'api_key_schedule_algorithm',
  'entries have names here': 'id',
  'every name is listed': 'hidden',
  'every token opens everything here': 'role',
  'limits and abilities are learned from answers': 'model_info',
  'limits are those of upstreams and not of clients': 'rate_limit',
  'money is not counted': 'credits,model_price',
  'one-api itself does not use it': 'weight',
  'requests are passed on as they are': 'drop_params,system_prompt,status_code_mapping',
  'says which users may ask for it; here all clients may': 'group',
  'see /metrics and the log': 'callbacks,success_callback,failure_callback',
  'see settings.heartbeat': 'keepalive_interval',
  'the order of groups says nothing about who is asked first': 'sort',
  'there is no database': 'database_url',
  'there is no group for everything that fails; ask for the model "auto"': 'default_fallbacks',
  'what is too long for one model is tried with the others of its group; put them into one group':
    'context_window_fallbacks',
  'what one model refuses is tried with the others of its group; put them into one group':
    'content_policy_fallbacks',
})

function reasonByKey(keysByReason: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const pairs = Object.entries(keysByReason).flatMap(([why, keys]) =>
    keys.split(',').map((key) => [key, why] as const),
  )
  return Object.fromEntries(pairs)
}

/** Something that the new configuration does not say: where it stood, and why not. */
interface NotCarried {
  readonly path: Path
  readonly why: string
}

/**
 * An object of the file to import. Whoever reads a key of it takes that key along; what nobody took is told in the end,
 * so that nothing is lost in silence. A value of another type than the one asked for counts as not taken.
 */
export interface Part {
  has(key: string): boolean
  /** Those that have something in them. */
  keys(): readonly string[]
  /** A text with something in it, trimmed; a number or flag as its text. */
  text(key: string): string | undefined
  /** The same, without taking it along. */
  peek(key: string): string | undefined
  /** A finite number, also one that was written as a text. */
  number(key: string): number | undefined
  /** The same, where only what is above 0 says anything. */
  positive(key: string): number | undefined
  /** The texts of a list, which may be a text of JSON, or a text alone; each cut at `separator`. */
  texts(key: string, separator?: string): readonly string[]
  /** Anything, as it is. */
  json(key: string): unknown
  /** The object under a key; an empty one where there is none. In a database export it may be a text of JSON. */
  part(key: string): Part
  /** The objects of a list; the same. */
  parts(key: string): readonly Part[]
  /** Tells that a key, or with none the whole part, is not carried over. */
  leave(why: string, key?: string): void
}

interface Opened {
  readonly path: Path
  readonly value: Readonly<Record<string, unknown>>
  readonly taken: Set<string>
}

/** Reads a document; `otherwise` says why keys are left that nobody takes and no reason is known for. */
export function createReading(document: unknown, otherwise = 'no setting of AILoad is like it') {
  const told = new Map<string, NotCarried>()
  /** What is not carried over as a whole; nothing more is told of what is in it. */
  const left = new Set<string>()
  const opened = new Map<string, Opened>()

  function partOf(raw: unknown, path: Path): Part {
    const place = pathText(path)
    const { value, taken } = opened.get(place) ?? { value: recordOf(raw), taken: new Set<string>() }
    opened.set(place, { path, value, taken })
    const take = <T>(key: string, wanted: T | undefined): T | undefined => {
      if (wanted !== undefined) taken.add(key)
      return wanted
    }
    const peek = (key: string): string | undefined => {
      const text = textOf(value[key])
      return text !== undefined && text.length <= MOST_CHARACTERS ? text : undefined
    }
    const number = (key: string): number | undefined => take(key, numberOf(value[key]))
    return {
      has: (key) => !isNothing(value[key]),
      keys: () => Object.keys(value).filter((key) => !isNothing(value[key])),
      text: (key) => take(key, peek(key)),
      peek,
      number,
      positive(key) {
        const read = number(key) ?? 0
        return read > 0 ? read : undefined
      },
      texts(key, separator) {
        const listed = [unpacked(value[key])].flat()
        const texts = listed.map(textOf).filter((each) => each !== undefined)
        if (texts.length === listed.length) taken.add(key)
        if (separator === undefined) return texts
        return texts.flatMap((text) => text.split(separator).flatMap((each) => textOf(each) ?? []))
      },
      json: (key) => take(key, value[key]),
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

  return {
    root: partOf(Array.isArray(document) ? { [WHOLE_LIST]: document as unknown } : document, []),
    /** A line for everything that was not carried over: what was told, and every key that nobody took. */
    notCarried(): string[] {
      const isLeft = (path: Path): boolean => path.some((_, at) => left.has(pathText(path.slice(0, at + 1))))
      const untaken = [...opened.values()]
        .filter(({ path }) => !isLeft(path))
        .flatMap(({ path, value, taken }) =>
          Object.keys(value)
            .filter((key) => !taken.has(key) && !isNothing(value[key]))
            .map((key) => ({ path: [...path, key], why: entryOf(reasons, key) ?? otherwise })),
        )
      return linesOf([...told.values(), ...untaken])
    },
  }
}

/** One line for the same key of many entries: the first place, how many more, and why. */
function linesOf(all: readonly NotCarried[]): string[] {
  const kindOf = ({ path, why }: NotCarried): string =>
    `${path.map((step) => (typeof step === 'number' ? '' : step)).join('\n')}\n\n${why}`
  const kinds = new Map<string, { readonly first: NotCarried; more: number }>()
  for (const each of all) {
    const known = kinds.get(kindOf(each))
    if (known === undefined) kinds.set(kindOf(each), { first: each, more: 0 })
    else known.more += 1
  }
  return [...kinds.values()].map(({ first: { path, why }, more }) => {
    const alike = more === 0 ? '' : ` and ${more} more like it`
    return `${shownPath(path)}${alike}: ${inTheirLanguage(why)}`
  })
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

/** Columns of a database hold objects and lists as texts of JSON. */
const unpacked = (value: unknown): unknown =>
  typeof value === 'string' && /^\s*[[{]/.test(value) ? (parsedJson(value) ?? value) : value

/** What a table has under a name that a file gives: names such as `constructor` are no part of it. */
export const entryOf = <T>(table: Readonly<Record<string, T>>, name = ''): T | undefined =>
  Object.hasOwn(table, name) ? table[name] : undefined
