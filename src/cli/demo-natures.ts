/** What a pretend upstream is like. */
export interface Nature {
  readonly name: string
  readonly model: string
  /** From the request to the first word, in ms. */
  readonly thinkingMs: number
  /** Between two words of a stream, in ms. */
  readonly wordMs: number
  /** Requests in a minute; absent = as many as come. */
  readonly perMinute?: number
  /** How it speaks of itself. */
  readonly introduction: string
}

export const natures: readonly Nature[] = [
  {
    name: 'quick',
    model: 'demo-quick',
    thinkingMs: 100,
    wordMs: 15,
    introduction: 'This is the quick upstream: my first word takes a tenth of a second.',
  },
  {
    name: 'slow',
    model: 'demo-slow',
    thinkingMs: 2_000,
    wordMs: 60,
    introduction: 'This is the slow upstream: I think for two seconds, then words drip.',
  },
  {
    name: 'limited',
    model: 'demo-limited',
    thinkingMs: 300,
    wordMs: 25,
    perMinute: 5,
    introduction: 'This is the limited upstream: I take five requests a minute.',
  },
]
