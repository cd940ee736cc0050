import { strategyNames } from '../pool/strategy.ts'
import { knownPaths } from './checks.ts'
import { recordOf } from './problem.ts'

/*
 * What may be seen of a configuration by whoever may see the gateway's state: everything but keys, values of headers,
 * logins of proxies and queries of addresses, which hold keys at some vendors.
 */

/** Stands for what is not shown. */
const MASK = '***'

export type Entry = Readonly<Record<string, unknown>>

/** The keys that an entry of `models` may have. */
export const ENTRY_KEYS: readonly string[] = knownPaths().flatMap((path) => {
  const [, key] = /^models\[\]\.(\w+)$/.exec(path) ?? []
  return key === undefined ? [] : [key]
})

/** The keys of an entry as they are written, in that order: the first has position 1. */
export const writtenKeys = ({ api_key: written }: Entry): string[] =>
  [written].flat().filter((key): key is string => typeof key === 'string' && key.trim() !== '')

/** From this length on four characters of a key tell nobody the rest. */
const SHORTEST_SHOWN = 16

/** What tells a key from the others of its entry. */
export interface ShownKey {
  /** From 1. */
  readonly position: number
  /** Null for a short one. */
  readonly last4: string | null
  /** The variable that holds it, such as `${GROQ_KEY}`. */
  readonly is_variable: string | null
}

const shownKeys = (entry: Entry): ShownKey[] =>
  writtenKeys(entry).map((key, at) => {
    const [variable = null] = /\$\{\w+\}/.exec(key) ?? []
    const isLong = key.trim().length >= SHORTEST_SHOWN && !key.includes('${')
    return { position: at + 1, last4: isLong ? `…${key.trim().slice(-4)}` : null, is_variable: variable }
  })

/** An address without its query. */
export const shownUrl = (url: unknown): unknown =>
  typeof url === 'string' ? url.replace(/\?[^]*$/, '').replace(/\/\/[^/]*@/, `//${MASK}@`) : null

/** A proxy without its login. */
export const shownProxy = (proxy: unknown): unknown =>
  typeof proxy === 'string' ? proxy.replace(/^([a-z][\w+.-]*:\/\/)?[^]*@/i, `$1${MASK}@`) : null

/** What is trusted: a text of certificates is not shown, since a key may stand among them. */
export function shownTls(tls: unknown): unknown {
  if (tls === undefined) return null
  const { ca, insecure } = recordOf(tls)
  const shown = typeof ca === 'string' && ca.includes('-----BEGIN') ? MASK : ca
  return { ...(ca !== undefined && { ca: shown }), ...(insecure !== undefined && { insecure }) }
}

/** The names alone. */
export const shownHeaders = (headers: unknown): string[] => Object.keys(recordOf(headers))

/** An entry of `models` as it is written, without its secrets; null for what it does not say. */
export interface ShownEntry extends Entry {
  /** Its place in the list, from 0. */
  readonly index: number
  readonly keys: readonly ShownKey[]
}

function shownEntry(written: unknown, index: number): ShownEntry {
  const entry = recordOf(written)
  const said = Object.fromEntries(
    ENTRY_KEYS.filter((key) => key !== 'api_key').map((key) => [key, entry[key] ?? null]),
  )
  const url = entry['base_url']
  const guarded = {
    base_url: shownUrl(url),
    query: typeof url === 'string' && url.includes('?') ? MASK : null,
    proxy: shownProxy(entry['proxy']),
    tls: shownTls(entry['tls']),
    headers: shownHeaders(entry['headers']),
  }
  return { index, ...said, ...guarded, keys: shownKeys(entry) }
}

/** A configuration without its secrets, as `readSource` has read it. Whatever it holds, this does not fail. */
export function shownConfig(document: unknown) {
  const { models, quotas, settings } = recordOf(document)
  const { strategy = 'random', affinity, ip_hash: ipHash } = recordOf(settings)
  return {
    entries: Array.isArray(models) ? models.map(shownEntry) : [],
    settings: { strategy, affinity: affinity ?? (ipHash === false ? 'off' : 'ip') },
    quotas: Object.keys(recordOf(quotas)),
    /** What `settings` may say. */
    choices: {
      strategy: strategyNames,
      affinity: ['ip', 'conversation', 'user', 'token', 'header:<name>', 'off'],
    },
  }
}
