import { checkConfigFile, findConfigFile } from '../adapter/node/config-file.ts'
import { problemLine } from '../config/problem.ts'
import { searchOf, type Command } from './arguments.ts'

/**
 * Says in which file the client token stands, and prints it alone on stdout when asked to, so that
 * `$(aiload token --show)` works. 1 when there is none yet, or the file can't be served.
 */
export function runToken(options: Extract<Command, { name: 'token' }>): number {
  const file = findConfigFile(searchOf(options))
  const loaded = checkConfigFile(file, process.env)
  if (!loaded.ok) {
    for (const problem of loaded.problems) process.stderr.write(`${problemLine(problem)}\n`)
    return 1
  }
  const { authToken } = loaded.config
  if (authToken === '') {
    process.stderr.write(
      `auth_token in ${file} is empty; the first start makes a token and writes it there\n`,
    )
    return 1
  }
  process.stdout.write(
    options.show ? `${authToken}\n` : `the token is "auth_token" in ${file}; --show prints it\n`,
  )
  return 0
}
