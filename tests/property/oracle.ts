import { TIMEOUT_MS, modelOf, nameOf, type GoodAnswer, type Scenario, type Script } from './scenario.ts'
import { markOf, type Asked } from './scripts.ts'
import { readingsOf, timedOut, type End, type Verdict } from './verdict.ts'

/** One request as it went. Times are ms since the scenario began. */
export interface Course {
  readonly asks: readonly { readonly upstream: number; readonly at: number }[]
  readonly endedAt: number
  /** Undefined where the client never got an end. */
  readonly client: ClientView | undefined
}

export interface ClientView {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  /** The connection broke off. */
  readonly broke: boolean
}

/** A broken promise. The same kind of fault has the same `kind`. */
export interface Violation {
  readonly kind: string
  readonly detail: string
}

/** What an earlier request of the scenario has left behind. */
export interface Past {
  /** Upstreams that may rest: the promise does not reach them until then. */
  readonly resting: ReadonlySet<number>
  /** Who answered the conversation. */
  readonly stuckTo: number | undefined
}

/** Attempts that may have cost work, and refusals of a body: so many in all. */
const MOST_IN_ALL = 3

export const askedOf = (scenario: Scenario, index: number): Asked => ({
  endpoint: scenario.endpoint,
  stream: scenario.stream,
  need: scenario.need,
  mark: markOf(index),
  timeoutMs: scenario.upstreams[index]!.timeoutMs ?? TIMEOUT_MS,
})

/**
 * What is wrong with the course of a request; nothing where the promise was kept.
 *
 * The order of the upstreams is taken as it was, dice and all: the oracle walks along and asks at every step whether the
 * contract lets the gateway go on, or stop. Where the contract can be read in several ways, one of them must fit.
 */
export function judge(scenario: Scenario, course: Course, past?: Past): readonly Violation[] {
  const readings = course.asks.map((_, nth) => readingsInTime(scenario, course, nth))
  let best: readonly Violation[] | undefined
  for (const verdicts of combinations(readings)) {
    const found = walk(scenario, course, verdicts, past)
    if (found.length === 0) return found
    if (best === undefined || found.length < best.length) best = found
  }
  return best ?? []
}

/** The readings with which the fewest rules are broken, for what must be known after a request. */
export function verdictsOf(scenario: Scenario, course: Course): readonly (readonly Verdict[])[] {
  return course.asks.map((_, nth) => readingsInTime(scenario, course, nth))
}

function* combinations(readings: readonly (readonly Verdict[])[]): Generator<readonly Verdict[]> {
  const [first, ...rest] = readings
  if (first === undefined) return void (yield [])
  for (const verdict of first) for (const others of combinations(rest)) yield [verdict, ...others]
}

// ---- time

/** The last moment for a first content: twice the largest timeout of those asked. */
export function deadlineOf(
  scenario: Scenario,
  { asks }: Course,
  upTo: number,
): { earliest: number; latest: number } {
  const own = asks.slice(0, upTo + 1).map(({ upstream }) => askedOf(scenario, upstream).timeoutMs)
  const begun = asks[0]?.at ?? 0
  const longest = Math.max(0, ...own)
  // Whether the timeout of the settings counts where nobody asked has it, the contract leaves open.
  return { earliest: begun + 2 * longest, latest: begun + 2 * Math.max(longest, TIMEOUT_MS) }
}

/** How long an attempt may take until it has failed or begun to answer, ms. */
export function durationOf(script: Script, { timeoutMs, stream }: Asked): number {
  const headMs = script.delay * timeoutMs
  if (script.does === 'fail') return script.how === 'silence' ? timeoutMs : 0
  if (script.does === 'chatter') return timeoutMs
  // From `[DONE]` on a stream owes nothing, so its silence costs nothing.
  if (script.does !== 'cut' || script.how !== 'silence') return headMs
  // A stream has its timeout until the first content; a whole answer may be silent for so long between its pieces.
  return stream ? timeoutMs : headMs + timeoutMs
}

