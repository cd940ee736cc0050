import type { Candidate } from '../pool/strategy.ts'
import type { Upstream } from '../pool/upstream.ts'
import type { Endpoint } from '../pool/vocabulary.ts'
import { judged, type Block } from '../state/availability.ts'
import { latencyOf, type ScopeState } from '../state/scope-state.ts'
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
  const scopes: string[] = []
  for (const { claims } of task.upstreams)
    for (const { scope } of claims[task.endpoint].draws) scopes.push(scope)
  const states = task.store.snapshot(scopes)
  return states instanceof Promise ? states.then((known) => surveyed(task, known)) : surveyed(task, states)
}

function surveyed(task: SurveyTask, states: readonly (ScopeState | undefined)[]): Survey {
  const { endpoint, now, credits } = task
  const given = { ask: task.ask, now }
  const candidates: Candidate[] = []
  const resting: Resting[] = []
  let at = 0
  for (const upstream of task.upstreams) {
    const claim = upstream.claims[endpoint]
    const own = states.slice(at, (at += claim.draws.length))
    const found = judged(claim, own, given)
    if (!found.free) {
      resting.push({ upstream, block: found.block })
      continue
    }
    const state = own[0]
    candidates.push({
      upstream,
      inFlight: state?.inFlight ?? 0,
      latencyMs: latencyOf(state, now),
      headroom: found.headroom,
      credit: credits.get(upstream.id) ?? 0,
    })
  }
  return { candidates, resting }
}
