import type { Config } from './config.ts'
import { pathText } from './problem.ts'
import type { ConfigProblem } from './problem.ts'
import { readSource } from './source.ts'

/** The text of a configuration and the name under which messages speak of it. */
export interface NamedText {
  readonly text: string
  readonly fileName: string
}

/** Keys whose change takes effect only after a restart: those of them in which two configurations differ. */
export function needsRestart(running: Config, next: Config): string[] {
  const differs = {
    'server.port': running.server.port !== next.server.port,
    'server.host': running.server.host !== next.server.host,
    'settings.state': running.settings.state.kind !== next.settings.state.kind,
  }
  return Object.entries(differs).flatMap(([key, changed]) => (changed ? [key] : []))
}

/**
 * Why a valid configuration can't replace a running one, or undefined when it can. A token is made at start
 * only: were one made at reload, a slip of the editor would lock out every client.
 */
export function reloadProblem(next: Config, { text, fileName }: NamedText): ConfigProblem | undefined {
  if (next.authToken !== '') return undefined
  const path = ['auth_token']
  return {
    file: fileName,
    ...readSource(text).placeOf(path),
    path: pathText(path),
    message: 'is empty or missing, which a reload refuses',
    hint: 'write the token; one is made only at start',
  }
}
