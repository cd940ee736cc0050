import * as v from 'valibot'
import {
  convertTexts,
  crossCheck,
  shapeProblemsIn,
  sharedTokens,
  unknownKeysIn,
  unknownPassthrough,
  warningsFor,
} from './checks.ts'
import type { Config, ConfigFile } from './config.ts'
import { environmentProxy, PROXY_VARIABLES } from './proxy.ts'
import {
  byPosition,
  finding,
  problemAt,
  recordOf,
  substitute,
  type ConfigProblem,
  type Environment,
  type Finding,
  type Path,
} from './problem.ts'
import { presetOf } from './presets.ts'
import { configSchema } from './schema.ts'
import { readSource, type Source } from './source.ts'

/** A configuration that can be served, or everything that keeps it from being served, in the order of the file. */
type CheckedConfig =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] }

/** What became of a configuration text; warnings stand in the order of the file too. */
export type LoadedConfig = CheckedConfig & { readonly warnings: readonly ConfigProblem[] }

/**
 * Reads and checks a configuration as a whole. Pure, and never throws for what the text contains. Problems and warnings
 * repeat no value of it, nor one of `env`. `fileName` is for messages. With `config.authToken === ''` the caller makes a
 * token (start) or refuses (reload).
 */
export const loadConfig = (text: string, env: Environment, fileName: string): LoadedConfig =>
  loadSource(readSource(text), env, fileName)

/** The same of a text that was read already. */
export function loadSource(source: Source, env: Environment, fileName: string): LoadedConfig {
  if (source.syntaxErrors.length > 0) {
    const hint = 'the file is JSON; comments and trailing commas are allowed'
    const problems = source.syntaxErrors.map(({ position, message }) =>
      problemAt(fileName, position, finding([], message, hint)),
    )
    return { ok: false, problems, warnings: [] }
  }
  const {
    value: document,
    emptied,
    variables,
    findings: unset,
  } = substitute(withAddresses(source.value), env)
  const unconverted = convertTexts(document, variables)
  const { config: own, findings: unfit } = checkAgainstSchema(document)
  const { config, findings: unroutable } = withEnvironmentProxies(own, env)
  const findings = withoutConsequences([
    ...unset,
    ...(emptied.has('auth_token') ? [emptyToken] : []),
    ...unconverted,
    ...shapeProblemsIn(document),
    ...unfit,
    ...crossCheck(document),
    ...(config ? [...unknownPassthrough(config), ...sharedTokens(config)] : []),
    ...unroutable,
  ])
  const located = locatorIn(source, fileName)
  const checked: CheckedConfig =
    config !== undefined && findings.length === 0
      ? { ok: true, config }
      : { ok: false, problems: byPosition(findings.map(located)) }
  const duplicates = source.duplicates.map(({ path, position }) => {
    const message = 'stands here a second time, the last one counts'
    return problemAt(fileName, position, finding(path, message, 'keep one of them'))
  })
  const odd = [
    ...unknownKeysIn(document),
    ...(checked.ok ? warningsFor(document as ConfigFile, checked.config, emptied) : []),
  ]
  return { ...checked, warnings: byPosition([...duplicates, ...odd.map(located)]) }
}

/** The document with the address of its vendor in each entry that has none; that may refer to variables. */
function withAddresses(document: unknown): unknown {
  const { models, ...rest } = recordOf(document)
  if (!Array.isArray(models)) return document
  const addressed = models.map((entry: unknown) => {
    const { vendor, base_url: own } = recordOf(entry)
    const preset = typeof vendor === 'string' && own === undefined ? presetOf(vendor) : undefined
    return preset === undefined ? entry : { ...recordOf(entry), base_url: preset.base_url }
  })
  return { ...rest, models: addressed }
}

/** Stands for the models where nobody asks for them. */
const ANY_MODEL = { base_url: 'http://localhost/v1', model: 'any' }

/**
 * What somebody on the same machine needs to reach the gateway of a configuration: how it listens, and its token. What else
 * is wrong with the text does not matter: a gateway goes on with what it has when a change is refused.
 */
export function loadAccess(text: string, env: Environment, fileName: string): LoadedConfig {
  const source = readSource(text)
  const { auth_token = '', server = {} } = recordOf(source.value)
  const value = { auth_token, server, models: [ANY_MODEL] }
  return loadSource({ ...source, value, syntaxErrors: [] }, env, fileName)
}

/** The tokens of a configuration, whatever is wrong with its models: their variables may be those of another terminal. */
export function loadTokens(text: string, env: Environment, fileName: string): LoadedConfig {
  const source = readSource(text)
  const { auth_token = '', tokens = [] } = recordOf(source.value)
  return loadSource({ ...source, value: { auth_token, tokens, models: [ANY_MODEL] } }, env, fileName)
}

/** The proxies of the environment for those who are given none, and who goes through one that can't be used. */
function withEnvironmentProxies(config: Config | undefined, env: Environment) {
  const findings: Finding[] = []
  const isProxied = PROXY_VARIABLES.some((name) => env[name])
  if (config === undefined || config.settings.proxy !== undefined || !isProxied) return { config, findings }
  const models = config.models.map((model, at) => {
    const isOpen = model.proxy === undefined && model.enabled
    const proxy = isOpen ? environmentProxy(model.root, env) : undefined
    if (proxy === undefined) return model
    if ('kind' in proxy) return { ...model, proxy }
    findings.push({ ...proxy, path: ['models', at, 'base_url'] })
    return model
  })
  return { config: { ...config, models }, findings }
}

const locatorIn = (source: Source, file: string) => (what: Finding) =>
  problemAt(file, source.positionOf(what.path), what)

/** A token would be made and written over the reference. */
const emptyTokenHint = 'set it, or write "" to have a token made'
const emptyToken = finding(['auth_token'], 'its environment variable is empty', emptyTokenHint)

/** One problem for each place: what is wrong inside something that is wrong itself only follows from it. */
function withoutConsequences(findings: readonly Finding[]): Finding[] {
  const wrong = new Set<string>()
  return findings.filter(({ path }) => {
    const isConsequence = [...path, ''].some((_, depth) => wrong.has(JSON.stringify(path.slice(0, depth))))
    if (!isConsequence) wrong.add(JSON.stringify(path))
    return !isConsequence
  })
}

/** Checks a document against the schema, every rule of it, without ever repeating a value. */
export function checkAgainstSchema(document: unknown): { config?: Config; findings: Finding[] } {
  const result = v.safeParse(configSchema, document)
  return result.success
    ? { config: result.output, findings: [] }
    : { findings: result.issues.flatMap((issue) => findingsOf(issue)) }
}

function findingsOf(issue: v.BaseIssue<unknown>, above: Path = []): Finding[] {
  const steps = (issue.path ?? []).map(({ key }) => (typeof key === 'number' ? key : String(key)))
  const path = [...above, ...steps]
  // A list where a string or a list may stand: what is wrong in the list says more than "neither of them".
  const inside = issue.type === 'union' ? (issue.issues ?? []).filter((inner) => inner.path) : []
  if (inside.length > 0) return inside.flatMap((inner) => findingsOf(inner, path))
  const [message = '', hint = ''] = issue.message.split('\n')
  return [finding(path, message, hint)]
}
