import { expect, test } from 'vitest'
import { createDice } from '../support/dice.ts'
import {
  allowedEnds,
  askedOf,
  deadlineOf,
  durationOf,
  judge,
  reachableOf,
  readingsInTime,
  stopAfter,
  type ClientView,
  type Course,
} from './oracle.ts'
import { scenarioOf, scenarioText, type Scenario, type Script } from './scenario.ts'
import type { Verdict } from './verdict.ts'
import { markOf, wholeText, type Asked } from './scripts.ts'

const GOOD = {
  does: 'answer',
  delay: 0,
  label: 'right',
  preamble: [],
  content: 'text',
  framing: 'blank-line',
  ending: 'done',
  pieceBytes: 0,
  isPadded: false,
} as const satisfies Script
const says = (status: number, meaning: 'plain' | 'rate' | 'broken'): Script => ({
  does: 'refuse',
  delay: 0,
  label: 'right',
  status,
  meaning,
  shape: 'envelope',
  words: 0,
  hint: 'none',
})
const LIMITED = says(429, 'rate')
const FAILED = says(500, 'broken')
const PICKY = says(422, 'plain')
const AWAY: Script = { does: 'fail', delay: 0, label: 'right', how: 'not-sent' }

const poolOf = (...scripts: readonly Script[]): Scenario => ({
  ...scenarioOf(1),
  endpoint: 'chat',
  stream: false,
  requested: 'auto',
  need: undefined,
  heartbeat: 0,
  maxAttempts: undefined,
  isBudgetSpent: false,
  again: 'never',
  upstreams: scripts.map((script, index) => ({
    host: index,
    model: index,
    key: `key-u${index}`,
    priority: 0,
    weight: 1,
    timeoutMs: undefined,
    script,
  })),
})
const asking = (client: Partial<ClientView>, ...order: readonly number[]): Course => ({
  asks: order.map((upstream) => ({ upstream, at: 0 })),
  endedAt: 0,
  client: {
    status: 200,
    headers: { 'content-type': 'application/json', 'retry-after': '1' },
    text: '',
    broke: false,
    ...client,
  },
})
const answerOf = (index: number): { text: string } => {
  const asked: Asked = askedOf(poolOf(GOOD, GOOD, GOOD, GOOD), index)
  return { text: wholeText(GOOD, asked) }
}
const ours = (status: number, code: string): Partial<ClientView> => ({
  status,
  text: JSON.stringify({ error: { message: 'm', type: 't', param: null, code } }),
})

test.each<[what: string, scenario: Scenario, course: Course]>([
  ['the only upstream answers', poolOf(GOOD), asking(answerOf(0), 0)],
  ['a limited one is passed by', poolOf(LIMITED, GOOD), asking(answerOf(1), 0, 1)],
  [
    'three fail and a fourth is spared',
    poolOf(FAILED, FAILED, FAILED, GOOD),
    asking(ours(502, 'upstream_error'), 0, 1, 2),
  ],
  ['limits win over the last failure', poolOf(LIMITED, AWAY), asking(ours(429, 'rate_limit_exceeded'), 0, 1)],
  ['nobody is there', poolOf(AWAY, AWAY), asking(ours(502, 'upstream_unavailable'), 1, 0)],
])('the oracle has nothing against it: %s', (_, scenario, course) => {
  expect(judge(scenario, course)).toEqual([])
})

test.each<[kind: RegExp, scenario: Scenario, course: Course]>([
  [/who would have answered, after 429/, poolOf(LIMITED, GOOD), asking(ours(429, 'rate_limit_exceeded'), 0)],
  [
    /nobody else is asked after not-sent/,
    poolOf(AWAY, LIMITED),
    asking(ours(502, 'upstream_unavailable'), 0),
  ],
  [/asked twice/, poolOf(LIMITED, GOOD), asking(answerOf(1), 0, 0, 1)],
  [/asked after an answer/, poolOf(GOOD, GOOD), asking(answerOf(1), 0, 1)],
  [/three attempts have failed/, poolOf(FAILED, FAILED, FAILED, GOOD), asking(answerOf(3), 0, 1, 2, 3)],
  [/three have refused/, poolOf(PICKY, PICKY, PICKY, GOOD), asking(answerOf(3), 0, 1, 2, 3)],
  [/not its bytes/, poolOf(GOOD), asking({ text: answerOf(0).text.slice(1) }, 0)],
  [/not its bytes/, poolOf(LIMITED, GOOD), asking({ text: `${markOf(0)}${answerOf(1).text}` }, 0, 1)],
  [/status 502, not 429/, poolOf(LIMITED), asking(ours(502, 'upstream_error'), 0)],
  [/no retry-after/, poolOf(LIMITED), asking({ ...ours(429, 'rate_limit_exceeded'), headers: {} }, 0)],
  [/broke off/, poolOf(GOOD), asking({ ...answerOf(0), broke: true }, 0)],
  [
    /labelled text\/plain/,
    poolOf(GOOD),
    asking({ ...answerOf(0), headers: { 'content-type': 'text/plain' } }, 0),
  ],
  [/not its bytes/, poolOf(PICKY), asking(ours(422, 'invalid_value'), 0)],
  [/no end/, poolOf(GOOD), { ...asking({}, 0), client: undefined }],
])('the oracle sees it: %s', (kind, scenario, course) => {
  expect(judge(scenario, course).map((one) => one.kind)).toEqual([expect.stringMatching(kind)])
})

