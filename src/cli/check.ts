import { checkConfigFile, findConfigFile } from '../adapter/node/config-file.ts'
import type { Config } from '../config/config.ts'
import { problemLine } from '../config/problem.ts'
import { upstreamsOf } from '../config/upstreams.ts'
import { countText, searchOf, type Located } from './arguments.ts'

/** Prints every problem and warning of the configuration, one line each. 1 when it could not be served, else 0. Writes no file. */
export function checkFile(options: Located): number {
  const file = findConfigFile(searchOf(options))
  const loaded = checkConfigFile(file, process.env)
  const problems = loaded.ok ? [] : loaded.problems
  for (const problem of problems) say(problemLine(problem))
  for (const warning of loaded.warnings) say(`warning: ${problemLine(warning)}`)
  say(loaded.ok ? `OK: ${summary(loaded.config)} in ${file}` : countText(problems.length, 'problem'))
  return loaded.ok ? 0 : 1
}

function summary(config: Config): string {
  const upstreams = upstreamsOf(config)
  const groups = new Set(upstreams.flatMap((upstream) => upstream.groups))
  return `${countText(upstreams.length, 'upstream')}, ${countText(groups.size, 'group')}`
}

const say = (line: string): void => void process.stdout.write(`${line}\n`)
