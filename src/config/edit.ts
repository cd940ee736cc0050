import { GatewayError } from '../errors.ts'
import { unknownKeysIn } from './checks.ts'
import type { LoadedConfig } from './load.ts'
import { DEEPEST, finding, pathText, recordOf, type Finding, type Path } from './problem.ts'
import { presetOf } from './presets.ts'
import { isSame, rewritten } from './rewrite.ts'
import { isUrlProblem, parseBaseUrl } from './rules.ts'
import { ENTRY_KEYS, shownHeaders, shownProxy, shownTls, shownUrl, writtenKeys, type Entry } from './shown.ts'
import { readSource, type ReadSource } from './source.ts'

/*
 * Edits of a configuration by those who may not read its secrets. What is posted is an entry as `shownConfig` shows it:
 * absent or as shown, what guards the keys stays. The rules below keep a key from being sent anywhere by an edit.
 */

/** What is edited: an entry of `models`, their order, or `settings`. */
export type EditKind = 'add' | 'change' | 'remove' | 'order' | 'settings'

/** One edit of a text. */
export interface EditTask {
  readonly source: ReadSource
  readonly kind: EditKind
  /** As it was sent. */
  readonly body: Entry
  /** Checks a text as a start or a reload does. */
  readonly load: (source: ReadSource) => LoadedConfig
  /** The messages of the warnings that were told before. */
  readonly told?: ReadonlySet<string>
}

/** What is wrong, or odd, with a text that an edit made. */
export interface EditProblem {
  /** In the file, such as `models[2].limits.rpm`. */
  readonly path: string
  /** In the entry that was sent, such as `limits.rpm`; null where it is elsewhere. */
  readonly entry_path: string | null
  readonly message: string
  readonly hint: string
}

type LoadedText = Extract<LoadedConfig, { ok: true }>

/** A text that may be served, or all that is wrong with it. */
export type EditResult =
  | {
      readonly ok: true
      readonly text: string
      readonly loaded: LoadedText
      /** Those of the entry, and what else was not told before. */
      readonly warnings: readonly EditProblem[]
      /** For people: `upstream groq was added`. */
      readonly what: string
    }
  | { readonly ok: false; readonly problems: readonly EditProblem[] }

const NONE_TOLD: ReadonlySet<string> = new Set()

/** A configuration of thousands of upstreams is smaller. */
const MOST_CHARACTERS = 2 ** 20

/**
 * Makes one edit and checks the whole as a reload would. Pure. Of the text only that part changes, see `rewritten`.
 *
 * @throws GatewayError `bad_request` where the body is not what the edit is told with
 */
export function editConfig({ source, kind, body, load, told = NONE_TOLD }: EditTask): EditResult {
  const { text } = source
  if (source.syntaxErrors.length > 0 || !isEditable(source.value))
    return checked(load(source), { text, what: '' })
  const document = recordOf(source.value)
  const { models: written = [] } = document
  const models = written as readonly unknown[]
  const { value, refused = [], findings = [], at, what } = EDITS[kind]({ document, models, body })
  if (refused.length > 0) return { ok: false, problems: refused.map(problemIn(at)) }
  const next = rewritten(source, value)
  if (next.length > MOST_CHARACTERS && next.length > text.length)
    return { ok: false, problems: [problemIn(at)(finding([], ...TOO_LARGE))] }
  // Nothing is ever written that reads otherwise than it was meant to.
  const nextSource = readSource(next)
  if (!isSame(nextSource.value, value)) throw new Error('an edit went wrong')
  const result = checked(load(nextSource), { text: next, at, what })
  if (findings.length === 0) {
    if (!result.ok) return result
    const isNews = (one: EditProblem): boolean => one.entry_path !== null || !told.has(one.message)
    return { ...result, warnings: result.warnings.filter(isNews) }
  }
  const problems = findings.map(problemIn(at))
  const others = result.ok
    ? []
    : result.problems.filter(({ path }) => problems.every((own) => own.path !== path))
  return { ok: false, problems: [...problems, ...others] }
}

/** What stands where a list or an object should is told of: written over, all that is in it would be lost. */
function isEditable(document: unknown): boolean {
  const { models = [], settings = {} } = recordOf(document)
  return isObject(document) && Array.isArray(models) && isObject(settings)
}

const TOO_LARGE = ['would be larger than 1 MiB', 'take entries out first'] as const

