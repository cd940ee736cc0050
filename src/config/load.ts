import { adviceOn } from './advice.ts'
import type { Config } from './config.ts'
import type { Environment } from './environment.ts'
import { inOrder, pathText, type ConfigProblem } from './problem.ts'
import { readConfig, type SeenText } from './read.ts'
import { readSource } from './source.ts'
import { unknownKeysIn } from './unknown-keys.ts'

/** What became of a configuration text: a whole configuration, or everything that is wrong with it. */
export type LoadedConfig =
  | { readonly ok: true; readonly config: Config; readonly warnings: readonly ConfigProblem[] }
  | {
      readonly ok: false
      readonly problems: readonly ConfigProblem[]
      readonly warnings: readonly ConfigProblem[]
    }

/**
 * Reads and checks a configuration as `readConfig` does, and warns of what is allowed but not meant. Warnings stand
 * in the order of the file too. With `config.authToken === ''` the caller makes a token (start) or refuses (reload).
 * `fileName` is for messages.
 */
export function loadConfig(text: string, env: Environment, fileName: string): LoadedConfig {
  const read = readConfig(readSource(text), env, fileName)
  const odd = read.seen ? oddKeys(read.seen, fileName) : []
  if (!read.ok) return { ok: false, problems: read.problems, warnings: inOrder(odd) }
  const advice = adviceOn(read.accepted).map(read.seen.told)
  return { ok: true, config: read.config, warnings: inOrder([...odd, ...advice]) }
}

const oddKeys = ({ document, duplicates, told }: SeenText, file: string): ConfigProblem[] => [
  ...duplicates.map(({ path, place }) => ({
    file,
    ...place,
    path: pathText(path),
    message: 'stands here a second time, the last one counts',
    hint: 'keep one of them',
  })),
  ...unknownKeysIn(document).map(told),
]