export function readingsInTime(scenario: Scenario, course: Course, nth: number): readonly Verdict[] {
  const { upstream, at } = course.asks[nth]!
  const { script } = scenario.upstreams[upstream]!
  const asked = askedOf(scenario, upstream)
  const readings = readingsOf(script, asked)
  const { earliest, latest } = deadlineOf(scenario, course, nth)
  const failsAt = at + durationOf(script, asked)
  const beginsAt = at + script.delay * asked.timeoutMs
  return readings.flatMap((verdict) => {
    const until = verdict.row === 'broken' || verdict.row === 'answer' ? beginsAt : failsAt
    if (until > latest + 1) return [timedOut]
    return until >= earliest - 1 ? [verdict, timedOut] : [verdict]
  })
}

// ---- who may be asked

/** The pool of the request. */
function poolOf({ upstreams, requested }: Scenario): number[] {
  const all = upstreams.map((_, index) => index)
  return requested === 'auto' ? all : all.filter((index) => modelOf(upstreams[index]!) === requested)
}

/** Those of the pool that the promise reaches: vectors of two models do not mix, so embeddings have one model. */
export function reachableOf(scenario: Scenario, { asks }: Course, past: Past | undefined): number[] {
  const pool = poolOf(scenario)
  if (scenario.endpoint !== 'embeddings') return pool
  // Later requests may take the next listed model, if the first has said that it has no embeddings.
  const first = past === undefined ? pool[0] : (asks[0]?.upstream ?? pool[0])
  return pool.filter((index) => scenario.upstreams[index]!.model === scenario.upstreams[first!]!.model)
}

// ---- the walk

function walk(
  scenario: Scenario,
  course: Course,
  verdicts: readonly Verdict[],
  past: Past | undefined,
): readonly Violation[] {
  const { asks, client } = course
  const { upstreams } = scenario
  const found: Violation[] = []
  const order = asks.map(({ upstream }) => upstream)
  const add = (kind: string, detail = ''): void => void found.push({ kind, detail })
  const scriptAt = (nth: number): string => scriptKind(upstreams[order[nth]!]!.script, scenario)

  const pool = poolOf(scenario)
  const reachable = reachableOf(scenario, course, past)
  if (new Set(order).size < order.length) add('an upstream is asked twice', order.map(nameOf).join(' '))
  for (const [nth, index] of order.entries()) {
    if (!pool.includes(index)) add('an upstream outside of the pool is asked', nameOf(index))
    else if (!reachable.includes(index)) {
      const model = upstreams[index]!.model
      const others = verdicts.slice(0, nth).filter((_, at) => upstreams[order[at]!]!.model !== model)
      // A 404 may be the endpoint's or the model's: with `auto` nobody asked for just that one.
      const haveNone = others.some(({ isNoEndpoint, isNoModel }) => isNoEndpoint || isNoModel)
      if (!haveNone) add('an embedding goes to another model', nameOf(index))
    }
  }
  if (past?.stuckTo !== undefined && order[0] !== past.stuckTo)
    add(
      'a conversation leaves the upstream that answered it',
      `${nameOf(past.stuckTo)}, then ${order.map(nameOf).join(' ')}`,
    )
  if (past === undefined) for (const detail of tiersSkipped(scenario, order, verdicts)) add(...detail)

  for (const [nth, { at }] of asks.entries()) {
    const verdict = verdicts[nth]!
    const isLast = nth === asks.length - 1
    // An upstream's own no, to this request for its key or to an earlier one, holds until its time is over.
    const keys = new Set(
      order.filter((_, at) => at <= nth && verdicts[at]!.restsKey).map((index) => upstreams[index]!.key),
    )
    const owed = reachable.filter(
      (index) =>
        !order.slice(0, nth + 1).includes(index) &&
        // Where the first listed model has no embeddings and the next was taken, nobody goes back.
        (scenario.endpoint !== 'embeddings' || upstreams[index]!.model === upstreams[order[nth]!]!.model) &&
        !past?.resting.has(index) &&
        !keys.has(upstreams[index]!.key),
    )
    const isSettled = verdict.row === 'answer' || verdict.row === 'broken'
    const endedAt = asks[nth + 1]?.at ?? course.endedAt
    const asked = askedOf(scenario, order[nth]!)
    const expected = durationOf(upstreams[order[nth]!]!.script, asked)
    // With nobody else left bytes that come hold the attempt open for longer.
    const most = owed.length === 0 ? Math.max(expected, 4 * asked.timeoutMs) : expected
    if (verdict.row === 'answer' && isLast && endedAt - at > expected + 1)
      add(`an answer is held up: ${scriptAt(nth)}`, `${endedAt - at} ms, not ${expected}`)
    if (!isSettled && endedAt - at > most + 1)
      add(`an attempt lasts too long: ${scriptAt(nth)}`, `${endedAt - at} ms, not ${most}`)
    const stop = stopAfter(scenario, course, verdicts, nth)
    if (!isLast) {
      if (isSettled) add(`another is asked after an answer: ${scriptAt(nth)}`, nameOf(order[nth]!))
      else if (stop.must !== undefined)
        add(`another is asked although ${stop.must}`, `after ${scriptAt(nth)}`)
      continue
    }
    if (isSettled || stop.must !== undefined || stop.may !== undefined) continue
    const able = owed.filter((index) =>
      readingsOf(upstreams[index]!.script, askedOf(scenario, index)).some(({ row }) => row === 'answer'),
    )
    const whom = owed.map(nameOf).join(' ')
    if (able.length > 0) add(`nobody else is asked, who would have answered, after ${scriptAt(nth)}`, whom)
    else if (owed.length > 0) add(`nobody else is asked after ${scriptAt(nth)}`, whom)
  }

  if (client === undefined) add('the client gets no end')
  else if (order.length > 0) {
    const wrong = wrongEnd(scenario, course, verdicts, client, past)
    if (wrong !== undefined) add(wrong, `${client.status} ${JSON.stringify(client.text.slice(0, 300))}`)
  } else if ((past?.resting.size ?? 0) === 0) add('nobody is asked at all', `${client.status} ${client.text}`)
  return found
}

