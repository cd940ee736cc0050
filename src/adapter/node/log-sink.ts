import { writeSync } from 'node:fs'
import { systemCodeOf } from '../../errors.ts'

/** Takes the lines of a log. */
export interface LogSink {
  /** Remembers a line; written within 20 ms together with others. Never throws. */
  write(line: string): void
  /** Writes what is remembered now. Waits up to half a second for a reader that is behind. Never throws. */
  flush(): void
}

/** A line may be this late, and so many bytes wait at most before they are written at once. */
const WRITE_EVERY_MS = 20
const BATCH_LENGTH = 65_536
/** With a reader that stands still, lines beyond this are dropped: a log must not eat the memory. */
const MOST_WAITING = 8_388_608
const FLUSH_TIMEOUT_MS = 500

/**
 * Writes lines to the standard output in batches. What is still remembered when the process ends is written
 * then. A reader that left (EPIPE) ends the log and nothing else.
 *
 * Goes around `process.stdout`, whose queue for a pipe is lost when the process exits.
 */
export function createStdoutSink(): LogSink {
  let lines = ''
  let rest: Uint8Array = new Uint8Array()
  let timer: NodeJS.Timeout | undefined
  let isClosed = false
  let lost = 0

  /** Writes what the reader takes; false when something is left. */
  function writeSome(): boolean {
    if (rest.length === 0) {
      rest = new TextEncoder().encode(lines)
      lines = ''
    }
    while (rest.length > 0) {
      const written = tryWrite(rest)
      if (written === 'full') return false
      if (written === 'gone') return close()
      rest = rest.subarray(written)
    }
    return lines === '' || writeSome()
  }

  function close(): true {
    isClosed = true
    lines = ''
    rest = new Uint8Array()
    return true
  }

  function onTimer(): void {
    timer = undefined
    if (!writeSome()) schedule()
    else if (lost > 0) reportLost()
  }

  function schedule(): void {
    timer ??= setTimeout(onTimer, WRITE_EVERY_MS).unref()
  }

  function reportLost(): void {
    process.stderr.write(`${lost} log lines were dropped because nobody read them in time\n`)
    lost = 0
  }

  function flush(): void {
    const deadline = performance.now() + FLUSH_TIMEOUT_MS
    while (!writeSome() && performance.now() < deadline) pause(5)
  }

  // Node makes a pipe non-blocking when the stream is first asked for: a reader that stands still must
  // not stop the process. Others write to the stream too, and an `error` event that nobody hears is fatal.
  process.stdout.on('error', () => {})
  process.stderr.on('error', () => {})
  process.once('exit', flush)

  return {
    write(line) {
      if (isClosed) return
      if (lines.length + rest.length > MOST_WAITING) {
        lost += 1
        return
      }
      lines += `${line}\n`
      // With a rest the reader is behind, and asking again before the timer does would only cost.
      if (lines.length >= BATCH_LENGTH && rest.length === 0) writeSome()
      schedule()
    },
    flush,
  }
}

const STDOUT = 1

function tryWrite(bytes: Uint8Array): number | 'full' | 'gone' {
  try {
    return writeSync(STDOUT, bytes)
  } catch (error) {
    return systemCodeOf(error) === 'EAGAIN' ? 'full' : 'gone'
  }
}

/** Sleeps without the event loop, which no longer turns when the process ends. */
function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}
