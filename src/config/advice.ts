import { isPlaceholderKey, keysOf } from './api-keys.ts'
import type { Config } from './config.ts'
import { pathKey } from './environment.ts'
import type { Finding } from './problem.ts'
import type { ConfigFile, ModelEntry } from './schema.ts'
import type { Path } from './source.ts'

/** A configuration that is valid, in the three shapes in which its oddities show. */
export interface Accepted {
  readonly file: ConfigFile
  readonly config: Config
  /** Paths of strings that became shorter than meant, since a variable was empty (`Substituted.emptied`). */
  readonly emptied: ReadonlySet<string>
}

/** What is allowed and yet probably not meant: a warning each, never an error. */
export const adviceOn = (accepted: Accepted): Finding[] => [
  ...accepted.file.models.flatMap((entry, at) => onModel(entry, at, accepted)),
  ...onTwins(accepted.config),
  ...onServer(accepted),
  ...onSettings(accepted.file),
  ...onToken(accepted.config),
]

function onModel(entry: ModelEntry, at: number, { config, emptied }: Accepted): Finding[] {
  const findings: Finding[] = []
  const path = ['models', at]
  const told = (below: Path, message: string, hint: string) =>
    findings.push({ path: [...path, ...below], message, hint })
  const isList = Array.isArray(entry.api_key)
  const keys = [entry.api_key ?? ''].flat()
  for (const [position, key] of keys.entries()) {
    const below = isList ? ['api_key', position] : ['api_key']
    if (isPlaceholderKey(key.trim())) told(below, 'is still a placeholder', 'put the key of the vendor here')
    if (key.trim() === '' && emptied.has(pathKey([...path, ...below])))
      told(below, 'its environment variable is empty', 'no Authorization will be sent; set the variable')
  }
  if (keysOf(entry.api_key).length < keys.length)
    told(['api_key'], 'has the same key twice', 'it counts once; take the second one out')
  if (foreignEndpoint.test(config.models[at]?.root ?? ''))
    told(['base_url'], 'looks like the address of one endpoint', 'write the root, such as https://host/v1')
  for (const [position, group] of (entry.groups ?? []).entries())
    if (group.trim() === 'auto')
      told(['groups', position], 'auto always means all upstreams', 'choose another name')
  if (entry.name?.trim() === 'auto') told(['name'], 'auto always means all upstreams', 'choose another name')
  return findings
}

// The chat endpoint's address is a form of base_url and no longer in the root; its siblings would be.
const foreignEndpoint = /\/(?:completions|embeddings|responses|moderations|rerank|images\/\w+|audio\/\w+)$/i

function onTwins({ models }: Config): Finding[] {
  const seen = new Map<string, string>()
  return models.flatMap(({ apiKeys, root, model, path }, at) => {
    const ids = apiKeys.map((key) => JSON.stringify([root, model, key]))
    const twin = ids.map((id) => seen.get(id)).find((other) => other !== undefined)
    for (const id of ids) seen.set(id, path)
    if (twin === undefined) return []
    const message = `has an upstream that ${twin} has already: same base_url, model and key`
    return [
      {
        path: ['models', at],
        message,
        hint: 'they share cooldowns and limits; keep one and raise its weight',
      },
    ]
  })
}

function onServer({ file, config }: Accepted): Finding[] {
  const findings: Finding[] = []
  const { mode, model } = file.server ?? {}
  if (mode !== undefined && model !== undefined && mode !== model)
    findings.push({
      path: ['server', 'model'],
      message: 'is another name of server.mode, which wins',
      hint: 'take it out',
    })
  if (config.server.maxBodyBytes > config.server.maxBufferedBytes)
    findings.push({
      path: ['server', file.server?.max_buffered === undefined ? 'max_body' : 'max_buffered'],
      message: 'max_buffered is smaller than max_body, so the largest allowed requests never fit',
      hint: 'make max_buffered at least max_body',
    })
  if (config.models.every(({ enabled }) => !enabled))
    findings.push({
      path: ['models'],
      message: 'no model is enabled',
      hint: 'set "enabled": true on one of them',
    })
  return findings
}

function onSettings({ settings = {} }: ConfigFile): Finding[] {
  if (settings.affinity === undefined || settings.ip_hash === undefined) return []
  const message = 'settings.affinity is there too and wins'
  return [{ path: ['settings', 'ip_hash'], message, hint: 'take ip_hash out' }]
}

function onToken({ authToken }: Config): Finding[] {
  if (/^[\x20-\x7e]*$/.test(authToken)) return []
  const message = 'has characters beyond ASCII, which many clients can not send in a header'
  return [{ path: ['auth_token'], message, hint: 'use letters, digits, signs and blanks' }]
}
