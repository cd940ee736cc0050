import { checkConfig } from '../adapter/node/open-config.ts'
import { problemLine } from '../config/problem.ts'
import { discoveriesOf, upstreamsOf } from '../config/upstreams.ts'
import type { Upstream } from '../pool/upstream.ts'
import { searchOf, type Command } from './arguments.ts'
import { say } from './language.ts'
import { printFailure } from './process.ts'
import { countText } from './terminal-text.ts'

/**
 * Prints every problem and warning of the configuration, one line each; with `--live` what its upstreams say besides. 1 when
 * it could not be served, or not all of its upstreams have shown that they could serve, else 0. Writes no file.
 */
export async function checkFile({ config, live, spend, json }: Command): Promise<number> {
  if (spend && !live) {
    printFailure('aiload: --spend goes with --live')
    return 2
  }
  const { loaded, place, file } = checkConfig(searchOf(config))
  // Whether globs match anything only the upstreams know; `--live` asks them by itself.
  const lists =
    loaded.ok && !live && discoveriesOf(loaded.config).length > 0
      ? await (await import('./listed-models.ts')).askForLists(loaded.config)
      : undefined
  const unmatched = (lists?.unmatched ?? []).map((problem) => `${place}: ${problem}`)
  const problems = loaded.ok ? unmatched : loaded.problems.map(problemLine)
  const warnings = [...loaded.warnings.map(problemLine), ...(lists?.warnings ?? [])]
  if (!json) say(...problems, ...warnings.map((warning) => `warning: ${warning}`))
  // Loaded only where somebody is asked.
  const asked =
    loaded.ok && live
      ? await (await import('./live-check.ts')).askUpstreams(loaded.config, { spend: spend === true })
      : undefined
  const ok = loaded.ok && problems.length === 0 && asked?.ok !== false
  if (json) {
    const upstreams = asked && { upstreams: asked.upstreams }
    printExactly(JSON.stringify({ ok, file: place, problems, warnings, ...upstreams }, undefined, 2))
  } else if (asked !== undefined) printExactly(asked.lines.join('\n'))
  else if (!loaded.ok || !ok) say(countText(problems.length, 'problem'))
  else say(summaryOf(lists?.upstreams ?? upstreamsOf(loaded.config), file))
  return ok ? 0 : 1
}

function summaryOf(upstreams: readonly Upstream[], file = 'the environment'): string {
  const groups = new Set(upstreams.flatMap((upstream) => upstream.groups))
  return `OK: ${countText(upstreams.length, 'upstream')}, ${countText(groups.size, 'group')} in ${file}`
}

const printExactly = (line: string): void => void process.stdout.write(`${line}\n`)
