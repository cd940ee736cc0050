import type { Script } from './scenario.ts'
import {
  cutText,
  emptyText,
  isInEvent,
  lackText,
  otherFormText,
  refusalText,
  streamText,
  wholeText,
  type Asked,
} from './scripts.ts'

/** The contract's rows: what an attempt was, which says who is asked next. */
export type Row =
  /** The client gets it, whole. */
  | 'answer'
  /** A stream that began and broke: nobody else is asked. */
  | 'broken'
  /** As many further as there are: not sent, refused without work, no answer at all. */
  | 'passed'
  /** Two further in all, inside the retry budget. */
  | 'ambiguous'
  /** Every able upstream; nobody cools. */
  | 'too-long'
  /** Two further; nobody cools. */
  | 'refused-body'
  /** One further; nobody cools. */
  | 'empty'
  | 'other-form'

/** What the client may see where this attempt ends the request. */
export interface End {
  readonly statuses: readonly number[]
  /** Of our envelope; absent = whatever code. */
  readonly codes?: readonly string[]
  /** The whole body, byte for byte. */
  readonly exact?: string
  /** Stands in the body, in an upstream's own words. */
  readonly words?: string
  /** Not this code, where the envelope is ours. */
  readonly notCode?: string
  /** A header that must be there. */
  readonly header?: string
}

/** How the contract reads an attempt. */
export interface Verdict {
  readonly row: Row
  readonly end: End
  /** Counts as rate-limited where outcomes are mixed: `rate` by all means, `quota` perhaps. */
  readonly limit?: 'rate' | 'quota'
  /** One of the 4xx that no row names: among these the first one's words are the client's. */
  readonly isOdd4xx?: true
  /** 503 or 529: only when all said so the client gets a 503. */
  readonly isOverload?: true
  /** Of a body refused for something that this upstream can't do, or for its size. */
  readonly isLack?: true
  /** All upstreams with the key rest. */
  readonly restsKey?: true
  /** Says that the endpoint does not exist there. */
  readonly isNoEndpoint?: true
  /** It does not have the model that it is configured for. */
  readonly isNoModel?: true
  /** A broken stream: what was sent, and whether it was cut between two events; undefined = hard to say. */
  readonly cutAtBoundary?: boolean | undefined
}

const OURS = { row: 'passed', end: { statuses: [502] } } as const
const limited: Verdict = {
  row: 'passed',
  end: { statuses: [429], codes: ['rate_limit_exceeded'], header: 'retry-after' },
  limit: 'rate',
}
const spent: Verdict = {
  row: 'passed',
  end: { statuses: [429], codes: ['insufficient_quota'], header: 'retry-after' },
  limit: 'quota',
  restsKey: true,
}
const noEntry: Verdict = {
  row: 'passed',
  end: { statuses: [502], codes: ['upstream_auth_failed'], header: 'x-should-retry' },
  restsKey: true,
}
const noModel: Verdict = {
  row: 'passed',
  end: { statuses: [502], codes: ['upstream_model_not_found'], header: 'x-should-retry' },
  isNoModel: true,
}
const noEndpoint: Verdict = {
  row: 'passed',
  end: { statuses: [404], codes: ['unsupported_endpoint'] },
  isNoEndpoint: true,
}
const tooLarge: Verdict = {
  row: 'passed',
  end: { statuses: [429], codes: ['rate_limit_exceeded'] },
  limit: 'quota',
}
const overloaded: Verdict = { row: 'passed', end: { statuses: [503] }, isOverload: true }
const notSent: Verdict = { row: 'passed', end: { statuses: [502], codes: ['upstream_unavailable'] } }
const noAnswer: Verdict = { row: 'passed', end: { statuses: [502], codes: ['upstream_bad_response'] } }
const failed: Verdict = { row: 'ambiguous', end: { statuses: [502] } }
export const timedOut: Verdict = { row: 'ambiguous', end: { statuses: [504], codes: ['upstream_timeout'] } }

const good = (text: string): Verdict => ({ row: 'answer', end: { statuses: [200], exact: text } })
const empty = (text: string): Verdict => ({ row: 'empty', end: { statuses: [200], exact: text } })

/**
 * What the contract calls a script. More than one reading where it leaves that open; the reason stands there.
 *
 * `playOf` made the bytes; nothing here looks at them but to say where a stream was cut.
 */
export function readingsOf(script: Script, asked: Asked): readonly Verdict[] {
  switch (script.does) {
    case 'answer':
      return [good(asked.stream ? streamText(script, asked).text : wholeText(script, asked))]
    case 'lack':
      if (script.what !== asked.need)
        return [good(asked.stream ? streamText(script, asked).text : wholeText(script, asked))]
      return lacking(script, asked)
    case 'cut':
      return asked.stream ? cutStream(script, asked) : cutWhole(script, asked)
    case 'chatter':
      return [timedOut]
    case 'refuse':
      return refused(script, asked)
    case 'err-inside':
      return inside(script, asked)
    case 'fail':
      return [TRANSPORT[script.how]]
    case 'page':
      return [noAnswer]
    case 'empty':
      return emptied(script, asked)
    case 'other-form':
      return [
        {
          row: 'other-form',
          end: { statuses: [200], exact: otherFormText(asked), words: otherFormText(asked) },
        },
      ]
  }
}