/** Whether a named cap ends the walk after this attempt: it must, or it may. */
export function stopAfter(
  scenario: Scenario,
  course: Course,
  verdicts: readonly Verdict[],
  nth: number,
): { must?: string; may?: string } {
  const soFar = verdicts.slice(0, nth + 1)
  const count = (row: Verdict['row']): number => soFar.filter((one) => one.row === row).length
  const { row } = soFar[nth]!
  const endedAt = course.asks[nth + 1]?.at ?? course.endedAt
  const { earliest, latest } = deadlineOf(scenario, course, nth)
  if (scenario.maxAttempts !== undefined && nth + 1 >= scenario.maxAttempts)
    return { must: '`max_attempts` are made' }
  if (endedAt >= latest) return { must: 'twice the timeout is over' }
  if (count('ambiguous') >= MOST_IN_ALL)
    return { must: 'three attempts have failed in a way that may have cost work' }
  if (count('refused-body') >= MOST_IN_ALL) return { must: 'three have refused the body' }
  if (scenario.isBudgetSpent && (row === 'ambiguous' || row === 'refused-body'))
    return { must: 'the retry budget is spent' }
  if (count('empty') >= 2 && row === 'empty') return { must: 'a further answer was empty too' }
  if (count('other-form') >= 2 && row === 'other-form')
    return { must: 'a further answer has the other form too' }
  // One further is one further, whatever became of it; that the walk goes on after a failure of another class is no
  // breach either (section 6 says so of refused bodies).
  const firstWithout = soFar.findIndex((one) => one.row === 'empty' || one.row === 'other-form')
  if (firstWithout >= 0 && nth > firstWithout)
    return { may: 'one further was asked after an answer that is none' }
  if (endedAt >= earliest - 1) return { may: 'twice the timeout of those asked is over' }
  return {}
}

