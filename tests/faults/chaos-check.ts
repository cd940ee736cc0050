import type { LoadAnswer } from '../support/load-client.ts'
import { streamedAnswer, wholeAnswer, type Call } from './chaos-upstream.ts'

/** One request of a chaos run, when it is over. */
export interface Finished {
  readonly id: string
  readonly stream: boolean
  readonly answer: LoadAnswer
  readonly calls: readonly Call[]
  readonly ms: number
}

/** What a client got: `answered` and `broken off` are right; anything that is not is told in words. */
export type Verdict = 'answered' | 'broken off' | 'failed' | { readonly wrong: string }

/** Attempts after which a rule forbids another: the first and two more. */
const MOST_AMBIGUOUS = 3

/**
 * Judges an answer byte by byte, by what the upstreams say that they sent. An error is right only where the
 * rules forbade another attempt, since one of the upstreams can always answer.
 */
export function judge(finished: Finished, timeoutMs: number): Verdict {
  const { answer, stream } = finished
  const calls = finished.calls.filter(({ fate }) => fate !== 'unheard')
  // What broke before its first content was no beginning: then others were asked behind it.
  const begun = calls.filter(
    ({ fate }, at) => fate === 'well' || (fate === 'breaks' && at === calls.length - 1),
  )
  if (begun.length > 1) return { wrong: 'two upstreams began an answer' }
  if (answer.status !== 200) return judgeError(finished, timeoutMs)
  const [call] = begun
  if (call === undefined) return { wrong: 'an answer from nowhere' }
  if (answer.headers['x-aiload-upstream'] !== call.upstream) return { wrong: 'the wrong upstream is named' }
  return stream ? judgeStream(finished, call) : judgeWhole(finished, call)
}

function judgeError({ answer, calls, ms }: Finished, timeoutMs: number): Verdict {
  if (answer.error !== undefined) return { wrong: `no answer: ${answer.error}` }
  if (!/^\{"error":\{"message":".*","type":"\w+","param":null,"code":"\w+"\}\}$/.test(answer.text))
    return { wrong: 'no envelope' }
  // An upstream that is slow to close an idle connection (a busy machine) may have worked on what it did not hear.
  const ambiguous = calls.filter(({ fate }) => /^(ambiguous|breaks|unheard)$/.test(fate)).length
  if (ambiguous >= MOST_AMBIGUOUS || ms >= 1.8 * timeoutMs) return 'failed'
  return { wrong: `${answer.status} after ${ambiguous} ambiguous failures: ${answer.text}` }
}

function judgeWhole({ answer, id }: Finished, { upstream }: Call): Verdict {
  if (answer.error !== undefined) return { wrong: `a whole answer broke: ${answer.error}` }
  return answer.text === wholeAnswer(upstream, id) ? 'answered' : { wrong: `another answer: ${answer.text}` }
}

function judgeStream({ answer, id }: Finished, { upstream, fate }: Call): Verdict {
  const { text, error } = answer
  const expected = streamedAnswer(upstream, id).join('')
  if (text === expected && error === undefined)
    return fate === 'well' ? 'answered' : { wrong: 'whole, although it broke' }
  if (fate === 'well')
    return { wrong: `a stream in order came out of order: ${error ?? ''} ${text.slice(-200)}` }
  if (error !== undefined)
    return expected.startsWith(cleanPart(text)) ? 'broken off' : { wrong: 'bytes that nobody sent' }
  const at = text.lastIndexOf('data: {"error"')
  const isPrefix = at > 0 && expected.startsWith(text.slice(0, at)) && text.slice(0, at).endsWith('\n\n')
  return isPrefix && /"code":"upstream_(disconnected|timeout)"\}\}\n\n$/.test(text)
    ? 'broken off'
    : { wrong: `a break without its event: ${text.slice(-200)}` }
}

/** A character that was cut in two is no character. */
const cleanPart = (text: string): string => text.replace(/\uFFFD+$/, '')
