import { cureOf } from '../state/availability.ts'
import { surveyOf } from '../relay/survey.ts'
import type { AppDeps } from './app-deps.ts'
import { jsonResponse } from './error-answer.ts'
import type { Setup } from './setup.ts'

/**
 * Ready while at least one upstream may take a request. One that rests for failures counts as able, since it
 * is tried anyway when nothing else is left; one whose limit reopens within `queue_timeout` does too.
 */
export async function readiness(
  setup: Setup,
  deps: AppDeps,
  headers: Record<string, string>,
): Promise<Response> {
  const why = deps.isDraining() ? 'draining' : await reasonOf(setup, deps)
  return jsonResponse({ status: why === undefined ? 'ready' : why }, why === undefined ? 200 : 503, headers)
}

/** One token, since a request without any would pass by the limits that count them. */
const SMALLEST = { inputTokens: 1, outputTokens: 0, probeMs: 0, lastResort: false }

async function reasonOf({ pools, rules }: Setup, deps: AppDeps): Promise<string | undefined> {
  const enabled = pools.upstreams.filter((upstream) => upstream.enabled)
  if (enabled.length === 0) return 'no upstream is enabled'
  const now = deps.clock.now()
  const { candidates, resting } = await surveyOf({
    upstreams: enabled,
    endpoint: 'chat',
    ask: SMALLEST,
    now,
    credits: deps.traffic.credits,
    store: deps.store,
  })
  const isAble = resting.some(
    ({ block }) => cureOf(block) !== 'wait' || block.until <= now + rules.queueTimeoutMs,
  )
  return candidates.length > 0 || isAble ? undefined : 'all upstreams are out of quota'
}
