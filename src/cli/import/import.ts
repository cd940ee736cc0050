/*
 * cli/import: configurations of other gateways. Each kind of file has an importer, which is loaded when such a file is
 * there; what they share is how a file is read, what is told of the rest, and what is written.
 *
 * import      `aiload import`: which kind a file is, and writing what came of it
 * document    a file as JSON, YAML or lines of variables, within limits
 * part        an object of it that knows which of its keys nobody took, and why such keys are left
 * variables   keys on their way to the environment
 * draft       what an importer makes of a file, and its text
 * addresses   where vendors are called, and who can't be reached
 * litellm     LiteLLM's config.yaml
 * channels    channels of one-api and new-api
 * gpt-load    groups and keys of gpt-load
 * uni-api     uni-api's api.yaml
 * env-file    keys of vendors as variables
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { findConfigFile } from '../../adapter/node/config-file.ts'
import { refusalOf, replaceFile } from '../../adapter/node/replace-file.ts'
import { discoveriesOf, upstreamsOf } from '../../config/upstreams.ts'
import { loadConfig } from '../../config/load.ts'
import { problemLine, recordOf, type Environment } from '../../config/problem.ts'
import { searchOf, type Command } from '../arguments.ts'
import { inTheirLanguage, say } from '../language.ts'
import { printFailure } from '../process.ts'
import { countText, shellWord } from '../terminal-text.ts'
import { readDocument, Unreadable } from './document.ts'
import { draftText, hasAddress, type Importer } from './draft.ts'
import { createReading, entryOf } from './part.ts'
import { createVariables, environmentFile } from './variables.ts'

/** More than anybody wrote; all pairs of entries are compared here and there. */
const MOST_MODELS = 10_000

interface Kind {
  readonly title: string
  readonly importer: () => Promise<Importer>
}

const kinds: Readonly<Record<NonNullable<Command['from']>, Kind>> = {
  litellm: { title: "LiteLLM's configuration", importer: async () => (await import('./litellm.ts')).liteLlm },
  'one-api': { title: "one-api's channels", importer: async () => (await import('./channels.ts')).oneApi },
  'new-api': { title: "new-api's channels", importer: async () => (await import('./channels.ts')).newApi },
  'gpt-load': { title: "gpt-load's groups", importer: async () => (await import('./gpt-load.ts')).gptLoad },
  'uni-api': {
    title: "uni-api's configuration",
    importer: async () => (await import('./uni-api.ts')).uniApi,
  },
  env: { title: 'an .env file', importer: async () => (await import('./env-file.ts')).envFile },
}

/**
 * Writes a checked configuration out of the file of another gateway, and a second file with the keys, both mode 0600.
 * What is not carried over is told on stderr, line by line. 1 when nothing was written.
 */
