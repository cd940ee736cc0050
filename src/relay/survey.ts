import type { Candidate } from '../pool/strategy.ts'
import type { Upstream } from '../pool/upstream.ts'
import type { Endpoint } from '../pool/vocabulary.ts'
import { judged, type Block } from '../state/availability.ts'
import { latencyOf } from '../state/scope-state.ts'
import type { Standing } from '../state/standing.ts'
import type { Ask, StateStore } from '../state/store.ts'

/** An upstream that may not take the request now, and why. */
export interface Resting {
  readonly upstream: Upstream
  readonly block: Block
}

/** Who of a pool may take a request now, and what keeps the others. */
export interface Survey {
  readonly candidates: readonly Candidate[]
  readonly resting: readonly Resting[]
}

/** What a survey looks at. */
export interface SurveyTask {
  readonly upstreams: readonly Upstream[]
  readonly endpoint: Endpoint
  readonly ask: Ask
  readonly now: number
  readonly credits: ReadonlyMap<string, number>
  readonly store: StateStore
}

/** Looks at every upstream once, with one question to the store. */
export function surveyOf(task: SurveyTask): Survey | Promise<Survey> {
  const known = task.store.standings(task.upstreams.map(({ claims }) => claims[task.endpoint]))
  return known instanceof Promise
    ? known.then((standings) => surveyed(task, standings))
    : surveyed(task, known)
}

function surveyed(task: SurveyTask, standings: readonly Standing[]): Survey {
  const { endpoint, now, credits } = task
  const given = { ask: task.ask, now }
  const candidates: Candidate[] = []
  const resting: Resting[] = []
  for (let at = 0; at < standings.length; at++) {
    const upstream = task.upstreams[at]
    const standing = standings[at]
    if (upstream === undefined || standing === undefined) continue
    const found = judged(upstream.claims[endpoint], standing, given)
    if (!found.free) {
      resting.push({ upstream, block: found.block })
      continue
    }
    const [state] = standing.states
    candidates.push({
      upstream,
      inFlight: state?.inFlight ?? 0,
      latencyMs: latencyOf(state, now),
      headroom: found.headroom,
      credit: credits.size === 0 ? 0 : (credits.get(upstream.id) ?? 0),
    })
  }
  return { candidates, resting }
}
