import type { Instant } from './instant.ts'
import type { MemoryStore } from './memory.ts'

/** What a row is about: a scope's state, or who served a key. */
export type RowKind = 'scope' | 'key'

/** A place for small texts, each under its kind and key. */
export interface Rows {
  all(): Iterable<{ readonly kind: RowKind; readonly key: string; readonly text: string }>
  put(kind: RowKind, key: string, text: string): void
  remove(kind: RowKind, key: string): void
}

/** Writes what has changed since it was last asked. */
export interface RowKeeper {
  write(at: Instant): void
}

/**
 * Takes back what stands in the rows, and keeps them up to date: a row for each scope and each key, since
 * one changed scope should not cost writing all of them. Damaged rows are none.
 */
export function keepRows(rows: Rows, store: MemoryStore, at: Instant): RowKeeper {
  const written: Record<RowKind, Map<string, string>> = { scope: new Map(), key: new Map() }
  for (const { kind, key, text } of rows.all()) written[kind]?.set(key, text)
  // Deadlines in the rows are on the object's clock, which is the wall clock in every life.
  const kept = {
    version: 1,
    savedAt: at.wall,
    now: at.now,
    scopes: entriesOf(written.scope),
    affinity: entriesOf(written.key).map(([key, [upstream, until]]) => [key, upstream, until]),
  }
  store.restore(kept, at)

  function update(kind: RowKind, entries: Iterable<readonly [key: string, value: unknown]>): void {
    const before = written[kind]
    const now = new Map<string, string>()
    for (const [key, value] of entries) {
      const text = JSON.stringify(value)
      now.set(key, text)
      if (before.get(key) !== text) rows.put(kind, key, text)
    }
    for (const key of before.keys()) if (!now.has(key)) rows.remove(kind, key)
    written[kind] = now
  }

  return {
    write(instant) {
      const { scopes, affinity } = store.keep(instant)
      update('scope', scopes)
      update(
        'key',
        affinity.map(([key, upstream, until]) => [key, [upstream, Math.round(until)]] as const),
      )
    },
  }
}

function entriesOf(texts: ReadonlyMap<string, string>): [string, [unknown, unknown]][] {
  const entries: [string, [unknown, unknown]][] = []
  for (const [key, text] of texts) {
    try {
      const value: unknown = JSON.parse(text)
      if (typeof value === 'object' && value !== null) entries.push([key, value as [unknown, unknown]])
    } catch {
      // A damaged row tells nothing; the next write removes it.
    }
  }
  return entries
}