export async function importFile(command: Command): Promise<number> {
  const { word: source = '', out, force = false, from, 'plain-keys': isPlain = false } = command
  const target = out ?? findConfigFile(searchOf(undefined))
  const keysFile = `${target}.env`
  const document = await readDocument(source, from === 'env').catch((error: unknown) => {
    if (error instanceof Unreadable) return error.message
    throw error
  })
  if (typeof document === 'string') return printFailure(`${source} ${inTheirLanguage(document)}`)
  const name = from ?? (document.isEnvironment ? 'env' : kindOf(document.value))
  const kind = entryOf<Kind>(kinds, name)
  if (kind === undefined) return printFailure(`${source} ${inTheirLanguage(name)}`)

  const { read, otherwise, reference } = await kind.importer()
  const reading = createReading(document.value, otherwise)
  const variables = createVariables(document.text, reference, isPlain ? 'plain' : 'named')
  const draft = read(reading.root, variables)
  if (draft.models.length > MOST_MODELS)
    return printFailure(`${source} makes more than ${MOST_MODELS} models; import a part of it`)
  const models = draft.models.filter(hasAddress)
  const notCarried = reading.notCarried()
  if (notCarried.length > 0) printFailure('not carried over:', ...notCarried.map((line) => `  ${line}`))
  if (models.length === 0) return printFailure(`${source} has nothing that could be carried over`)

  const text = draftText({ ...draft, models }, kind.title, variables)
  const values = variables.valuesIn(text)
  const loaded = loadConfig(text, assumedEnvironment(text, values), target)
  for (const warning of loaded.warnings) printFailure(`warning: ${problemLine(warning)}`)
  if (!loaded.ok)
    return printFailure(
      'the new configuration would not load, and nothing was written:',
      ...loaded.problems.map((problem) => `  ${problemLine(problem)}`),
    )

  const keys = environmentFile(values)
  const files = [...(keys === '' ? [] : [[keysFile, keys] as const]), [target, text] as const]
  const there = force ? undefined : files.find(([file]) => existsSync(file))?.[0]
  if (there !== undefined)
    return printFailure(`${there} is there already; name another file with --out, or replace it with --force`)
  for (const [file, content] of files) {
    const refusal = refusalOf(() => writePrivately(file, content))
    if (refusal !== undefined) return printFailure(`${file} cannot be written (${refusal})`)
  }
  const upstreams = upstreamsOf(loaded.config)
  const lists = discoveriesOf(loaded.config).length
  const further = lists > 0 ? ` and ${countText(lists, 'list')} of models` : ''
  say(`wrote ${target}: ${countText(upstreams.length, 'upstream')}${further} from ${kind.title}`)
  const unset = [...values].filter(([, value]) => value === undefined).map(([each]) => each)
  if (keys !== '') {
    say(`wrote ${keysFile}: ${countText(values.size - unset.length, 'variable')}`)
    // A shell looks for a name without a slash in PATH.
    const path = keysFile.includes('/') ? keysFile : `./${keysFile}`
    say(`before you start it: set -a; . ${shellWord(path)}; set +a`)
  }
  if (unset.length > 0) say(`set these yourself, their values are in no file: ${unset.join(', ')}`)
  return 0
}

/** Which kind a document is by what is in it, or one sentence why that can't be said. */
function kindOf(document: unknown): string {
  const { model_list: modelList, providers, data, groups, channels } = recordOf(document)
  if (Array.isArray(modelList)) return 'litellm'
  if (Array.isArray(providers)) return 'uni-api'
  const lists = [document, data, recordOf(data)['items'], groups, channels]
  const listed = lists.find((list) => Array.isArray(list) && list.length > 0)
  const items = (Array.isArray(listed) ? listed : []).map(recordOf)
  if (items.some((item) => 'channel_type' in item)) return 'gpt-load'
  if (items.some((item) => NEW_API.some((key) => key in item))) return 'new-api'
  if (items.some((item) => ONE_API.some((key) => key in item))) return 'one-api'
  const isChannels = items.some((item) => 'type' in item && 'models' in item)
  return isChannels
    ? 'has channels that one-api and new-api both could have written; say which with --from'
    : `is none of the files that can be imported; name its kind with --from (${Object.keys(kinds).join(', ')})`
}

/** Columns that only one of the two has. */
const NEW_API = 'channel_info,auto_ban,setting,settings,param_override,header_override,other_info,tag'.split(
  ',',
)
const ONE_API = ['config', 'system_prompt']

/** Something for every variable whose value is not known, which fits where the configuration has it. */
function assumedEnvironment(text: string, values: ReadonlyMap<string, string | undefined>): Environment {
  const addresses = /"(base_url|proxy)": "\$\{(\w+)\}/g
  const placeOf = new Map(Array.from(text.matchAll(addresses), ([, place, name]) => [name, place]))
  const assumed = [...values].map(([name, value], at) => {
    const place = placeOf.get(name)
    const path = place === 'base_url' ? '/v1' : ''
    return [name, value ?? (place === undefined ? String(at + 1) : `https://host-${at}.example${path}`)]
  })
  return Object.fromEntries(assumed) as Environment
}

/** A new file, or a new content of one, that only its owner can read. */
function writePrivately(file: string, content: string): void {
  mkdirSync(dirname(file), { recursive: true })
  if (existsSync(file)) replaceFile(file, content)
  else writeFileSync(file, content, { mode: 0o600, flag: 'wx' })
}