test('the oracle sees a tier that is skipped', () => {
  const pool = poolOf(AWAY, LIMITED, GOOD)
  const upstreams = pool.upstreams.map((one, index) => ({ ...one, priority: index }))
  expect(judge({ ...pool, upstreams }, asking(answerOf(2), 0, 2))).toEqual([
    { kind: 'a tier is skipped', detail: 'u0 u2' },
  ])
})

test('a scenario follows from its seed alone', () => {
  expect(scenarioOf(7)).toEqual(scenarioOf(7))
  expect(scenarioOf(7)).not.toEqual(scenarioOf(8))
})

/** A gateway that does what the contract says and nothing else, with dice where the contract leaves a choice. */
function idealCourse(scenario: Scenario): Course {
  const dice = createDice(scenario.seed)
  const oneOf = <T>(list: readonly T[]): T => list[Math.floor(dice() * list.length)]!
  const asks: { upstream: number; at: number }[] = []
  const verdicts: Verdict[] = []
  let at = 0
  const course = (): Course => ({ asks, endedAt: at, client: undefined })
  for (;;) {
    const asked = new Set(asks.map(({ upstream }) => upstream))
    const left = reachableOf(scenario, course(), undefined).filter((index) => !asked.has(index))
    const lowest = Math.min(...left.map((index) => scenario.upstreams[index]!.priority))
    const tier = left.filter((index) => scenario.upstreams[index]!.priority === lowest)
    // After a refused body those that are like the refuser in nothing come first.
    const refuser =
      verdicts.at(-1)?.row === 'refused-body' ? scenario.upstreams[asks.at(-1)!.upstream] : undefined
    const isOther = (index: number): boolean =>
      scenario.upstreams[index]!.model !== refuser?.model && scenario.upstreams[index]!.host !== refuser?.host
    const others = tier.filter(isOther)
    if (tier.length === 0) break
    const upstream = oneOf(others.length > 0 ? others : tier)
    asks.push({ upstream, at })
    const { script } = scenario.upstreams[upstream]!
    const { earliest } = deadlineOf(scenario, course(), asks.length - 1)
    at = Math.min(at + durationOf(script, askedOf(scenario, upstream)), earliest)
    const verdict = oneOf(readingsInTime(scenario, course(), asks.length - 1))
    if (verdict.row === 'broken' || verdict.row === 'answer')
      at = asks.at(-1)!.at + script.delay * askedOf(scenario, upstream).timeoutMs
    verdicts.push(verdict)
    if (verdict.row === 'answer' || verdict.row === 'broken') break
    const { must, may } = stopAfter(scenario, course(), verdicts, asks.length - 1)
    if (must !== undefined || (may !== undefined && dice() < 0.5)) break
  }
  const { end, by } = oneOf(allowedEnds(scenario, course(), verdicts))
  const { statuses, exact, words, codes = ['upstream_error'] } = end
  const last = verdicts.at(-1)!
  const error = { message: 'm', type: 't', param: null, code: codes[0] }
  const own = words === undefined ? JSON.stringify({ error }) : words
  const text =
    last.row === 'broken' && last.cutAtBoundary
      ? `${own}data: ${JSON.stringify({ error })}\n\n`
      : (exact ?? own)
  expect(by).toBeLessThan(scenario.upstreams.length)
  const type = scenario.stream ? 'text/event-stream' : 'application/json'
  const headers = { 'content-type': type, 'retry-after': '1', 'x-should-retry': 'false' }
  const broke = last.row === 'broken' && last.cutAtBoundary !== true
  return { asks, endedAt: at, client: { status: statuses[0]!, headers, text, broke } }
}

test('the oracle has nothing against a gateway that does what the contract says', () => {
  for (let seed = 1; seed <= 5_000; seed++) {
    const scenario = scenarioOf(seed)
    const course = idealCourse(scenario)
    const found = judge(scenario, course)
    if (found.length > 0) expect([scenarioText(scenario), course, found]).toEqual([])
  }
})
