import type { ByteReader } from '../lib/byte-reader.ts'
import { usageOf, type Usage } from '../lib/usage.ts'
import type { Outcome } from '../pool/outcome.ts'
import type { AttemptTask } from './attempt.ts'
import { instantOf } from './clock.ts'
import type { Commit } from './commit.ts'
import { endLease } from './end-lease.ts'
import type { AttemptOutcome } from './event.ts'
import { createBodyWatch, createStreamWatch } from './stream-watch.ts'
import { createTap, type TapEnd } from './tap.ts'

/** A committed attempt whose body is still to pass. */
export interface Ending {
  readonly task: AttemptTask
  readonly startedAt: number
  readonly firstByteMs: number
  readonly status: number
  /** Stops listening for the client's departure. */
  readonly release: () => void
}

/** Bytes of an answer to a token, where the upstream does not say what it has counted. */
const BYTES_A_TOKEN = 4

/** A complete answer: from the upstream's side the request is over. */
export function finishBytes(bytes: Uint8Array, ending: Ending): Uint8Array {
  const { inputTokens } = ending.task.journey.request
  const usage = inputTokens === undefined ? undefined : usageOf(bytes)
  finish(ending, { outcome: okOutcome(ending, usage, bytes.length), word: 'ok', usage })
  return bytes
}

/** A streamed answer: the request is over when its body is. */
export function finishStream(commit: Extract<Commit, { kind: 'stream' }>, ending: Ending): ByteReader {
  const { reader, head, isEvents } = commit
  const { endpoint, gone } = ending.task.journey.request
  const watch = isEvents ? createStreamWatch(endpoint) : createBodyWatch()
  const onEnd = (end: TapEnd): void => {
    const usage = watch.usage()
    const spent = okOutcome(ending, usage, watch.bytes)
    if (end.kind === 'ok') finish(ending, { outcome: spent, word: 'ok', usage })
    else if (end.kind === 'aborted')
      finish(ending, { outcome: { ...spent, kind: 'aborted', sent: true }, word: 'aborted', usage })
    else
      finish(ending, {
        outcome: { ...spent, kind: 'broken', code: end.code },
        word: 'broken',
        usage,
        code: end.code,
      })
  }
  return createTap({ reader, head, onEnd, watch, gone })
}

/** `usage` where the answer has it, else its bytes. */
function okOutcome(
  { task }: Ending,
  usage: Usage | undefined,
  bytes: number,
): Extract<Outcome, { kind: 'ok' }> {
  const { inputTokens, outputTokens, choices } = task.journey.request
  if (inputTokens === undefined) return { kind: 'ok' }
  // What writes no text (embeddings) has no output tokens, however long its answer is.
  const output = usage?.output ?? (outputTokens === 0 ? 0 : Math.ceil(bytes / BYTES_A_TOKEN))
  const tokens = usage?.total ?? (usage?.input ?? inputTokens) + output
  return { kind: 'ok', tokens, outputTokens: usage?.output && usage.output / choices }
}

interface Finish {
  readonly outcome: Outcome
  readonly word: AttemptOutcome
  readonly usage: Usage | undefined
  readonly code?: string
}

function finish(ending: Ending, { outcome, word, usage, code }: Finish): void {
  const { task, startedAt, firstByteMs, status, release } = ending
  release()
  const at = instantOf(task.deps.clock)
  endLease(task, outcome)
  task.record.attempt(task.upstream, { outcome: word, status, firstByteMs, durationMs: at.now - startedAt })
  task.record.end({
    status: word === 'aborted' ? 499 : status,
    upstream: task.upstream,
    code,
    inputTokens: usage?.input,
    outputTokens: usage?.output,
  })
}
