import { checkConfig, readAccess } from '../adapter/node/config-file.ts'
import { problemLine } from '../config/problem.ts'
import { upstreamsOf } from '../config/upstreams.ts'
import { countText, searchOf, type Command } from './arguments.ts'
import { printFailure } from './process.ts'

/** Prints every problem and warning of the configuration, one line each. 1 when it could not be served, else 0. Writes no file. */
export function checkFile({ config }: Command): number {
  const { loaded, place } = checkConfig(searchOf(config))
  const problems = loaded.ok ? [] : loaded.problems
  for (const problem of problems) say(problemLine(problem))
  for (const warning of loaded.warnings) say(`warning: ${problemLine(warning)}`)
  if (!loaded.ok) {
    say(countText(problems.length, 'problem'))
    return 1
  }
  const upstreams = upstreamsOf(loaded.config)
  const groups = new Set(upstreams.flatMap((upstream) => upstream.groups))
  say(`OK: ${countText(upstreams.length, 'upstream')}, ${countText(groups.size, 'group')} in ${place}`)
  return 0
}

/**
 * Says in which file the client token stands, and prints it alone on stdout when asked to, so that
 * `$(aiload token --show)` works; of several the first. 1 when there is none yet, or the file can't be
 * read; whether it could be served does not matter.
 */
export function tellToken({ config, show }: Command): number {
  const { loaded, tokenPlace } = readAccess(searchOf(config))
  if (!loaded.ok) return printFailure(...loaded.problems.map(problemLine))
  const [token] = loaded.config.authTokens
  if (token === undefined)
    return printFailure(`there is no token yet; the first start makes one, which is then ${tokenPlace}`)
  say(show === true ? token : `the token is ${tokenPlace}; --show prints it`)
  return 0
}

const say = (line: string): void => void process.stdout.write(`${line}\n`)