function checked(
  loaded: LoadedConfig,
  { text, at, what }: { text: string; at?: number | undefined; what: string },
): EditResult {
  return loaded.ok
    ? { ok: true, text, loaded, warnings: loaded.warnings.map(problemIn(at)), what }
    : { ok: false, problems: loaded.problems.map(problemIn(at)) }
}

const problemIn =
  (at?: number) =>
  ({ path, message, hint }: Pick<Finding, 'message' | 'hint'> & { path: Path | string }): EditProblem => {
    const place = typeof path === 'string' ? path : pathText(path)
    const above = `models[${at}]`
    const isInside = place === above || place.startsWith(`${above}.`) || place.startsWith(`${above}[`)
    return {
      path: place,
      entry_path: isInside ? place.slice(above.length).replace(/^\./, '') : null,
      message,
      hint,
    }
  }

/** What an edit makes of a document. */
interface Made {
  readonly value: unknown
  /** What must not even be checked: that would tell of variables and files. */
  readonly refused?: readonly Finding[]
  readonly findings?: readonly Finding[]
  /** The entry that it is about, where it stands afterwards. */
  readonly at?: number
  readonly what: string
}

interface EditGiven {
  readonly document: Entry
  readonly models: readonly unknown[]
  readonly body: Entry
}

const EDITS: Readonly<Record<EditKind, (given: EditGiven) => Made>> = {
  add({ document, models, body }) {
    const at = body['at'] === undefined ? models.length : indexIn(body, 'at', models.length + 1)
    const { entry, ...found } = nextEntry(postedIn(body), {}, at)
    const value = { ...document, models: models.toSpliced(at, 0, entry) }
    return { value, ...found, at, what: `${nameOf(entry, at)} was added` }
  },
  change({ document, models, body }) {
    const at = indexIn(body, 'index', models.length)
    const { entry, ...found } = nextEntry(postedIn(body), recordOf(models[at]), at)
    const value = { ...document, models: models.with(at, entry) }
    return { value, ...found, at, what: `${nameOf(entry, at)} was changed` }
  },
  remove({ document, models, body }) {
    const at = indexIn(body, 'index', models.length)
    const value = { ...document, models: models.toSpliced(at, 1) }
    return { value, what: `${nameOf(models[at], at)} was removed` }
  },
  order({ document, models, body }) {
    const { order } = body
    const wanted: readonly unknown[] = Array.isArray(order) ? order : []
    const given = new Set(wanted)
    const isWhole = wanted.length === models.length && models.every((_, at) => given.has(at))
    if (!isWhole) throw badBody('order', `the list of all indexes from 0 to ${models.length - 1}, each once`)
    const value = { ...document, models: wanted.map((at) => models[Number(at)]) }
    return { value, what: 'the order of the upstreams was changed' }
  },
  settings({ document, body }) {
    const { settings } = body
    const names = Object.keys(recordOf(settings))
    if (!isObject(settings) || names.length === 0)
      throw badBody('settings', 'an object such as {"strategy": "headroom"}')
    const value = { ...document, settings: withoutNulls({ ...recordOf(document['settings']), ...settings }) }
    return {
      value,
      refused: names.flatMap((name) => unfitIn(settings[name], { path: ['settings', name] })),
      findings: names
        .filter((name) => !EDITED_SETTINGS.has(name))
        .map((name) => finding(['settings', name], 'is not edited here', 'write it into the file')),
      what: `${names.map((name) => `settings.${name}`).join(', ')} was changed`,
    }
  },
}

const EDITED_SETTINGS: ReadonlySet<string> = new Set(['strategy', 'affinity'])

const isObject = (value: unknown): value is Entry =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const badBody = (param: string, form: string): GatewayError =>
  new GatewayError('bad_request', `"${param}" must be ${form}.`, { param })

function postedIn(body: Entry): Entry {
  const { entry } = body
  if (!isObject(entry)) throw badBody('entry', 'an object, the entry of "models" as the file would have it')
  return entry
}

function indexIn(body: Entry, name: string, end: number): number {
  const index = body[name]
  if (typeof index === 'number' && Number.isInteger(index) && index >= 0 && index < end) return index
  const range = end === 0 ? 'an index, and there are no entries' : `a whole number from 0 to ${end - 1}`
  throw badBody(name, range)
}

