/** What is done with mistakes of ours that nobody caught. */
export interface LastWords {
  /** Takes the one line about it. */
  readonly tell: (line: string) => void
  /** Writes out what was told; the process ends then. */
  readonly flush: () => void
}

/**
 * A mistake that nobody caught is told in one line. After an uncaught exception nothing can be relied on, so
 * the process ends with 1 and its supervisor starts a new one; an unhandled rejection concerns one request.
 */
export function installLastWords({ tell, flush }: LastWords): void {
  process.on('uncaughtException', (error) => {
    tell(`a mistake in AILoad ends it: ${traceOf(error)}`)
    flush()
    process.exit(1)
  })
  process.on('unhandledRejection', (reason) => tell(`a mistake in AILoad: ${traceOf(reason)}`))
}

/** Frames told: enough to find the place. */
const MOST_FRAMES = 6

/**
 * An error's name, code and stack frames. Never its message: the runtime quotes header values and addresses
 * there, and with them keys.
 */
export function traceOf(error: unknown): string {
  if (!(error instanceof Error)) return 'a value was thrown that is no error'
  const code = 'code' in error && /^[A-Z0-9_]+$/.test(String(error.code)) ? ` ${String(error.code)}` : ''
  const frames = framesOf(error).slice(0, MOST_FRAMES)
  return `${error.constructor.name}${code} ${frames.join(' ')}`.trimEnd()
}

function framesOf({ stack = '', message }: Error): string[] {
  // The message stands above the frames, and may look like one.
  const at = message === '' ? 0 : stack.indexOf(message) + message.length
  return stack
    .slice(at)
    .split('\n')
    .filter((line) => /^ {4}at /.test(line))
    .map((line) => line.trim())
}