function tiersSkipped(
  { upstreams, endpoint }: Scenario,
  order: readonly number[],
  verdicts: readonly Verdict[],
): [kind: string, detail: string][] {
  const found: [string, string][] = []
  for (let nth = 1; nth < order.length; nth++) {
    const before = new Set(order.slice(0, nth))
    // Other keys of a host with two bare 429s go to the end; a refused key takes its siblings with it.
    if (verdicts.slice(0, nth).some(({ limit, restsKey }) => limit !== undefined || restsKey)) break
    const next = upstreams[order[nth]!]!
    const unasked = upstreams.filter((_, index) => !before.has(index) && poolHas(upstreams, order, index))
    if (endpoint === 'embeddings') continue
    const lowest = Math.min(...unasked.map(({ priority }) => priority))
    if (next.priority > lowest) found.push(['a tier is skipped', order.map(nameOf).join(' ')])
    const refuser = verdicts[nth - 1]!.row === 'refused-body' ? upstreams[order[nth - 1]!]! : undefined
    // Who was asked before the refuser may have refused too: only who is another than all of them is surely first.
    const isOther = (one: typeof next): boolean =>
      order
        .slice(0, nth)
        .every((at) => one.model !== upstreams[at]!.model && one.host !== upstreams[at]!.host)
    const others = unasked.filter((one) => one.priority === lowest && isOther(one))
    const isSame = next.model === refuser?.model && next.host === refuser.host
    if (refuser !== undefined && isSame && others.length > 0)
      found.push([
        'after a refused body the same model at the same host is asked first',
        order.map(nameOf).join(' '),
      ])
  }
  return found
}

/** Pools by a model's name hold that model alone; seen from those that were asked. */
const poolHas = (upstreams: Scenario['upstreams'], order: readonly number[], index: number): boolean => {
  const models = new Set(order.map((one) => upstreams[one]!.model))
  return models.size > 1 || models.has(upstreams[index]!.model)
}

// ---- what the client gets

const LIMITED: End = {
  statuses: [429],
  codes: ['rate_limit_exceeded', 'insufficient_quota'],
  header: 'retry-after',
}

interface ByWhom {
  readonly end: End
  readonly by: number
}

/** The ends that the contract allows; several where outcomes are mixed and it does not say which comes first. */
export function allowedEnds(
  scenario: Scenario,
  course: Course,
  verdicts: readonly Verdict[],
): readonly ByWhom[] {
  const all = verdicts.map((verdict, nth) => ({ ...verdict, by: course.asks[nth]!.upstream }))
  const last = all.at(-1)!
  const firstOf = (row: Verdict['row']) => all.filter((one) => one.row === row).slice(0, 1)
  if (last.row === 'answer' || last.row === 'broken') return [last]
  // Given back as they were: the first refusal, whatever the others said; else the last empty answer, or the other form.
  const refusals = firstOf('refused-body')
  const tooLong = firstOf('too-long')
  const isUnable = tooLong.length > 0 || all.some(({ isLack }) => isLack)
  const emptyOnes = all.filter(({ row }) => row === 'empty').slice(-1)
  const otherForms = all.filter(({ row }) => row === 'other-form')
  const limits = all.filter(({ limit }) => limit !== undefined)
  if (refusals.length > 0) {
    // A refused body ends with its first refusal, one too long or not able with a 429: both at once is left open.
    const alsoLimited = isUnable && limits.length > 0 ? [{ end: LIMITED, by: -1 }] : []
    return [...refusals, ...tooLong, ...emptyOnes, ...otherForms, ...alsoLimited]
  }
  if (emptyOnes.length + otherForms.length > 0) return [...emptyOnes, ...otherForms]
  const own = endOfLast(all)
  const capped = stopAfter(scenario, course, verdicts, verdicts.length - 1).must !== undefined
  if (limits.length > 0) {
    const isSure = limits.some(({ limit }) => limit === 'rate') && !capped
    const inside = limits.filter(({ end: { statuses } }) => statuses.includes(200))
    return [{ end: LIMITED, by: -1 }, ...inside, ...(isSure && last.limit === undefined ? [] : own)]
  }
  return [...tooLong, ...(last.row === 'too-long' ? [] : own)]
}

/** The row of the last failure. */
function endOfLast(all: readonly (Verdict & ByWhom)[]): readonly ByWhom[] {
  const last = all.at(-1)!
  if (last.isOdd4xx) return [...all.filter(({ isOdd4xx }) => isOdd4xx).slice(0, 1), last]
  // 503 means "come back", so all must have said it.
  if (last.isOverload && !all.every(({ isOverload }) => isOverload))
    return [
      {
        end: { ...last.end, statuses: [502, ...last.end.statuses.filter((one) => one === 200)] },
        by: last.by,
      },
    ]
  return [last]
}

