/*
 * config: from the text of a file to a checked configuration. Every mistake is told at once, with its line, its path and
 * what would be right, and never with a value, since any of them may be a secret.
 *
 * source        the text: JSON with comments, and where each part of it stands
 * plain-source  the same with a small parser, for runtimes that load the program anew in each isolate
 * problem       what is wrong, where, and how it is told; references to environment variables
 * schema        each key of the file: its rule, what becomes of its value, its default
 * model-schema  the same of an entry of `models`, and of limits
 * rules         what the schema is made of: rules of single values, objects whose keys are renamed
 * load          reads and checks a text as a whole
 * checks        what no schema can say: names that refer to nothing, warnings, misspelt keys
 * config        the checked configuration, the upstreams that it describes, and what a reload may change
 */
import type { InferInput, InferOutput } from 'valibot'
import { fingerprint, hash01 } from '../lib/hash.ts'
import {
  endpoints,
  upstreamNames,
  type Claim,
  type Endpoint,
  type LimitScope,
  type Upstream,
} from '../pool/upstream.ts'
import { finding, problemAt, type ConfigProblem } from './problem.ts'
import type { configSchema } from './schema.ts'
import { readSource } from './source.ts'

/** The configuration as people write it, after it was checked: names and units of the file, nothing applied. */
export type ConfigFile = InferInput<typeof configSchema>

/** A checked configuration: defaults applied, durations in ms, nothing left to parse. Never changed in place. */
export type Config = InferOutput<typeof configSchema>

/** One entry of `models`: an upstream for each of its keys. */
export type ModelConfig = Config['models'][number]

/** Where and how the gateway listens. */
export type ServerConfig = Config['server']

/** How it chooses, waits and gives up. */
export type Settings = Config['settings']

/** Keys whose change takes effect only after a restart: those of them in which two configurations differ. */
export const needsRestart = (running: Config, next: Config): string[] =>
  (['port', 'host'] as const)
    .filter((key) => running.server[key] !== next.server[key])
    .map((key) => `server.${key}`)

/**
 * Why a valid configuration, read from `text`, can't replace a running one, or undefined when it can. A token is made at
 * start only: were one made at reload, a slip of the editor would lock out every client.
 */
export function reloadProblem(next: Config, text: string, fileName: string): ConfigProblem | undefined {
  if (next.authToken !== '') return undefined
  const hint = 'write the token; one is made only at start'
  const what = finding(['auth_token'], 'is empty or missing, which a reload refuses', hint)
  return problemAt(fileName, readSource(text).positionOf(what.path), what)
}

/** One upstream for each key of each entry, disabled ones too, in the order of the file. */
export function upstreamsOf(config: Config): Upstream[] {
  const names = upstreamNames(config.models)
  return config.models
    .flatMap((model) => model.apiKeys.map((apiKey) => ({ ...model, apiKey })))
    .map((model, at) => upstreamOf({ ...model, name: names[at] ?? model.model }, config))
}

function upstreamOf(one: ModelConfig & { name: string; apiKey: string }, config: Config): Upstream {
  const { root, apiKey, model, name, groups, weight, priority, headers, enabled } = one
  const id = fingerprint(`${root}\n${apiKey}\n${model}`)
  const { origin } = new URL(root)
  // Named by fingerprints: the state is written to disk, and no key may stand there.
  const draws: LimitScope[] = [
    { scope: id, role: 'upstream', ...(one.limits && { limits: one.limits }) },
    { scope: `key ${fingerprint(`${origin}\n${apiKey}`)}`, role: 'key' },
    { scope: `origin ${origin}`, role: 'origin' },
    ...one.quotas.flatMap((quota) => {
      const limits = config.quotas[quota]
      return limits ? [{ scope: `quota ${quota}`, role: 'quota' as const, limits }] : []
    }),
  ]
  const claimFor = (endpoint: Endpoint): Claim => ({
    id,
    priority,
    draws: [...draws, { scope: `endpoint ${id} ${endpoint}`, role: 'endpoint' }],
  })
  return {
    id,
    rendezvousHash: hash01(id),
    name,
    model,
    root,
    query: one.query ?? '',
    apiKey,
    endpoints: new Set(one.endpoints ?? endpoints),
    groups,
    weight,
    priority,
    headers,
    timeoutMs: one.timeoutMs ?? config.settings.timeoutMs,
    connectTimeoutMs: config.settings.connectTimeoutMs,
    can: one.can,
    contextTokens: one.contextTokens,
    edits: one.edits,
    enabled,
    claims: Object.fromEntries(endpoints.map((each) => [each, claimFor(each)])) as Upstream['claims'],
  }
}
