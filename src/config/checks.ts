import type { GenericSchema } from 'valibot'
import { sha256Hex } from '../lib/hash.ts'
import type { Config, ConfigFile } from './config.ts'
import { finding, pathText, quoted, recordOf, type Finding, type Path } from './problem.ts'
import { keysOf, modelNameHint } from './model-schema.ts'
import { foreignKey, presetOf, vendorAt, vendorPresets } from './presets.ts'
import { isLoopback, isOnThisMachine } from './proxy.ts'
import { baseUrlHint, isUrlProblem, parseBaseUrl, parseUrl } from './rules.ts'
import { ACCOUNT_PATHS, configSchema } from './schema.ts'
import { discoveriesOf, upstreamsOf } from './upstreams.ts'

/**
 * Finds what an entry lacks or has twice, and names that refer to nothing: `models[].vendor` and `.quota`. Looks at the
 * document before it is typed, so that these are told together with all other problems; what has a wrong type is
 * skipped here, the schema tells of it.
 */
export function crossCheck(document: unknown): Finding[] {
  const models = field(document, 'models')
  const entries: readonly unknown[] = Array.isArray(models) ? models : []
  const quotas = recordOf(field(document, 'quotas'))
  return [
    ...entries.flatMap((model, at) => unnamedParts(recordOf(model), ['models', at])),
    ...entries.flatMap((model, at) => unknownQuotas(field(model, 'quota'), at, Object.keys(quotas))),
    ...entries.flatMap((model, at) => repeatedHeaders(field(model, 'headers'), at)),
  ]
}

function unknownQuotas(quota: unknown, at: number, known: readonly string[]): Finding[] {
  const wanted: readonly unknown[] = Array.isArray(quota) ? quota : [quota]
  return wanted.flatMap((name, position) => {
    if (typeof name !== 'string' || name.trim() === '' || known.includes(name)) return []
    const near = nearestName(name, known)
    const define =
      known.length === 0 ? 'define it under quotas' : `define it under quotas, which has ${quoted(known)}`
    const hint = near === undefined ? define : `did you mean ${quoted([near])}?`
    const path = ['models', at, 'quota', ...(Array.isArray(quota) ? [position] : [])]
    return [finding(path, 'names a quota that is not defined', hint)]
  })
}

/** Header names ignore case, so an object can name one header twice. */
function repeatedHeaders(headers: unknown, at: number): Finding[] {
  const names = Object.keys(recordOf(headers))
  const lower = names.map((name) => name.toLowerCase())
  const repeated = names.filter((name, position) => lower.indexOf(name.toLowerCase()) < position)
  const message = 'names a header a second time (case is ignored)'
  return repeated.map((name) => finding(['models', at, 'headers', name], message, 'keep one of them'))
}

/** Where an entry's requests go and for which model: by itself, or by the preset of its vendor. */
function unnamedParts(entry: Readonly<Record<string, unknown>>, path: Path): Finding[] {
  const { vendor, base_url: baseUrl, model, models } = entry
  const isText = typeof vendor === 'string' && vendor.trim() !== ''
  if (isText && presetOf(vendor) === undefined) {
    const known = vendorPresets.map(([id]) => id)
    const near = nearestName(vendor, known)
    const hint = near === undefined ? `known: ${known.join(', ')}` : `did you mean ${quoted([near])}?`
    return [finding([...path, 'vendor'], 'is not a vendor that is known here', hint)]
  }
  const missing: Finding[] = []
  const isOwn = vendor === undefined
  if (isOwn && baseUrl === undefined)
    missing.push(
      finding([...path, 'base_url'], 'is missing', `${baseUrlHint}, or "vendor" for one that is known here`),
    )
  if (isOwn && model === undefined && models === undefined)
    missing.push(
      finding([...path, 'model'], 'is missing', `${modelNameHint}, or "models": "*" for all that it lists`),
    )
  if (model !== undefined && models !== undefined)
    missing.push(finding([...path, 'models'], 'stands beside model', 'write one of the two'))
  return missing
}

/** Finds that `settings.passthrough` names nobody. Which upstreams a list of models brings is not known yet. */
export function unknownPassthrough(config: Config): Finding[] {
  const { passthrough } = config.settings
  if (passthrough === undefined || discoveriesOf(config).length > 0) return []
  if (upstreamsOf(config).some(({ name }) => name === passthrough)) return []
  const hint = "write a model's name, or model@host where it has none"
  return [finding(['settings', 'passthrough'], 'names no upstream', hint)]
}