const TRANSPORT = {
  'not-sent': notSent,
  // The class of those not sent, but the client reads of the time (section 10, "connect or header timeout").
  'connect-timeout': { row: 'passed', end: { statuses: [504], codes: ['upstream_timeout'] } },
  broken: failed,
  silence: timedOut,
  undecodable: failed,
} as const satisfies Record<string, Verdict>

/** The upstream's own answer, byte for byte; in an error event after a heartbeat its words. */
const verbatim = (row: Row, status: number, exact: string, mark: string): Verdict => ({
  row,
  end: { statuses: [status], exact, ...(exact.includes(mark) && { words: mark }) },
})

function lacking(script: Extract<Script, { does: 'lack' }>, asked: Asked): readonly Verdict[] {
  const text = lackText(script, asked)
  const tooLong = verbatim('too-long', 400, text, asked.mark)
  // "Too long and not able" are one in section 6, a refused body in the table: a gateway that knows the words goes on.
  return script.what === 'length'
    ? [tooLong]
    : [{ ...verbatim('refused-body', 400, text, asked.mark), isLack: true }, tooLong]
}

function cutWhole(script: Extract<Script, { does: 'cut' }>, asked: Asked): readonly Verdict[] {
  if (script.how === 'silence') return [timedOut]
  if (script.how === 'reset' || cutText(script, asked).trim() !== '') return [failed]
  // Ended in order without a byte: nothing (an empty answer), no answer, or a truncated one.
  return [empty(cutText(script, asked)), noAnswer, failed]
}

function cutStream(script: Extract<Script, { does: 'cut' }>, asked: Asked): readonly Verdict[] {
  const sent = cutText(script, asked)
  const stream = streamText(script, asked)
  const { firstContent, done, finishLineEnd } = stream
  const at = sent.length
  const before = script.how === 'silence' ? timedOut : failed
  const isInTerminator = stream.eventEnds.some((end) => at > end - 4 && at < end)
  const isUnsure = isInTerminator || script.framing === 'one-lf'
  const cutAtBoundary = isUnsure ? undefined : stream.eventEnds.includes(at)
  const code = script.how === 'silence' ? 'upstream_timeout' : 'upstream_disconnected'
  const broken: Verdict = {
    row: 'broken',
    end: { statuses: [200], codes: [code], words: sent },
    cutAtBoundary,
  }
  if (at <= firstContent.lineEnd) return [before]
  // The line is whole and its end is not: whether that is an event yet depends on the framing.
  if (at < firstContent.end) return [before, broken, ...(done === undefined ? [good(sent)] : [])]
  // With one line feed nobody knows that an event is whole until the next begins, or the end comes.
  if (script.framing === 'one-lf' && (done === undefined || at < done.lineEnd)) return [before, broken]
  if (done !== undefined && at >= done.end) return [good(sent)]
  // The last word was said, its line end or `[DONE]` is missing: broken by the letter, whole by its sense.
  if ((done !== undefined && at >= done.lineEnd) || at >= finishLineEnd) return [broken, good(sent)]
  return [broken]
}

function emptied(script: Extract<Script, { does: 'empty' }>, asked: Asked): readonly Verdict[] {
  const text = emptyText(script, asked)
  const { stream, endpoint } = asked
  if (endpoint === 'embeddings' && script.form === 'no-choices') return [good(text)]
  if (endpoint === 'embeddings' && script.form === 'no-content') return [empty(text), noAnswer]
  if (script.form === 'no-content') {
    // An output item with an empty text is an output all the same.
    return endpoint === 'responses' && !stream ? [empty(text), good(text)] : [empty(text)]
  }
  if (script.form === 'no-choices' && !stream) return [empty(text)]
  // No bytes, `{}`, or `[DONE]` without a finish: without content, and no answer either.
  return [empty(text), noAnswer, failed]
}

const BODY_STATUSES = new Set([400, 413, 415, 422])

