/** Remembers who served a key; bounded, the longest unused go first. */
export interface AffinityTable {
  recall(key: string, now: number): string | undefined
  remember(key: string, upstream: string, life: { ttlMs: number; now: number }): void
  /** The `most` newest that are not forgotten yet, oldest first, for keeping across a restart. */
  newest(most: number, now: number): [key: string, upstream: string, until: number][]
  readonly size: number
}

/** @param capacity the most keys kept; at 100,000 keys of 15 characters about 20 MB */
export function createAffinityTable(capacity = 100_000): AffinityTable {
  // A Map keeps insertion order: re-inserting on use makes the first key the longest unused one.
  const kept = new Map<string, { upstream: string; until: number }>()
  // One walk for the table's whole life: each new one would pass all places of keys that are gone already.
  const oldest = kept.keys()
  return {
    get size() {
      return kept.size
    },
    recall(key, now) {
      const entry = kept.get(key)
      if (entry === undefined) return undefined
      if (entry.until > now) return entry.upstream
      kept.delete(key)
      return undefined
    },
    remember(key, upstream, { ttlMs, now }) {
      kept.delete(key)
      kept.set(key, { upstream, until: now + ttlMs })
      if (kept.size > capacity) kept.delete(oldest.next().value ?? key)
    },
    newest(most, now) {
      const found: [string, string, number][] = []
      let older = kept.size - most
      for (const [key, { upstream, until }] of kept) {
        if (older-- > 0) continue
        if (until > now) found.push([key, upstream, until])
      }
      return found
    },
  }
}