const withoutNulls = (entry: Entry): Entry =>
  Object.fromEntries(Object.entries(entry).filter(([, value]) => value !== null))

/** Names hold no secret, and one that is no text is refused by the schema. */
function nameOf(entry: unknown, at: number): string {
  const { name, model, vendor } = recordOf(entry)
  const known = [name, model, vendor].find((one) => typeof one === 'string')
  return `upstream ${typeof known === 'string' ? known : `models[${at}]`}`
}

/** An entry as the file shall have it, and what speaks against it that no schema knows. */
function nextEntry(posted: Entry, present: Entry, at: number) {
  const given = withoutNulls(
    Object.fromEntries(Object.entries(posted).filter(([key]) => !VIEW_ONLY.has(key))),
  )
  const keys = nextKeys(posted, present)
  const headers = keptOr(posted, present, { key: 'headers', shown: shownHeaders })
  const proxy = keptOr(posted, present, { key: 'proxy', shown: shownProxy })
  const tls = keptOr(posted, present, { key: 'tls', shown: shownTls })
  const url = keptOr({ base_url: null, ...posted }, present, { key: 'base_url', shown: shownUrl })
  // What is not shown can't be sent back.
  const unshown = Object.entries(present).filter(([key]) => !ENTRY_KEYS.includes(key))
  const written = {
    ...given,
    api_key: keys.value,
    base_url: url.value,
    headers: headers.value,
    proxy: proxy.value,
    tls: tls.value,
    ...Object.fromEntries(unshown),
  }
  const entry = Object.fromEntries(Object.entries(written).filter(([, value]) => value !== undefined))
  const located = (found: readonly Finding[]) =>
    found.map((one) => ({ ...one, path: ['models', at, ...one.path] }))
  const brought = Object.entries(entry).flatMap(([key, value]) => {
    const isKnown = (text: string): boolean => writtenKeys(present).includes(text)
    return unfitIn(value, { path: [key], ...(key === 'api_key' ? { isKnown } : { before: present[key] }) })
  })
  const refused = located([...brought, ...broughtFile(entry, present)])
  if (refused.length > 0) return { entry, refused }
  const unknown = [...unknownKeysIn({ models: [given] })].map(({ path, hint }) =>
    finding(path.slice(2), 'is not a key that is known here', hint.replace('it is ignored; ', '')),
  )
  const isLogin = shownProxy(proxy.value) !== proxy.value && !isSame(tlsOf(entry), tlsOf(present))
  const leaks = isSame(wayOf(entry), wayOf(present))
    ? []
    : leaksIn(entry, {
        api_key: keys.kept.length > 0,
        base_url: url.isKept && shownUrl(url.value) !== url.value,
        headers: headers.isKept && shownHeaders(headers.value).length > 0,
        proxy: proxy.isKept && isLogin,
      })
  return { entry, findings: located([...keys.findings, ...unknown, ...leaks]) }
}

/** What `shownConfig` says of an entry besides its keys. */
const VIEW_ONLY: ReadonlySet<string> = new Set(['index', 'keys', 'query'])

/** What guards the keys stays where it is absent, or comes back as it is shown; null takes it out. */
function keptOr(
  posted: Entry,
  present: Entry,
  { key, shown }: { readonly key: string; readonly shown: (written: unknown) => unknown },
): { readonly value: unknown; readonly isKept: boolean } {
  const value = posted[key]
  if (value === null) return { value: undefined, isKept: false }
  if (value === undefined || isSame(value, shown(present[key]))) return { value: present[key], isKept: true }
  return { value, isKept: false }
}

interface Keys {
  /** As the file shall have them; undefined = none. */
  readonly value: unknown
  /** Those of them that nobody has sent. */
  readonly kept: readonly string[]
  readonly findings: readonly Finding[]
}

