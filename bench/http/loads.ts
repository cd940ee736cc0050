import type { Load } from './load.ts'

/** A load, and what its CPU time is divided by. */
export type NamedLoad = Omit<Load, 'port' | 'seconds' | 'path' | 'model'> & {
  readonly unit: 'request' | 'chunk' | 'latency'
}

/** What most loads have in common. */
export const base = { rate: 0, answer: 'json', shape: 'text', bodyBytes: 657 } as const
/** The loads by name; what is counted is a request, or a chunk of a stream. */
export const loads: Readonly<Record<string, NamedLoad>> = {
  small: { ...base, connections: 50, unit: 'request' },
  steady: { ...base, connections: 50, rate: 2_000, unit: 'request' },
  keys: { ...base, connections: 50, manyKeys: true, unit: 'request' },
  large: { ...base, connections: 20, bodyBytes: 200_000, shape: 'forty', unit: 'request' },
  fields: { ...base, connections: 20, shape: 'fields', unit: 'request' },
  late: { ...base, connections: 20, shape: 'fields-first', unit: 'request' },
  huge: { ...base, connections: 4, bodyBytes: 5_000_000, unit: 'request' },
  paced: { ...base, connections: 100, answer: 'sse-paced', unit: 'chunk' },
  thousand: { ...base, connections: 1_000, answer: 'sse-slow', unit: 'chunk' },
  flat: { ...base, connections: 20, answer: 'sse-flat', unit: 'chunk' },
  latency: { ...base, connections: 50, rate: 500, unit: 'latency' },
}

/** The heads of their columns. */
export const titles: Readonly<Record<string, string>> = {
  small: '657 B: µs a request',
  steady: '657 B at 2,000/s: µs a request',
  keys: 'a key each: µs a request',
  large: '200 KB, forty messages: µs a request',
  fields: '230 KB, 20,000 fields: µs a request',
  late: '230 KB, the model behind 20,000 fields: µs a request',
  huge: '5 MB: µs a request',
  paced: 'SSE, 100 streams, 10 ms: µs a chunk',
  thousand: 'SSE, 1,000 streams, 50 ms: µs a chunk',
  flat: 'SSE flat out: µs a chunk',
  latency: 'ms added at 500/s, p50 / p99',
}
