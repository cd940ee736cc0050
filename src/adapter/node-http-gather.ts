/** What came of a piece of a head: it goes on, it is whole, it can become none, or it is too long. */
export type HeadStep = 'more' | 'whole' | 'junk' | 'too-large'

/** Gathers the pieces of one head after another. */
export interface HeadGatherer {
  /** Takes bytes from `at` on, up to the blank line. */
  push(bytes: Buffer, at: number): HeadStep
  /** A head that is whole, without its blank line; one character for each byte. */
  readonly text: string
  /** Where in the last bytes the body of that head begins. */
  readonly bodyAt: number
  /** A part of a head is there. */
  readonly isAmid: boolean
  /** Forgets what it has of a head. */
  drop(): void
}

/** What a head may be. */
export interface HeadLimits {
  readonly mostBytes: number
  /** Whether a head can start with this text, of which at most `START_BYTES` are there. */
  readonly isStart: (text: string) => boolean
}

/** What is looked at of a head that is not whole, to tell a protocol that is none of ours. */
const START_BYTES = 24

const HEAD_END = '\r\n\r\n'
const CR = 0x0d
const LF = 0x0a
const EMPTY = Buffer.alloc(0)

/**
 * Makes a gatherer of heads. Each byte is looked at about once, however small the pieces: who drips a head costs no
 * more than who sends it.
 */
export function createHeadGatherer({ mostBytes, isStart }: HeadLimits): HeadGatherer {
  let held = EMPTY
  let size = 0
  let text = ''
  let bodyAt = 0

  function hold(bytes: Buffer, at: number): void {
    const next = size + bytes.length - at
    if (next > held.length) {
      const grown = Buffer.allocUnsafe(Math.max(next, 2 * held.length))
      held.copy(grown, 0, 0, size)
      held = grown
    }
    size += bytes.copy(held, size, at)
  }

  function drop(): void {
    held = EMPTY
    size = 0
  }

  /** Whether more bytes can make a head of what is held. Lines that end without a CR never do. */
  function stepOf(before: number): HeadStep {
    if (size > mostBytes) return 'too-large'
    if (before < START_BYTES && !isStart(held.toString('latin1', 0, Math.min(size, START_BYTES))))
      return 'junk'
    for (let at = held.indexOf(LF, before); at >= 0 && at < size; at = held.indexOf(LF, at + 1))
      if (held[at - 1] !== CR) return 'junk'
    return 'more'
  }

  return {
    get text() {
      return text
    },
    get bodyAt() {
      return bodyAt
    },
    get isAmid() {
      return size > 0
    },
    drop,
    push(bytes, at) {
      const before = size
      if (before > 0) hold(bytes, at)
      const all = before > 0 ? held.subarray(0, size) : bytes
      const start = before > 0 ? 0 : at
      const end = all.indexOf(HEAD_END, before > 0 ? Math.max(0, before - HEAD_END.length + 1) : at)
      if (end < 0) {
        if (before === 0) hold(bytes, at)
        return stepOf(before)
      }
      if (end - start > mostBytes) return 'too-large'
      text = all.toString('latin1', start, end)
      bodyAt = end + HEAD_END.length - (before > 0 ? before - at : 0)
      drop()
      return 'whole'
    },
  }
}