/** Finds that a client's token is one of `auth_token` as well: everything would be open to that client. */
export function sharedTokens({ authTokens, tokens }: Config): Finding[] {
  const digests = tokens.length === 0 ? [] : authTokens.map(sha256Hex)
  const hint = 'make a token for the client, for example by: aiload token add NAME'
  return tokens.flatMap(({ digest }, at) =>
    digests.includes(digest) ? [finding(['tokens', at, 'token'], 'stands in auth_token too', hint)] : [],
  )
}

const field = (value: unknown, key: string): unknown => recordOf(value)[key]

/** What is allowed and yet probably not meant: a warning each, never an error. `emptied` is that of `substitute`. */
export function* warningsFor(file: ConfigFile, config: Config, emptied: Set<string>): Generator<Finding> {
  for (const [at, entry] of file.models.entries()) yield* entryWarnings(entry, ['models', at], emptied)
  yield* upstreamWarnings(config)
  if (config.models.every(({ enabled }) => !enabled))
    yield finding(['models'], 'no model is enabled', 'set "enabled": true on one of them')

  const { server = {}, settings = {} } = file
  if (server.mode !== undefined && server.model !== undefined && server.mode !== server.model)
    yield finding(['server', 'model'], 'is another name of server.mode, which wins', 'take it out')
  if (config.server.maxBodyBytes > config.server.maxBufferedBytes) {
    const message = 'max_buffered is smaller than max_body, so the largest allowed requests never fit'
    const key = server.max_buffered === undefined ? 'max_body' : 'max_buffered'
    yield finding(['server', key], message, 'make max_buffered at least max_body')
  }
  const listed = Array.isArray(settings.passthrough_paths) ? settings.passthrough_paths.indexOf('all') : -1
  if (listed >= 0) {
    const message = 'is one path here, and not every one'
    yield finding(['settings', 'passthrough_paths', listed], message, 'write "all" in the place of the list')
  }
  if (settings.affinity !== undefined && settings.ip_hash !== undefined)
    yield finding(['settings', 'ip_hash'], 'settings.affinity is there too and wins', 'take ip_hash out')
  yield* tokenWarnings(file.auth_token ?? '')
  if (server.admin === 'write' && config.tokens.length === 0) {
    const hint = 'give clients tokens of their own (tokens), or write "read"'
    yield finding(['server', 'admin'], 'lets every client with auth_token edit this configuration', hint)
  }
  yield* clientWarnings(config)
}

function* clientWarnings(config: Config): Generator<Finding> {
  if (config.tokens.every(({ models = [] }) => models.length === 0)) return
  // Which names lists of models bring is not known yet.
  const upstreams = discoveriesOf(config).length > 0 ? undefined : upstreamsOf(config)
  const known = upstreams && new Set(upstreams.flatMap(({ name, model, groups }) => [name, model, ...groups]))
  for (const [at, { models = [], passthrough }] of config.tokens.entries()) {
    for (const [position, name] of models.entries()) {
      if (known === undefined || isAuto(name) || known.has(name)) continue
      const near = nearestName(name, [...known])
      const hint =
        near === undefined ? 'write the name of a model, a group or an upstream' : `did you mean ${near}?`
      yield finding(['tokens', at, 'models', position], 'names no model, group or upstream', hint)
    }
    if (!passthrough || models.length === 0) continue
    const message = 'reaches the whole account that paths are passed on to, whatever models says'
    yield finding(['tokens', at, 'passthrough'], message, 'take one of the two out')
  }
}

function* tokenWarnings(written: string | string[]): Generator<Finding> {
  for (const [at, token] of [written].flat().entries()) {
    const path = Array.isArray(written) ? ['auth_token', at] : ['auth_token']
    const slip = slipIn(token.trim(), TOKEN_SLIPS)
    if (token !== '' && slip !== undefined) yield finding(path, ...slip)
    if (/^[\x20-\x7e]*$/.test(token.trim())) continue
    const message = 'has characters beyond ASCII, which many clients cannot send in a header'
    yield finding(path, message, 'use letters, digits, signs and blanks')
  }
}

type ModelEntry = ConfigFile['models'][number]

