/** The text in pieces that end at these places, as a connection might cut it. */
export function cut(text: string, places: readonly number[]): string[] {
  const at = [...new Set(places.map((place) => place % (text.length + 1)))].toSorted((a, b) => a - b)
  return [...at, text.length].map((end, nth) => text.slice(at[nth - 1] ?? 0, end))
}