function wrongEnd(
  scenario: Scenario,
  course: Course,
  verdicts: readonly Verdict[],
  client: ClientView,
  past: Past | undefined,
): string | undefined {
  if (client.headers['location'] !== undefined) return 'the client sees a redirect'
  const last = verdicts.at(-1)!
  const lastScript = scenario.upstreams[course.asks.at(-1)!.upstream]!.script
  const what = `${last.row} (${scriptKind(lastScript, scenario)})`
  if (last.row === 'broken')
    return brokenMisfit(scenario, last, client) && `a broken stream: ${brokenMisfit(scenario, last, client)}`
  const ends = allowedEnds(scenario, course, verdicts)
  let why: string | undefined
  for (const { end, by } of ends) {
    why = misfit(scenario, end, client) ?? foreignBytes(end, by, client)
    if (why === undefined) return last.row === 'answer' ? labelMisfit(scenario, client) : undefined
  }
  // Who rests and was not asked has a say in the end too.
  const isFailure = client.status >= 400 || withoutBeats(scenario, client.text).beats !== ''
  if (last.row !== 'answer' && (past?.resting.size ?? 0) > 0 && isFailure) return undefined
  const mixed = verdicts.length > 1 && last.row !== 'answer' ? ', last of several' : ''
  return `the client gets another end than after ${what}${mixed}: ${why}`
}

function labelMisfit({ stream }: Scenario, { headers }: ClientView): string | undefined {
  const type = headers['content-type'] ?? 'nothing'
  const isRight = stream ? /event-stream/.test(type) : /json/.test(type)
  return isRight ? undefined : `an answer is labelled ${type}, and is ${stream ? 'a stream' : 'JSON'}`
}

/** Nothing of those who failed is in what the client got, and never a page. */
function foreignBytes({ exact, words, statuses }: End, by: number, { text }: ClientView): string | undefined {
  const marks = [...text.matchAll(/by-u\d+\./g)].map(([mark]) => mark)
  const mayQuote = exact !== undefined || words !== undefined || statuses.includes(200)
  const others = marks.filter((mark) => !mayQuote || mark !== markOf(by))
  if (others.length > 0) return 'something of another upstream is in it'
  return exact === undefined && /<html|<!doctype/i.test(text) ? 'a page is shown' : undefined
}

/** Comments that kept the client awake, and what came after them. */
function withoutBeats({ heartbeat, stream }: Scenario, text: string): { beats: string; rest: string } {
  const beats = heartbeat > 0 && stream ? (/^(?::[^\n]*\r?\n(?:\r?\n)?)+/.exec(text)?.[0] ?? '') : ''
  return { beats, rest: text.slice(beats.length) }
}

/** Why an answer does not fit an end; undefined where it does. */
function misfit(scenario: Scenario, end: End, client: ClientView): string | undefined {
  const { status, text, headers, broke } = client
  const { statuses, codes, exact, words, header, notCode } = end
  if (broke) return 'the connection broke off'
  const { beats, rest } = withoutBeats(scenario, text)
  if (beats !== '' && status === 200 && !statuses.includes(200)) {
    const [, json = ''] = /^(?:event: .*\n)?data: (.*)\n\n$/.exec(rest) ?? []
    const told = Number(/"status": ?(\d+)/.exec(json)?.[1])
    if (!statuses.includes(told)) return `an error event with status ${told}, not ${statuses.join(' or ')}`
    if (words !== undefined && !json.includes(words)) return 'not its words'
    return words === undefined ? codeMisfit(json, codes, notCode) : undefined
  }
  if (!statuses.includes(status)) return `status ${status}, not ${statuses.join(' or ')}`
  if (exact !== undefined) {
    if (text === exact) return undefined
    const added = text.slice(0, text.length - exact.length)
    const isWhole = text.endsWith(exact) && withoutBeats(scenario, added).rest === ''
    // The other form, which comes as an event where a heartbeat has begun a stream.
    const isEvent = beats !== '' && words === exact && rest.includes(exact)
    return isWhole || isEvent ? undefined : 'not its bytes'
  }
  if (words !== undefined) return text.includes(words) ? undefined : 'not its words'
  if (status === 200) return undefined
  if (header !== undefined && headers[header] === undefined) return `no ${header}`
  return codeMisfit(text, codes, notCode)
}

