const PATIENCE_MS = 20_000

/** Looks again and again until something is true; rejects with what was seen last when it never is. */
export async function until<T>(
  look: () => T | Promise<T>,
  isSo: (seen: T) => boolean,
  patienceMs = PATIENCE_MS,
): Promise<T> {
  const since = performance.now()
  for (;;) {
    const seen = await look()
    if (isSo(seen)) return seen
    if (performance.now() - since > patienceMs)
      throw new Error(`after ${patienceMs} ms it was still ${JSON.stringify(seen)}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
