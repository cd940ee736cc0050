import type { Violation } from './oracle.ts'
import {
  scenarioOf,
  scenarioText,
  type GoodAnswer,
  type Range,
  type Scenario,
  type Script,
} from './scenario.ts'

/** Plays a scenario and tells what was wrong. */
export type Play = (scenario: Scenario) => Promise<readonly Violation[]>

/** Counter-examples of one kind. */
export interface Group {
  readonly kind: string
  count: number
  /** The first of them. */
  readonly scenario: Scenario
  readonly detail: string
}

/** Plays the scenarios of `count` seeds from `from` on, and groups what went wrong, the most frequent first. */
export async function explore(
  task: { readonly from: number; readonly count: number; readonly range?: Range; readonly atOnce?: number },
  playOut: Play,
): Promise<Group[]> {
  const { from, count, range = 'all', atOnce = 1 } = task
  const groups = new Map<string, Group>()
  let seed = from
  async function playOn(): Promise<void> {
    while (seed < from + count) {
      const scenario = scenarioOf(seed++, range)
      for (const { kind, detail } of await playOut(scenario)) {
        const group = groups.get(kind)
        if (group === undefined) groups.set(kind, { kind, detail, scenario, count: 1 })
        else group.count += 1
      }
    }
  }
  await Promise.all(Array.from({ length: atOnce }, playOn))
  return [...groups.values()].sort((a, b) => b.count - a.count)
}

/** The smallest scenario found that breaks the promise in the same way. */
async function shrunk(scenario: Scenario, kind: string, playOut: Play): Promise<Scenario> {
  let smallest = scenario
  for (let isSmaller = true; isSmaller;) {
    isSmaller = false
    for (const simpler of simplerThan(smallest)) {
      const found = await playOut(simpler)
      if (!found.some((one) => one.kind === kind)) continue
      smallest = simpler
      isSmaller = true
      break
    }
  }
  return smallest
}

const CALM = {
  strategy: 'in_order',
  affinity: 'off',
  heartbeat: 0,
  maxAttempts: undefined,
  isBudgetSpent: false,
  again: 'never',
  requested: 'auto',
  need: undefined,
} as const satisfies Partial<Scenario>
const PLAIN: Partial<Script & GoodAnswer> = {
  delay: 0,
  label: 'right',
  preamble: [],
  content: 'text',
  framing: 'blank-line',
  ending: 'done',
  pieceBytes: 0,
  isPadded: false,
}
const GOOD = { does: 'answer', ...PLAIN } as Script

/** One step simpler each. */
function* simplerThan(scenario: Scenario): Generator<Scenario> {
  const { upstreams } = scenario
  for (const index of upstreams.keys())
    if (upstreams.length > 1)
      yield { ...scenario, upstreams: upstreams.filter((_, other) => other !== index) }
  for (const [name, value] of Object.entries(CALM))
    if (scenario[name as keyof typeof CALM] !== value) yield { ...scenario, [name]: value }
  const changed = (index: number, change: object): Scenario => ({
    ...scenario,
    upstreams: upstreams.map((one, at) => (at === index ? { ...one, ...change } : one)),
  })
  for (const [index, { script, priority, weight, timeoutMs, key }] of upstreams.entries()) {
    if (JSON.stringify(script) !== JSON.stringify(GOOD)) yield changed(index, { script: GOOD })
    if (script.does === 'lack') yield changed(index, { script: { ...script, does: 'answer' } })
    if (priority !== 0) yield changed(index, { priority: 0 })
    if (weight !== 1) yield changed(index, { weight: 1 })
    if (timeoutMs !== undefined) yield changed(index, { timeoutMs: undefined })
    if (key !== `key-u${index}`) yield changed(index, { key: `key-u${index}` })
    const details: Readonly<Record<string, unknown>> = { ...script }
    for (const [name, value] of Object.entries(PLAIN)) {
      if (details[name] === undefined || JSON.stringify(details[name]) === JSON.stringify(value)) continue
      yield changed(index, { script: { ...script, [name]: value } })
    }
  }
}

/**
 * What a reader needs of the counter-examples: a line for each kind, and the smallest scenario of the first few, which the
 * environment `variable` plays again.
 */
export async function reportOf(
  groups: readonly Group[],
  playOut: Play,
  { most = 5, variable = 'PROMISE_SEED' }: { readonly most?: number; readonly variable?: string } = {},
): Promise<string> {
  const texts: string[] = []
  for (const [nth, { kind, count, scenario, detail }] of groups.entries()) {
    texts.push(`${count} x ${kind}`)
    if (nth >= most) continue
    const small = await shrunk(scenario, kind, playOut)
    const found = (await playOut(small)).find((one) => one.kind === kind)
    texts.push(
      `    ${found?.detail ?? detail}\n    ${variable}=${scenario.seed}, made small:\n${scenarioText(small)}`,
    )
  }
  return texts.join('\n')
}
