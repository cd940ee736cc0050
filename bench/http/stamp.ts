/** When a chunk was written, inside of it: the clock of one machine is the same for all of its processes. */

const DIGITS = 16
const MARK = '@'

const nowMicroseconds = (): number => {
  const [seconds, ns] = process.hrtime()
  return seconds * 1e6 + Math.round(ns / 1e3)
}

/** The present moment as a text of one length. */
export const stamp = (): string => `${MARK}${nowMicroseconds().toString().padStart(DIGITS, '0')}`

/** Ms since each of the stamps in a text; one that was cut in two is left out. */
export function delaysIn(text: string): number[] {
  const delays: number[] = []
  const now = nowMicroseconds()
  for (let at = text.indexOf(MARK); at >= 0; at = text.indexOf(MARK, at + 1)) {
    const written = text.slice(at + 1, at + 1 + DIGITS)
    if (written.length === DIGITS) delays.push((now - Number(written)) / 1_000)
  }
  return delays
}
