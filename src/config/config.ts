/*
 * config: from the text of a file to a checked configuration. Every mistake is told at once, with its line, its path and
 * what would be right, and never with a value, since any of them may be a secret.
 *
 * source        the text: JSON with comments, and where each part of it stands
 * rewrite       changes in the text that leave comments and order as they are
 * edit          what GET /admin/config shows of a text, and what its edits make of it
 * shown         a text without its secrets, and what comes back of that
 * plain-source  the same with a small parser, for runtimes that load the program anew in each isolate
 * problem       what is wrong, where, and how it is told; references to environment variables
 * schema        each key of the file: its rule, what becomes of its value, its default
 * model-schema  the same of an entry of `models`, and of limits
 * token-schema  the same of an entry of `tokens`, and of addresses
 * proxy         proxies of the configuration and of the environment, and who is exempt
 * route-limits  what of proxies and certificates a runtime can't do
 * rules         what the schema is made of: rules of single values, objects whose keys are renamed
 * load          reads and checks a text as a whole
 * checks        what no schema can say: names that refer to nothing, warnings, misspelt keys
 * presets       what is known of vendors beforehand
 * config        the checked configuration, and what a reload may change
 * upstreams     the upstreams that it describes
 * traces        where traces go, by the configuration or the environment
 * environment   a configuration of the keys that are in the environment
 */
import type { InferInput, InferOutput } from 'valibot'
import { finding, problemAt, type ConfigProblem } from './problem.ts'
import type { configSchema } from './schema.ts'
import type { Source } from './source.ts'

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
 * Why a valid configuration, read from `source`, can't replace a running one, or undefined when it can. A token is made at
 * start only: were one made at reload, a slip of the editor would lock out every client.
 */
export function reloadProblem(next: Config, source: Source, fileName: string): ConfigProblem | undefined {
  if (next.authTokens.length > 0) return undefined
  const hint = 'write the token; one is made only at start'
  const what = finding(['auth_token'], 'is empty or missing, which a reload refuses', hint)
  return problemAt(fileName, source.positionOf(what.path), what)
}
