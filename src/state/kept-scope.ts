import * as v from 'valibot'
import type { Cause } from '../pool/outcome.ts'
import type { Cooldown } from './cooldown.ts'
import { hasWindows, type ScopeState } from './scope-state.ts'
import type { WindowName } from './window.ts'

/**
 * The part of a scope's state that outlives its process. Being busy, being probed and being quick do not.
 *
 * Every number is finite (JSON has 1e999), so that nothing read here can plant a NaN.
 */
const number = v.pipe(v.number(), v.finite())
const amount = v.pipe(number, v.minValue(0))
const count = v.pipe(amount, v.integer())
const causes = [
  'rate-limited',
  'overloaded',
  'quota',
  'auth',
  'not-found',
  'failure',
] as const satisfies Cause[]
const spans = ['second', 'minute', 'hour', 'day', 'month'] as const
const names = spans.flatMap((span): WindowName[] => [`requests:${span}`, `tokens:${span}`])

const cooldown = v.object({
  cause: v.picklist(causes),
  coolUntil: number,
  coolSince: number,
  strikes: count,
  lastResortAt: v.exactOptional(number),
  unpaid: v.exactOptional(v.literal(true)),
})

const window = v.object({
  pending: amount,
  // More than a window ever holds, and few enough to do no harm.
  buckets: v.pipe(v.array(v.object({ until: number, amount })), v.maxLength(1_000)),
  learnedLimit: v.optional(v.pipe(amount, v.minValue(1))),
  learnedUntil: v.optional(number),
  left: v.optional(number),
  leftUntil: v.optional(number),
  leftAsOf: v.optional(number),
  closedUntil: v.optional(number),
})

const scope = v.object({
  touched: number,
  cooldown: v.exactOptional(cooldown),
  windows: v.record(v.picklist(names), window),
  crowd: v.exactOptional(v.object({ limit: v.pipe(count, v.minValue(1)), since: number })),
  tooLarge: v.exactOptional(v.object({ tokens: amount, until: number })),
  meanOutput: v.exactOptional(amount),
})

/** A window as it is kept: all buckets in one list, and what they hold together is summed up anew. */
export type KeptWindow = v.InferOutput<typeof window>
/** A scope's state as it is kept. */
export type KeptScope = Omit<v.InferOutput<typeof scope>, 'windows'> & {
  readonly windows: Readonly<Partial<Record<WindowName, KeptWindow>>>
}

/** Whether a state holds anything that should outlive its process. */
export function isWorthKeeping(state: ScopeState | undefined): boolean {
  if (state === undefined) return false
  if (state.cooldown !== undefined || state.tooLarge !== undefined) return true
  return hasWindows(state)
}

/** That part of a state. */
export function keptScope({
  cooldown,
  windows,
  crowd,
  tooLarge,
  meanOutput,
  touched,
}: ScopeState): KeptScope {
  return {
    touched,
    windows: Object.fromEntries(
      Object.entries(windows).map(([name, { newest, ...rest }]) => [
        name,
        newest === undefined ? rest : { ...rest, buckets: [...rest.buckets, newest] },
      ]),
    ),
    ...(cooldown && { cooldown: withoutProbe(cooldown) }),
    ...(crowd && { crowd }),
    ...(tooLarge && { tooLarge }),
    ...(meanOutput !== undefined && { meanOutput }),
  }
}

function withoutProbe(cooldown: Cooldown): Cooldown {
  const { probe: _, ...rest } = cooldown
  return rest
}

/** Reads one back; undefined for anything that none of ours wrote. Never throws. */
export function readScope(value: unknown): KeptScope | undefined {
  const read = v.safeParse(scope, value)
  return read.success ? read.output : undefined
}

/** Reads the frame around the scopes; undefined for anything else. */
export function readFrame(value: unknown): v.InferOutput<typeof frame> | undefined {
  const read = v.safeParse(frame, value)
  return read.success ? read.output : undefined
}

const frame = v.object({
  version: v.literal(1),
  savedAt: number,
  now: number,
  scopes: v.array(v.unknown()),
  affinity: v.array(v.unknown()),
})