function codeMisfit(
  json: string,
  codes: readonly string[] | undefined,
  notCode?: string,
): string | undefined {
  const code = codeOf(json)
  if (code === undefined) return 'not our envelope'
  if (code === notCode) return `code ${code}`
  return codes === undefined || codes.includes(code) ? undefined : `code ${code}, not ${codes.join(' or ')}`
}

function codeOf(json: string): string | undefined {
  try {
    const { error } = JSON.parse(json) as { error: { message: unknown; type: unknown; code: unknown } }
    return typeof error.message === 'string' && typeof error.type === 'string'
      ? String(error.code)
      : undefined
  } catch {
    return undefined
  }
}

/** Section 9: what arrived stays; an error event at a boundary, a reset inside an event, never a made-up `[DONE]`. */
function brokenMisfit(
  scenario: Scenario,
  { end, cutAtBoundary }: Verdict,
  { status, text, broke }: ClientView,
): string | undefined {
  const sent = end.words ?? ''
  const rest = fromBeats(scenario, text, sent)
  if (status !== 200) return `status ${status}`
  const after = rest.startsWith(sent) ? rest.slice(sent.length) : undefined
  if (broke) {
    if (cutAtBoundary === true) return 'reset between two events'
    return sent.startsWith(rest) ? undefined : 'something is added before the reset'
  }
  if (after === undefined) return 'not its bytes'
  // What is cut right behind its last word is whole.
  if (after === '' && /^data: ?\[DONE\]$/m.test(sent.split('\n').at(-1) ?? '')) return undefined
  if (cutAtBoundary === false) return 'cut inside an event, and no reset'
  const [, json = ''] = /^\s*(?:event: .*\n)?data: (.*)\s*$/.exec(after) ?? []
  return codeMisfit(json, end.codes)
}

/** What came behind the comments of a heartbeat, which may be followed by comments of the upstream's own. */
function fromBeats(scenario: Scenario, text: string, sent: string): string {
  const { beats } = withoutBeats(scenario, text)
  for (let at = 0; at <= beats.length; at = text.indexOf('\n\n', at) + 2) {
    const rest = text.slice(at)
    if (rest.startsWith(sent) || sent.startsWith(rest)) return rest
    if (!text.includes('\n\n', at)) break
  }
  return text
}

/** A script's kind in a few words, the same for all that should fare alike. */
function scriptKind(script: Script, scenario: Scenario): string {
  const label = script.label === 'right' || script.does === 'fail' ? '' : `, label ${script.label}`
  return `${bareKind(script, scenario)}${label}`
}

function bareKind(script: Script, { stream, need, endpoint }: Scenario): string {
  switch (script.does) {
    case 'refuse': {
      const bare = script.shape === 'page' || script.shape === 'empty' || script.shape === 'truncated'
      return `${script.status} ${script.meaning}, ${bare ? script.shape : 'words'}`
    }
    case 'err-inside': {
      const place = stream && script.preamble.length > 0 ? 'late event' : stream ? 'stream' : 'whole'
      return `200 with error ${script.meaning} as ${script.shape}, ${place}`
    }
    case 'cut':
      return `${stream ? `stream ${script.framing}` : 'whole'} cut by ${script.how}`
    case 'fail':
      return script.how
    case 'empty':
      return `empty ${script.form} ${stream ? 'stream' : 'whole'} ${endpoint}`
    case 'lack':
      return script.what === need ? `400 lacks ${script.what}` : goodKind(script, stream)
    case 'answer':
      return goodKind(script, stream)
    default:
      return script.does
  }
}

const goodKind = ({ framing, ending }: GoodAnswer, stream: boolean): string =>
  stream ? `stream ${framing} ${ending}` : 'whole'
