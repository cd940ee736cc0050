import { eventFileOf, readEvents, secretIn } from '../adapter/node/event-file.ts'
import { findConfigFile } from '../adapter/node/config-file.ts'
import { checkConfig } from '../adapter/node/open-config.ts'
import { stateFileOf } from '../adapter/node/state-file.ts'
import type { Config } from '../config/config.ts'
import { problemLine } from '../config/problem.ts'
import { durationMs } from '../lib/time.ts'
import { searchOf, type Command } from './arguments.ts'
import { inTheirLanguage, say } from './language.ts'
import { printFailure } from './process.ts'
import { countText, durationText, tableLines } from './terminal-text.ts'
import {
  LEAST_REQUESTS,
  predict,
  type Figures,
  type KnownUpstream,
  type Prediction,
} from './what-if/predict.ts'

const SINCE = '24h'

/**
 * Prints what another configuration would have made of the recorded requests, beside what the present one makes of them in
 * the same simulation and what really happened. Asks no upstream and writes nothing. 1 when there is nothing to go by.
 */
export async function printWhatIf({ config, of, since = SINCE, json }: Command): Promise<number> {
  const sinceMs = /[a-z]$/.test(since) ? durationMs(since) : undefined
  if (config === undefined) return misused('what-if needs the new configuration, such as --config new.json')
  if (sinceMs === undefined || sinceMs === 0)
    return misused(`--since is a time such as 24h, 90m or 2d, not ${JSON.stringify(since.slice(0, 60))}`)
  const next = checkConfig(searchOf(config))
  const search = { ...searchOf(of), given: of ?? process.env.AILOAD_CONFIG }
  const present = checkConfig(search)
  for (const { loaded } of [next, present])
    if (!loaded.ok) return printFailure(...loaded.problems.map(problemLine))
  if (!next.loaded.ok || !present.loaded.ok) return 1

  const file = eventFileOf(stateFileOf(present.file ?? findConfigFile(search), search.directory))
  const { segments, lost } = await readEvents(file)
  if (segments.length === 0) return printFailure(...(lost.length > 0 ? lost : [nothingText(file)]))
  const configs = { present: present.loaded.config, next: next.loaded.config }
  const prediction = await predict({
    ...configs,
    segments,
    secret: secretIn(file),
    since: Date.now() - sinceMs,
  })
  if ('count' in prediction) {
    const { count, newest } = prediction
    const last = newest === undefined ? '' : `; the newest came at ${new Date(newest).toISOString()}`
    return printFailure(
      `${file} has ${countText(count, 'request')} of the last ${durationText(sinceMs)}, and ${LEAST_REQUESTS} are needed${last}: give a longer time with --since, or wait`,
    )
  }
  const warnings = [...next.loaded.warnings.map(problemLine), ...lost, ...warningsOf(prediction, configs)]
  if (json) process.stdout.write(`${JSON.stringify({ ...prediction, warnings }, undefined, 2)}\n`)
  else printPrediction(prediction, warnings)
  return 0
}

const nothingText = (file: string): string =>
  `there are no recorded requests in ${file}; a gateway writes them there while it serves, unless settings.events.bytes is 0. The configuration of the gateway that is meant is named with --of`

function misused(line: string): number {
  printFailure(`aiload: ${line}`)
  return 2
}

function printPrediction(prediction: Prediction, warnings: readonly string[]): void {
  const { from, to, runs, recorded, upstreams } = prediction
  say(
    `${countText(recorded.requests, 'request')} from ${from} to ${to}; each configuration was simulated ${runs === 1 ? 'once' : `${runs} times`}`,
    '',
  )
  process.stdout.write(`${tableLines(rowsOf(prediction)).join('\n')}\n`)
  say('', trustText(prediction))
  const shown = upstreams.filter(
    ({ limits, at_once: atOnce, outages }) => limits.length > 0 || atOnce || outages,
  )
  if (shown.length > 0)
    say(
      'What the log shows of upstreams:',
      ...shown.map((upstream) => `  ${upstream.name}: ${behaviourText(upstream)}`),
    )
  say(...warnings.map((warning) => `warning: ${warning}`))
}

function rowsOf({ recorded, present, new: changed }: Prediction): string[][] {
  const all = [recorded, present, changed]
  const row = (label: string, cellOf: (figures: Figures) => string): string[] => [
    inTheirLanguage(label),
    ...all.map(cellOf),
  ]
  const namesIn = (members: (figures: Figures) => object): string[] => [
    ...new Set(all.flatMap((figures) => Object.keys(members(figures)))),
  ]
  return [
    ['', ...['RECORDED', 'PRESENT', 'NEW'].map(inTheirLanguage)],
    row('requests', ({ requests }) => numberText(requests)),
    row('answered', answeredText),
    ...namesIn(({ refused }) => ofWeight(refused)).map((code) =>
      row(`refused: ${code}`, ({ refused }) => numberText(refused[code] ?? 0)),
    ),
    row('upstreams at a limit', ({ limits_met: met }) => numberText(met)),
    row('upstreams that failed', ({ failures_met: met }) => numberText(met)),
    row('attempts per request', ({ attempts_per_request: attempts }) => attempts.toFixed(2)),
    row('waited for a place', ({ queued }) => percentText(queued.share)),
    row('  their wait, p50', ({ queued }) => timeText(queued.p50)),
    row('  their wait, p95', ({ queued }) => timeText(queued.p95)),
    row('first byte, p50', ({ first_byte_ms: times }) => timeText(times.p50)),
    row('first byte, p95', ({ first_byte_ms: times }) => timeText(times.p95)),
    ...namesIn(({ upstreams }) => upstreams).map((name) =>
      row(`answered by ${name}`, ({ upstreams }) => percentText(upstreams[name] ?? 0)),
    ),
  ]
}