function* entryWarnings(entry: ModelEntry, path: Path, emptied: Set<string>): Generator<Finding> {
  const { api_key: written = '', groups = [], name, headers = {}, model } = entry
  const vendor = entry.vendor ?? (entry.base_url === undefined ? undefined : vendorAt(entry.base_url))
  const keys = [written].flat()
  for (const [position, key] of keys.entries()) {
    const here = [...path, 'api_key', ...(Array.isArray(written) ? [position] : [])]
    const slip =
      slipIn(key.trim(), KEY_SLIPS) ?? (vendor === undefined ? undefined : foreignKey(key.trim(), vendor))
    if (slip !== undefined) yield finding(here, ...slip)
    if (key.trim() === '' && emptied.has(pathText(here))) {
      const hint = 'no Authorization will be sent; set the variable'
      yield finding(here, 'its environment variable is empty', hint)
    }
  }
  if (keys.join('').trim() === '' && !emptied.has(pathText([...path, 'api_key'])))
    yield* lackingKey(entry, path)
  if (keysOf(keys).length < keys.length) {
    const hint = 'it counts once; take the second one out'
    yield finding([...path, 'api_key'], 'has the same key twice', hint)
  }
  for (const [header, value] of Object.entries(headers))
    if (/(?:^|\s)\$[A-Za-z_]\w*$/.test(value)) yield finding([...path, 'headers', header], ...VARIABLE_SLIP)
  if (entry.tls?.insecure === true) {
    const message = 'lets anybody on the way read the key and every prompt: certificates are not checked'
    yield finding([...path, 'tls', 'insecure'], message, 'trust its authority with "ca" instead')
  }
  // A preset knows its address.
  const addressSlip =
    entry.base_url === undefined || entry.vendor !== undefined ? undefined : baseUrlSlip(entry.base_url)
  if (addressSlip !== undefined) yield finding([...path, 'base_url'], ...addressSlip)
  if (isAuto(model) && name === undefined && groups.length === 0) {
    const hint = 'give it a name by which clients can ask for it'
    yield finding([...path, 'model'], 'auto always means all upstreams', hint)
  }
  const automatic = groups.flatMap((group, at) => (isAuto(group) ? [['groups', at]] : []))
  for (const here of isAuto(name) ? [...automatic, ['name']] : automatic)
    yield finding([...path, ...here], 'auto always means all upstreams', 'choose another name')
}

/** An address of one's own may add the key, and so may headers. */
function* lackingKey(
  { vendor = '', base_url: url, headers = {} }: ModelEntry,
  path: Path,
): Generator<Finding> {
  const preset = presetOf(vendor)
  const isOwn = url !== undefined && vendorAt(url) !== vendor.trim().toLowerCase()
  if (preset === undefined || preset.key_optional || isOwn || Object.keys(headers).length > 0) return
  const [variable = 'NAME'] = preset.key_variables
  const hint = `write api_key, for example "\${${variable}}"`
  yield finding([...path, 'vendor'], 'wants a key, and this entry has none', hint)
}

const isAuto = (name = ''): boolean => name.trim().toLowerCase() === 'auto'

/** What is wrong and what would be right. */
type Slip = readonly [message: string, hint: string]
type Slips = readonly (readonly [RegExp, Slip])[]

const slipIn = (text: string, slips: Slips): Slip | undefined =>
  slips.find(([pattern]) => pattern.test(text))?.[1]

