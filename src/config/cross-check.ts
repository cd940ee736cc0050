import { upstreamNames } from '../pool/upstream-name.ts'
import { isRefusal, parseBaseUrl } from './base-url.ts'
import type { Finding } from './problem.ts'
import { quoted } from './rules.ts'
import { nearestName } from './suggest.ts'

/**
 * Finds names that refer to nothing: `models[].quota` and `settings.passthrough`. Looks at the document
 * before it is typed, so that these are told together with all other problems; what has a wrong type is
 * skipped here, the schema tells of it.
 */
export function crossCheck(document: unknown): Finding[] {
  const models = field(document, 'models')
  const entries = Array.isArray(models) ? models : []
  const quotas = field(document, 'quotas')
  const quotaNames = isRecord(quotas) ? Object.keys(quotas) : []
  return [
    ...entries.flatMap((model, at) => unknownQuotas(model, at, quotaNames)),
    ...unknownHeaders(entries),
    ...unknownPassthrough(field(field(document, 'settings'), 'passthrough'), entries),
  ]
}

function unknownQuotas(model: unknown, at: number, known: readonly string[]): Finding[] {
  const quota = field(model, 'quota')
  const wanted: readonly unknown[] = Array.isArray(quota) ? quota : [quota]
  return wanted.flatMap((name, position) => {
    if (typeof name !== 'string' || name.trim() === '' || known.includes(name)) return []
    const near = nearestName(name, known)
    const hint =
      near === undefined
        ? known.length === 0
          ? 'define it under quotas'
          : `define it under quotas, which has ${quoted(known)}`
        : `did you mean ${quoted([near])}?`
    const path = ['models', at, 'quota', ...(Array.isArray(quota) ? [position] : [])]
    return [{ path, message: 'names a quota that is not defined', hint }]
  })
}

/** Header names ignore case, so an object can name one header twice. */
function unknownHeaders(entries: readonly unknown[]): Finding[] {
  return entries.flatMap((model, at) => {
    const headers = field(model, 'headers')
    const names = isRecord(headers) ? Object.keys(headers) : []
    const first = new Map<string, string>()
    return names.flatMap((name) => {
      const isNew = !first.has(name.toLowerCase())
      if (isNew) first.set(name.toLowerCase(), name)
      const path = ['models', at, 'headers', name]
      return isNew
        ? []
        : [{ path, message: 'names a header a second time (case is ignored)', hint: 'keep one of them' }]
    })
  })
}

function unknownPassthrough(wanted: unknown, entries: readonly unknown[]): Finding[] {
  if (typeof wanted !== 'string' || wanted.trim() === '') return []
  const sources = entries.map((model) => nameSource(model))
  const known = sources.filter((source) => source !== undefined)
  if (upstreamNames(known).includes(wanted.trim())) return []
  // A model that is wrong in itself may be the one that is meant.
  if (known.length < sources.length) return []
  const hint = "write a model's name, or model@host where it has none"
  return [{ path: ['settings', 'passthrough'], message: 'names no upstream', hint }]
}

function nameSource(model: unknown) {
  const [name, wireName, baseUrl] = [field(model, 'name'), field(model, 'model'), field(model, 'base_url')]
  if (typeof wireName !== 'string' || typeof baseUrl !== 'string') return undefined
  const url = parseBaseUrl(baseUrl)
  if (isRefusal(url)) return undefined
  const key = field(model, 'api_key')
  const apiKeys = Array.isArray(key) ? key.map(String) : ['']
  return {
    model: wireName,
    root: url.root,
    apiKeys,
    ...(typeof name === 'string' ? { name: name.trim() } : {}),
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const field = (value: unknown, key: string): unknown => (isRecord(value) ? value[key] : undefined)
