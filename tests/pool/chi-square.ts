/** Upper 0.1 % points of the chi-square distribution, by degrees of freedom. */
const CRITICAL = [0, 10.828, 13.816, 16.266, 18.467]

/** Whether counts could be draws in proportion to the weights: false only at p < 0.001. */
export function isInProportion(counts: readonly number[], weights: readonly number[]): boolean {
  const total = counts.reduce((sum, n) => sum + n, 0)
  const whole = weights.reduce((sum, n) => sum + n, 0)
  const chi = counts.reduce((sum, n, at) => {
    const expected = (total * weights[at]!) / whole
    return sum + (n - expected) ** 2 / expected
  }, 0)
  return chi < CRITICAL[counts.length - 1]!
}