function refused(script: Extract<Script, { does: 'refuse' }>, asked: Asked): readonly Verdict[] {
  const { status, meaning, shape } = script
  const { mark } = asked
  const text = refusalText(script, asked)
  const asItCame = (row: Row): Verdict => verbatim(row, status, text, mark)
  const hasNoWords = shape === 'page' || shape === 'empty'
  const hasCode = shape === 'envelope' || shape === 'flat' || shape === 'array'
  const hiddenStatus = status === 401 || status === 407 ? 502 : status
  const oddEnd = { statuses: [hiddenStatus] }
  const worded = { ...oddEnd, words: mark }
  // JSON that was cut off is no words of use: as it came, or our envelope.
  const ends = hasNoWords ? [oddEnd] : shape === 'truncated' ? [oddEnd, { ...oddEnd, exact: text }] : [worded]
  const odd = ends.map((end): Verdict => ({ row: 'passed', end, isOdd4xx: true }))
  const isRead = !hasNoWords && shape !== 'truncated'
  if (status < 400 || status > 599) return [noAnswer]
  if (status >= 500) {
    if (status === 501) return [noEndpoint]
    return [status === 503 || status === 529 ? overloaded : failed]
  }
  switch (status) {
    case 401:
      return [noEntry]
    case 402:
      // Says how much would be paid for: a size, and no account that is spent. "Its words", under a status of either kind.
      return meaning === 'affordable' && isRead
        ? [{ row: 'too-long', end: { statuses: [402, 400, 413], words: mark } }]
        : [spent]
    case 403:
      if (meaning === 'content' && isRead) return [asItCame('refused-body')]
      // "A page under any 4xx" stands beside the row of the 403. Words cut off say nothing.
      return isRead ? [noEntry] : [noEntry, ...odd]
    case 404:
    case 405:
    case 410:
      // Without the code of a missing model both are missing, for all that anybody knows.
      if (status === 410) return [noModel]
      if (status === 404 && meaning === 'model' && hasCode) return [noModel]
      return status === 405 && isRead ? [noEndpoint] : [noEndpoint, noModel, ...odd]
    case 408:
      return [OURS]
    case 429:
      // Quota needs its code; cut off or in a form without one it is a limit like any other.
      return meaning === 'account' ? [spent, limited] : [limited]
  }
  if (BODY_STATUSES.has(status) || (meaning === 'content' && isRead)) {
    if (hasNoWords) return odd
    // A 413 speaks of a size by its number alone.
    const body = asItCame('refused-body')
    const own = status === 413 ? [{ ...body, isLack: true } as const, asItCame('too-long')] : [body]
    // One request above a limit; what the client reads of it the table does not say.
    if (status === 413 && meaning === 'rate' && shape !== 'truncated')
      return [tooLarge, ...odd, ...(hasCode ? [] : own)]
    if (meaning === 'encrypted') return hasCode ? odd : [...odd, ...own]
    if (shape === 'truncated') return [...own, ...odd]
    if (meaning === 'plain' || meaning === 'content') return own
    if (meaning === 'too-long') return [asItCame('too-long')]
    const vendor = ofTheVendor(meaning, odd)
    // Code or type must speak of the vendor; what only words tell, a gateway may know or not.
    return hasCode ? vendor : [...vendor, ...own]
  }
  return odd
}

/** A 4xx about the vendor cools as what it speaks of; the client sees that row, or its own words. */
function ofTheVendor(meaning: string, odd: readonly Verdict[]): readonly Verdict[] {
  if (meaning === 'rate') return [...odd, limited]
  return meaning === 'account' ? [...odd, spent] : [...odd, overloaded, OURS]
}

function inside(script: Extract<Script, { does: 'err-inside' }>, asked: Asked): readonly Verdict[] {
  const { meaning, shape, preamble } = script
  const { mark } = asked
  const isUncoded = shape === 'string' || shape === 'detail' || shape === 'error_code'
  // A choice that failed says why, or nothing but that.
  const hasCode = !isUncoded && !(shape === 'finish' && script.words % 2 === 0)
  const asRowOrWords = (verdict: Verdict): Verdict => {
    // The row's own status, or the upstream's words as they were: either is allowed by "its own words reach the client".
    const { codes: _, header: __, ...end } = verdict.end
    return { ...verdict, end: { ...end, statuses: [...end.statuses, 200], notCode: 'upstream_bad_response' } }
  }
  const worded = (row: Row): Verdict => ({ row, end: { statuses: [200, 400, 413, 422], words: mark } })
  const known: Readonly<Partial<Record<string, readonly Verdict[]>>> = {
    plain: [worded('refused-body')],
    'too-long': [worded('too-long')],
    rate: [limited],
    account: [spent, limited],
    capacity: [overloaded],
    auth: [noEntry],
    broken: [failed],
  }
  const readings = (known[meaning] ?? [failed]).map((one) =>
    one.end.words === undefined ? asRowOrWords(one) : one,
  )
  // MiniMax has one number for all that is wrong with a request; a list of errors or a bare text may be anything.
  // So may an object that failed for a code that nobody knows.
  const isClear =
    hasCode &&
    !((shape === 'failed' || shape === 'array') && meaning === 'plain') &&
    !(shape === 'base_resp' && !['rate', 'auth', 'account'].includes(meaning))
  const unclear: Verdict[] = [asRowOrWords(failed), asRowOrWords(OURS)]
  if (shape === 'finish' && !hasCode) return unclear
  const isLate = isInEvent(script, asked) && preamble.length > 0
  return isClear && !(isLate && shape === 'array') ? readings : [...readings, ...unclear]
}