/** Without what the mean of several runs has hardly ever. */
const ofWeight = (counts: Readonly<Record<string, number>>): object =>
  Object.fromEntries(Object.entries(counts).filter(([, count]) => count >= 0.5))

const numberText = (value: number): string => Math.round(value).toLocaleString('en-US')
const percentText = (share: number | null): string => (share === null ? '-' : `${(100 * share).toFixed(1)} %`)
const timeText = (ms: number | null): string => {
  if (ms === null) return '-'
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`
}

/** Of several runs with the lowest and the highest, where these differ. */
function answeredText({ answered_share: share, answered_range: range }: Figures): string {
  const [low, high] = (range ?? []).map((each) => (100 * each).toFixed(1))
  return low === high ? percentText(share) : `${percentText(share)} (${low}-${high})`
}

/** How far the simulation is off what it should have come to. */
const offBy = ({ recorded, present }: Prediction): number =>
  Math.abs((recorded.answered_share ?? 0) - (present.answered_share ?? 0)) * 100

/** Differences below this many points are those of dice, or of the simulation. */
function noiseOf(prediction: Prediction): number {
  const { present, new: changed } = prediction
  const spread = ({ answered_range: range }: Figures): number =>
    range === null ? 0 : 100 * (range[1] - range[0])
  return Math.max(0.1, offBy(prediction), spread(present), spread(changed))
}

const trustText = (prediction: Prediction): string =>
  `The simulation of the present configuration is ${offBy(prediction).toFixed(1)} points off what was recorded; a difference to the new one of less than ${noiseOf(prediction).toFixed(1)} points means nothing.`

const sourceWords = {
  headers: 'by its headers',
  words: 'by its words',
  refusals: 'by where its refusals fell',
} as const

function behaviourText({ limits, at_once: atOnce, outages }: KnownUpstream): string {
  return [
    ...limits.map(({ counts, limit, span_ms: spanMs, burst, source }) =>
      burst === null
        ? `at most ${numberText(limit)} ${counts} in ${durationText(spanMs)}, ${sourceWords[source]}`
        : `at most ${numberText(limit)} ${counts} in ${durationText(spanMs)} and ${numberText(burst)} of them at once, ${sourceWords[source]}`,
    ),
    ...(atOnce === null ? [] : [`at most ${atOnce} requests at once`]),
    ...(outages === 0 ? [] : [countText(outages, 'outage')]),
  ]
    .map(inTheirLanguage)
    .join('; ')
}

/** Points between what was recorded and the present configuration simulated, above which a simulation is of little use. */
const FAR_OFF = 2
const FEW_REQUESTS = 200
/** So much more than the log has seen is another matter. */
const BEYOND = 1.2

function warningsOf(prediction: Prediction, { present, next }: { present: Config; next: Config }): string[] {
  const { recorded, found, config_changes: changes, upstreams, had_affinity: hadAffinity } = prediction
  const [before, after] = [present, next].map(({ settings }) => JSON.stringify(settings.affinity))
  const isSticky = next.settings.affinity.kind !== 'off'
  return [
    ...(recorded.requests < FEW_REQUESTS
      ? [`${countText(recorded.requests, 'request')} are few: the figures are rough`]
      : []),
    ...(found > recorded.requests
      ? [`the newest ${numberText(recorded.requests)} of ${numberText(found)} requests were simulated`]
      : []),
    ...(offBy(prediction) > FAR_OFF
      ? ['the simulation does not come to what was recorded: take its figures for rough ones']
      : []),
    ...(changes > 0
      ? [
          `the configuration changed ${changes === 1 ? 'once' : `${changes} times`} in that time; what is simulated as the present one is today's`,
        ]
      : []),
    ...(before !== after && isSticky
      ? [
          hadAffinity
            ? 'settings.affinity changes: requests are taken to belong together as they did'
            : 'settings.affinity was off: nobody knows which requests belong together, and none are taken to',
        ]
      : []),
    ...upstreams.flatMap(upstreamWarnings),
  ]
}

function upstreamWarnings({ name, known_by: knownBy, like, limits, busiest_minute: busiest }: KnownUpstream) {
  if (knownBy === 'sibling')
    return [`${name} is not in the log: it is taken to be like ${like}, with limits of its own`]
  if (knownBy === 'average')
    return [
      `${name} is not in the log: it is taken to answer as all do on average, without a limit but those of the configuration`,
    ]
  return limits.length === 0 && busiest.new > busiest.log * BEYOND
    ? [
        `${name} takes up to ${busiest.new} requests a minute under the new configuration; the log has seen ${busiest.log}, and no limit`,
      ]
    : []
}