const VARIABLE_SLIP: Slip = ['looks like the name of a variable', 'write ${NAME} for an environment variable']
const PLACEHOLDER_SLIP: Slip = ['is still a placeholder', 'put the real one here']
/** What people take along from shells, headers and documentation. The first that fits is told. */
const TOKEN_SLIPS: Slips = [
  [/^(?:\$\w+|\$\(\w+\)|%\w+%|\{\{.*\}\}|\{\w+\}|(?:process\.env\.|os\.environ\/|env:)\w+)$/, VARIABLE_SLIP],
  // What documentation and templates show and dashboards leave of a key, and no vendor ever gave out.
  [
    /^(?:sk|gsk|key)?[-_]?(?:<.*>|(?:your|my|insert|put|enter|paste|add|replace)[-_ ]?(?:[a-z\d]*[-_ ])*(?:key|token).*|(?:change|replace)[-_ ]?me)$/i,
    PLACEHOLDER_SLIP,
  ],
  [/^(?:api[-_ ]?key(?:[-_ ]here)?|\[[^"',]*\]|undefined|null|todo)$|\.{3}|…|\*{3}/i, PLACEHOLDER_SLIP],
  // Behind what keys of a vendor begin with: `sk-or-v1-xxxx`, `AIzaXXXX`.
  [/^(?:[a-z\d]+[-_])*(?:sk|gsk|key|AIza(?:Sy)?)?x{3,}$/i, PLACEHOLDER_SLIP],
  [/^[A-Z][A-Z\d]*(?:_[A-Z\d]+)+$/, VARIABLE_SLIP],
  // A key may end in `=`, the padding of base64.
  [
    /^(?:export\s+)?[A-Z][A-Z\d]*(?:_[A-Z\d]+)*=[^=]/,
    ['begins with the name of a variable', 'write what stands behind the ='],
  ],
  [/^bearer\b/i, ['begins with the word Bearer', 'leave that word out; it is added']],
  [/^["'`]|["'`]$/, ['stands in quotes of its own', 'take the inner quotes out']],
]
const SEVERAL_KEYS = 'write several keys as a list: ["…", "…"], or without a file as NAME, NAME_2, NAME_3'
const KEY_SLIPS: Slips = [
  ...TOKEN_SLIPS,
  [/,/, ['has a comma in it', SEVERAL_KEYS]],
  [/;/, ['has a semicolon in it', SEVERAL_KEYS]],
  // Laravel's keys are a number, the sign, and the key itself.
  [/^(?!\d+\|).*\|/, ['has a | in it', SEVERAL_KEYS]],
  [/\s/, ['has a blank in it', 'copy the key again; several keys are a list: ["…", "…"]']],
]

/** What stands in an address before its query, as it was written, and says nothing. The first that fits is told. */
const ADDRESS_SLIPS: Slips = [
  [/^\w+:\/{3,}/, ['has more than two slashes before its host', 'write https://host/v1']],
  [/^\w+:\/+https?(?::\/|\/\/)/i, ['has its scheme twice', 'write it once, such as https://host/v1']],
  [
    /(\/v\d[\w.-]*|(?:\/v\d[\w.-]*)?\/chat\/completions)\1(?:\/|$)/i,
    ['has a part of its path twice', 'write it once, such as https://host/v1'],
  ],
  [/[/.]your[-_]|\{.*\}/i, ['has a placeholder in it', 'put the real name there']],
  [/\$[A-Z_]/i, VARIABLE_SLIP],
]

/** Names of endpoints, OpenAI's and others'. */
const ENDPOINT = [
  ...ACCOUNT_PATHS,
  'chat',
  'complet(?:e|ions?)',
  'embeddings',
  'moderations',
  'rerank',
  'images',
  'audio',
  'messages',
].join('|')
/** Of an endpoint other than chat, whose own address is a form of base_url; a version may follow the name of a model. */
const FOREIGN_ENDPOINT = new RegExp(
  String.raw`/(?:${ENDPOINT})$|/v\d[\w.-]*/(?:${ENDPOINT})/(?!.*\bv\d)|/(?:images|audio)/\w+$|/chat/completions/`,
  'i',
)
/** `/v1`, `/v1beta/openai`, `/api/paas/v4`; Azure and Databricks have names of deployments instead. */
const VERSIONED_PATH = /\/(?:v\d[\w.-]*|deployments|serving-endpoints)(?:\/|$)/i
/** Vendors who serve `…/chat/completions` below a root without a version. */
const UNVERSIONED_HOST =
  /(?:^|\.)(?:ai\.azure\.com|models\.github\.ai|githubcopilot\.com|api\.deepseek\.com|api\.perplexity\.ai)$/i

/** A base_url that is probably not the root of an API. Who writes the full address of the chat endpoint knows it. */
function baseUrlSlip(written: string): Slip | undefined {
  const base = parseBaseUrl(written)
  if (isUrlProblem(base)) return undefined
  const address = written.trim().replace(/[?#].*/s, '')
  const slip = slipIn(address, ADDRESS_SLIPS)
  if (slip !== undefined || /\/chat\/completions\/*$/i.test(address)) return slip
  const url = parseUrl(base.root)
  if (url === undefined || UNVERSIONED_HOST.test(url.hostname)) return undefined
  if (FOREIGN_ENDPOINT.test(url.pathname))
    return ['looks like the address of one endpoint', 'write the root, such as https://host/v1']
  if (VERSIONED_PATH.test(url.pathname)) return undefined
  const hint =
    'write the root with it, such as https://host/v1, or the full address …/chat/completions where there is none'
  return ['has no version segment such as /v1', hint]
}

function* upstreamWarnings({ models, settings }: Config): Generator<Finding> {
  const seen = new Map<string, string>()
  const isFarProxy = typeof settings.proxy === 'object' && !isLoopback(settings.proxy.host)
  for (const [at, { apiKeys, root, model = '', path, proxy }] of models.entries()) {
    if (isFarProxy && proxy === undefined && isOnThisMachine(root)) {
      const message = 'is on this machine, and goes through settings.proxy, which is not'
      yield finding(['models', at, 'base_url'], message, 'write "proxy": "direct" here')
    }
    const ids = model === '' ? [] : apiKeys.map((key) => JSON.stringify([root, model, key]))
    const other = ids.map((id) => seen.get(id)).find((place) => place !== undefined)
    for (const id of ids) seen.set(id, path)
    if (other === undefined) continue
    const message = `has an upstream that ${other} has already: same base_url, model and key`
    const hint = 'they share cooldowns and limits; keep one and raise its weight'
    yield finding(['models', at], message, hint)
  }
}

/** Unknown keys: a warning each, since a misspelt key must not take a running gateway down. */
export function* unknownKeysIn(document: unknown): Generator<Finding> {
  for (const { shape, value, path } of levelsOf(document)) {
    if (Array.isArray(value) || !isObjectShape(shape)) continue
    for (const key of Object.keys(value)) if (!shapeBelow(shape, key)) yield unknownKey(shape, [...path, key])
  }
}

function unknownKey({ entries }: Shape, path: Path): Finding {
  if (entries === undefined)
    return finding(path, 'cannot be used as a name', 'it is ignored; choose another name')
  const key = String(path.at(-1))
  const known = Object.keys(entries)
  const right =
    nearestName(key, known) ?? (allPaths ??= knownPaths()).find((other) => other.endsWith(`.${key}`))
  const hint = right === undefined ? `known: ${known.join(', ')}` : `did you mean ${right}?`
  return finding(path, 'unknown key, it is ignored', hint)
}

/** Walks the whole schema, which a file full of unknown keys asks for once each. */
let allPaths: readonly string[] | undefined

/** Lists where an object belongs: valibot takes a list for an object without keys. */
export function* shapeProblemsIn(document: unknown): Generator<Finding> {
  for (const { shape, value, path } of levelsOf(document))
    if (Array.isArray(value) && isObjectShape(shape))
      yield finding(path, 'must be an object, not a list', 'write { … }')
}

/** Every path that the schema knows, with `[]` for "each item": `models[].limits.rpm`, `quotas[].rpm`. */
export function knownPaths(shape = shapeOf(configSchema), at = ''): string[] {
  const { entries = {}, item, value: each = item } = shape
  const below = Object.entries(entries).flatMap(([key, inner]) =>
    knownPaths(shapeOf(inner), at === '' ? key : `${at}.${key}`),
  )
  const inEach = each && isObjectShape(shapeOf(each)) ? knownPaths(shapeOf(each), `${at}[]`) : []
  return [...(at === '' ? [] : [at]), ...below, ...inEach]
}

/**
 * The known name nearest to one that was misspelt, or undefined when none is near enough. Upper case,
 * `-` and `_` don't count (`apiKey` is `api_key`); otherwise up to a third of the letters may differ.
 */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const wanted = comparable(name)
  let best: { name: string; distance: number } | undefined
  for (const candidate of known) {
    const other = comparable(candidate)
    const allowed = Math.max(1, Math.floor(Math.max(wanted.length, other.length) / 3))
    if (Math.abs(wanted.length - other.length) > allowed) continue
    const distance = editDistance(wanted, other)
    if (distance <= allowed && distance < (best?.distance ?? Infinity)) best = { name: candidate, distance }
  }
  return best?.name
}

// No key is longer; a cut keeps the table small for a key that is a whole novel.
const comparable = (name: string): string =>
  name
    .toLowerCase()
    .replaceAll(/[-_\s]/g, '')
    .slice(0, 40)

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
function editDistance(from: string, to: string): number {
  const table: number[][] = []
  const at = (row: number, column: number): number => table[row]?.[column] ?? Infinity
  for (let row = 0; row <= from.length; row += 1) {
    const current = [row]
    table.push(current)
    for (let column = 1; column <= to.length; column += 1) {
      const isSame = from[row - 1] === to[column - 1]
      const isSwapped = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]
      current.push(
        Math.min(
          at(row - 1, column) + 1,
          at(row, column - 1) + 1,
          at(row - 1, column - 1) + (isSame ? 0 : 1),
          at(row - 2, column - 2) + (isSwapped ? 1 : Infinity),
        ),
      )
    }
  }
  return at(from.length, to.length)
}

/**
 * Texts that came out of variables become the numbers and flags that their keys want, in place: a variable holds nothing
 * but text. `variables` is that of `substitute`. A text that is none is a finding.
 */
export function convertTexts(document: unknown, variables: ReadonlyMap<string, string>): Finding[] {
  const findings: Finding[] = []
  if (variables.size === 0) return findings
  for (const { shape, value, path } of levelsOf(document)) {
    for (const [key, text] of Object.entries(value)) {
      const step = Array.isArray(value) ? Number(key) : key
      const here = [...path, step]
      const name = variables.get(pathText(here))
      const wanted = shapeBelow(shape, step)
      if (name === undefined || wanted === undefined || typeof text !== 'string') continue
      const converted = convertedText(text.trim(), wanted)
      if (converted !== undefined) Object.assign(value, { [key]: converted })
      else if (wanted.type === 'number' || wanted.type === 'boolean') {
        const what = wanted.type === 'number' ? 'no number' : 'neither true nor false'
        findings.push(
          finding(here, `the environment variable ${name} holds ${what}`, 'set it, or write the value here'),
        )
      }
    }
  }
  return findings
}

function convertedText(text: string, { type, options = [] }: Shape): number | boolean | undefined {
  const isFlag = type === 'boolean' || options.some(({ literal }) => literal === false)
  if (isFlag && /^(?:true|false)$/i.test(text)) return text.toLowerCase() === 'true'
  return type === 'number' && /^[+-]?\d+(?:\.\d+)?$/.test(text) ? Number(text) : undefined
}

/** What a schema says of an object (`entries`), an object with names of its own choice (`value`) or a list (`item`). */
interface Shape {
  readonly entries?: Readonly<Record<string, GenericSchema>>
  readonly value?: GenericSchema
  readonly item?: GenericSchema
  readonly type?: string
  /** Of a union. */
  readonly options?: readonly { readonly literal?: unknown }[]
}

// A schema in `v.pipe` or with a default keeps its own fields; only optional ones are wrapped.
const shapeOf = (schema: GenericSchema): Shape =>
  'wrapped' in schema ? shapeOf(schema.wrapped as GenericSchema) : schema

const isObjectShape = ({ entries, value }: Shape): boolean => entries !== undefined || value !== undefined

/** The shape of what may stand under a key or at a position. */
function shapeBelow({ entries = {}, value, item }: Shape, step: string | number): Shape | undefined {
  const named = value && !neverNames.has(String(step)) ? value : undefined
  const inner = typeof step === 'number' ? item : Object.hasOwn(entries, step) ? entries[step] : named
  return inner && shapeOf(inner)
}

// Keys that valibot leaves out of every record, so that no output can reach a prototype.
const neverNames: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

type Level = { readonly shape: Shape; readonly value: object; readonly path: Path }

/** Every object and list of a document that the schema knows of, from the top down, and what it says of it. */
function levelsOf(document: unknown): readonly Level[] {
  const levels: Level[] = []
  function addLevels(value: unknown, shape: Shape, path: Path): void {
    if (typeof value !== 'object' || value === null) return
    levels.push({ shape, value, path })
    for (const [key, inner] of Object.entries(value)) {
      if (typeof inner !== 'object' || inner === null) continue
      const step = Array.isArray(value) ? Number(key) : key
      const below = shapeBelow(shape, step)
      if (below) addLevels(inner, below, [...path, step])
    }
  }
  addLevels(document, shapeOf(configSchema), [])
  return levels
}
