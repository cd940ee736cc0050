/*
 * How a limit comes back, as the words about it show: all at once (a window), one every so often (a bucket), or each a span
 * after it was spent (a log). Plain data and pure functions; all times in ms on the monotonic clock.
 */
import { type MeterReading, SPAN_MS } from '../pool/outcome.ts'
import { countReserved, EMPTY_WINDOW, firstForgottenAt, usedOf, type WindowState } from './rate-window.ts'

/** What was said of a limit, and of which time. */
export interface Word {
  readonly saidAt: number
  readonly resetAt: number
  readonly spent: number
}

/** How a limit comes back. */
export type MeterKind = 'window' | 'bucket' | 'log'

/** Resets are told in whole seconds, of two clocks. */
export const ROUNDING_MS = 1_500

/** Those who write Go durations keep buckets, until their words say otherwise. */
export const firstKind = ({ isDuration }: MeterReading): MeterKind => (isDuration ? 'bucket' : 'window')

/** How a limit comes back by all that was heard of it, and by what it was taken for before. */
export function kindOf(
  heard: {
    readonly first: Word
    readonly word: Word
    readonly isDated: boolean
    readonly isRefusal: boolean
    readonly namedMs: number
  },
  before: MeterKind,
): MeterKind {
  const { first, word, isDated, isRefusal, namedMs } = heard
  if (isDated) return isRefusal ? before : kindBetween(first, word, before)
  // Who names a span and no reset point may keep a log as well as anything else: it is the slowest to open.
  if (namedMs > 0) return 'log'
  return before === 'log' ? 'window' : before
}

/**
 * How a limit comes back, by two words about it: of a bucket the time until it is whole grows with what is spent, of a
 * sliding log it stays what it is, and a window's gets shorter by what has passed. Where that can't be told it is as before.
 */
function kindBetween(first: Word, word: Word, before: MeterKind): MeterKind {
  const firstMs = first.resetAt - first.saidAt
  const wordMs = word.resetAt - word.saidAt
  const misfits = {
    window: Math.abs(firstMs - wordMs - (word.saidAt - first.saidAt)),
    bucket: word.spent === 0 ? Infinity : misfitOfBucket(first, word),
    log: Math.abs(firstMs - wordMs),
  }
  const kinds: readonly MeterKind[] = ['window', 'bucket', 'log']
  const least = Math.min(...kinds.map((kind) => misfits[kind]))
  const likely = kinds.filter((kind) => misfits[kind] <= least + ROUNDING_MS)
  return likely.includes(before) ? before : (likely[0] ?? before)
}

/** By how many ms no pace of refilling fits both words. */
function misfitOfBucket(first: Word, word: Word): number {
  const [a, b] = [unitBounds(first), unitBounds(word)]
  return Math.max(0, Math.max(a.least, b.least) - Math.min(a.most, b.most)) * word.spent
}

/** What is left of a bucket is told in whole ones, so that a word gives two bounds for the ms in which one comes back. */
function unitBounds({ saidAt, resetAt, spent }: Word) {
  const ms = resetAt - saidAt
  return { least: spent > 0 ? ms / spent : 0, most: spent > 1 ? ms / (spent - 1) : Infinity }
}

const TEN_SECONDS_MS = 10 * SPAN_MS.second

/** Some tens of seconds and one more are those tens, in words that are rounded up to whole seconds. */
export function likelySpan(ms: number): number {
  const tens = Math.floor(ms / TEN_SECONDS_MS) * TEN_SECONDS_MS
  return tens > 0 && ms - tens <= SPAN_MS.second ? tens : ms
}

/** Fractions of units do not add up to whole ones. */
export const HAIR = 1e-6

/** What is left of a bucket, with the fraction that its reset point tells: in whole seconds none of a short unit. */
export function levelBy(
  resetMs: number,
  {
    whole,
    limit = whole,
    unitMs = Infinity,
  }: { readonly whole: number; readonly limit: number | undefined; readonly unitMs: number | undefined },
): number {
  if (unitMs === Infinity || (resetMs % SPAN_MS.second === 0 && unitMs <= 20 * ROUNDING_MS)) return whole
  return Math.min(whole + 1 - HAIR, Math.max(whole, limit - resetMs / unitMs))
}

/** Where our own log holds less of what is spent, others spend too. */
export const OWN_SHARE = 0.8

/** So much later than by our log an upstream may forget one, and so soon it is asked again then. */
export const LOG_LATE_MS = 500
export const LEAST_LOG_MS = 250

/**
 * Ms in which one comes back. Of a bucket the longest lower bound that was heard, while no upper one contradicts it; of a
 * log until the first of it is forgotten.
 */
export function unitOf(
  word: Word,
  { known = 0, log }: { readonly known: number | undefined; readonly log: WindowState | undefined },
): number | undefined {
  const { saidAt, spent } = word
  const logged = log === undefined ? 0 : usedOf(log, saidAt)
  if (log !== undefined && logged >= spent * OWN_SHARE) {
    // Where the upstream holds more than we do, it may not have forgotten yet what we just have.
    const ms = firstForgottenAt(log, logged < spent ? saidAt - LOG_LATE_MS : saidAt) - saidAt
    return ms === Infinity ? undefined : Math.max(LEAST_LOG_MS, ms)
  }
  const { least, most } = unitBounds(word)
  const unit = log === undefined && known > least && known <= most ? known : least
  return unit > 0 ? unit : undefined
}

/** A log that was seen from its first request on: what it holds before it is known as one. */
export function begunLog(first: Word, word: Word): WindowState {
  if (first.spent !== 1 || first === word) return EMPTY_WINDOW
  const counted = ({ resetAt: until, saidAt: now }: Word, actual: number) => ({
    reserved: 0,
    actual,
    until,
    now,
  })
  return countReserved(countReserved(EMPTY_WINDOW, counted(first, 1)), counted(word, word.spent - 1))
}
