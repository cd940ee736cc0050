/** What stands in the text of a state file as counted and no longer under way, of all windows by the day together. */
export function countedByDay(text: string): number {
  const days = [...text.matchAll(/:day":\{"pending":0,"buckets":(\[[^\]]*\])/g)]
  const buckets = days.flatMap(([, list = '[]']) => JSON.parse(list) as { amount: number }[])
  return buckets.reduce((sum, { amount }) => sum + amount, 0)
}