/** `api_key` as it was sent: new keys, or `{"keep": [1, 3], "add": ["…"]}`, or absent for all that are there. */
function nextKeys(posted: Entry, present: Entry): Keys {
  const own = writtenKeys(present)
  const given = posted['api_key']
  if (given === undefined) return { value: present['api_key'], kept: own, findings: [] }
  if (given === null) return { value: undefined, kept: [], findings: [] }
  if (!isObject(given)) {
    // Who sends a reference does not know what it stands for.
    const kept = own.filter((one) => one.includes('${') && [given].flat().includes(one))
    return { value: given, kept, findings: [] }
  }
  const { keep = [], add = [], ...others } = given
  const wanted: readonly unknown[] = Array.isArray(keep) ? keep : [keep]
  const kept = wanted.map((position) => (typeof position === 'number' ? own[position - 1] : undefined))
  const isFit =
    Object.keys(others).length === 0 && wanted.every((position, at) => wanted.indexOf(position) === at)
  const keys = kept.filter((key) => key !== undefined)
  if (!isFit || keys.length < wanted.length) {
    const hint =
      own.length === 0 ? 'this entry has no key yet: send one' : `positions are 1 to ${own.length}, each once`
    return { value: given, kept: own, findings: [finding(['api_key'], 'keeps what is not there', hint)] }
  }
  const all = [...keys, ...[add].flat()]
  const value = all.length === 1 && !Array.isArray(present['api_key']) ? all[0] : all
  return { value, kept: keys, findings: [] }
}

/** What decides where a key goes, through what, and in which company. */
const wayOf = (entry: Entry): unknown => [
  addressOf(entry),
  entry['proxy'],
  tlsOf(entry),
  entry['headers'] ?? {},
]

/**
 * The path and the query too: below one host there may be accounts of several people, as with gateways of clouds. What
 * refers to the environment is compared as it is written.
 */
function addressOf({ base_url: own, vendor }: Entry): unknown {
  const written = own === undefined && typeof vendor === 'string' ? presetOf(vendor)?.base_url : own
  if (typeof written !== 'string' || written.includes('${')) return written
  const url = parseBaseUrl(written)
  return isUrlProblem(url) ? written : { ...url }
}

function tlsOf({ tls }: Entry): unknown {
  const { ca, insecure = false } = recordOf(tls)
  return [ca, insecure]
}

const ANEW = 'must be given anew, since this edit changes where or through what it is sent'
const ANEW_HINTS: Readonly<Record<string, string>> = {
  api_key: 'send the key itself, or null for none',
  base_url: 'send the whole address with its query',
  headers: 'send them with their values, or null for none',
  proxy: 'send it with its login',
}

/**
 * What nobody has sent and would go another way than before: whoever edits could have it sent to himself, and read it.
 * What stands in the environment is such a thing wherever it is referred to.
 */
function leaksIn(entry: Entry, isKept: Readonly<Record<string, boolean>>): Finding[] {
  return Object.entries(entry).flatMap(([key, value]) => {
    const hint = ANEW_HINTS[key] ?? 'write the value itself'
    const isLeak = isKept[key] === true || JSON.stringify(value).includes('${')
    return isLeak ? [finding([key], ANEW, hint)] : []
  })
}

/** Certificates can be sent as text: what a path names is for whoever may write the file. */
function broughtFile({ tls }: Entry, present: Entry): Finding[] {
  const { ca } = recordOf(tls)
  if (typeof ca !== 'string' || ca.includes('-----BEGIN') || ca === recordOf(present['tls'])['ca']) return []
  const hint = 'send the text of the certificates (PEM), or write the path into the file'
  return [finding(['tls', 'ca'], 'names a file, which an edit cannot bring in', hint)]
}

interface Place {
  readonly path: Path
  /** What stands there now. */
  readonly before?: unknown
  /** Whether a text stands in the file already that counts as the one here. */
  readonly isKnown?: (text: string) => boolean
}

/** What JSON can say and a file shall not get: references to the environment that were not there, and what has no end. */
function unfitIn(value: unknown, { path, before, isKnown = (text) => text === before }: Place): Finding[] {
  if (path.length > DEEPEST / 2)
    return [finding(path.slice(0, 3), 'has brackets in brackets without end', 'send a plainer value')]
  if (typeof value === 'string' && value.includes('${') && !isKnown(value)) {
    const hint = 'send the value itself, or write the reference into the file'
    return [finding(path, 'refers to the environment, which an edit cannot bring in', hint)]
  }
  if (typeof value === 'number' && !Number.isFinite(value))
    return [finding(path, 'must be a finite number', 'write a number such as 1')]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, item]) =>
    unfitIn(item, {
      path: [...path, Array.isArray(value) ? Number(key) : key],
      before: valueAt(before, key),
      ...(path[0] === 'api_key' && { isKnown }),
    }),
  )
}

const valueAt = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? (value as Entry)[key] : undefined
