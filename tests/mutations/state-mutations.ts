import type { Mutation } from './mutations.ts'

const state = (file: string): string => `src/state/${file}.ts`
const tests = (...names: string[]): string[] => names.map((name) => `tests/state/${name}.test.ts`)

/** The rules of limits that upstreams tell of, one broken at a time. */
export const stateMutations: readonly Mutation[] = [
  {
    file: state('rate-limit'),
    search: 'const saidAt = isRefusal ? now : askedAt',
    replace: 'const saidAt = now',
    because: 'a word speaks of when it was asked for',
    tests: tests('rate-limit'),
  },
  {
    file: state('rate-limit'),
    search: 'if (remaining >= least || !isDated) return 0',
    replace: 'if (remaining >= least) return 0',
    because: 'a zero without a reset only orders',
    tests: tests('memory', 'rate-limit'),
  },
  {
    file: state('rate-limit'),
    search: 'return Math.min(resetAt, saidAt + unitMs * (least - remaining))',
    replace: 'return saidAt + unitMs * (least - remaining)',
    because: 'behind the reset nothing is known, which is open',
    tests: tests('memory', 'rate-limit'),
  },
  {
    file: state('rate-limit'),
    search: 'const remaining = Math.min(said, most)',
    replace: 'const remaining = said',
    because: 'of answers under way together the least that is left counts',
    tests: tests('rate-limit'),
  },
  {
    file: state('rate-limit'),
    search: "if (kind === 'bucket') return fitsAt(meter, least)",
    replace: '',
    because: 'a spent bucket is closed for all that was sent since',
    tests: tests('rate-limit'),
  },
  {
    file: state('transitions'),
    search: 'Math.min(underWay, state.sent[counts] - before[counts] - amountOf(counts, lease.tokens))',
    replace: 'underWay',
    because: 'what a word holds already is not held against it',
    tests: tests('rate-limit'),
  },
  {
    file: state('rate-limit'),
    search: '    isProven: false,\n',
    replace: '',
    because: 'that a request does not fit is known up to the reset',
    tests: tests('rate-limit'),
  },
  {
    file: state('transitions'),
    search: 'readings.length > 0 && readings.every(({ remaining }) => remaining >= 1)',
    replace: 'readings.length > 0',
    because: 'what is spent explains a refusal, and not the size of the request',
    tests: tests('rate-limit'),
  },
  {
    file: state('availability'),
    search: 'if (!mayRefuse && (patienceMs === 0 ||',
    replace: 'if (!mayRefuse && (patienceMs < 0 ||',
    because: 'a guess delays and refuses nobody',
    tests: tests('memory', 'availability'),
  },
  {
    file: state('availability'),
    search: "const mayRefuse = !isGuess && role !== 'account'",
    replace: 'const mayRefuse = !isGuess',
    because: 'what a preset has the models of an account share refuses none of them',
    tests: tests('memory', 'availability', 'presumed-limits'),
  },
  {
    file: state('scope'),
    search: 'return Math.max(limit, windows[name]?.proven ?? 0)',
    replace: 'return limit',
    because: 'what is let through raises a presumed limit',
    tests: tests('presumed-limits'),
  },
  {
    file: state('scope'),
    search: 'if (walls[`${counts}:${spanMs}`]?.limit !== undefined) return Infinity',
    replace: '',
    because: 'a refusal that names a limit takes the place of the presumed one',
    tests: tests('presumed-limits'),
  },
  {
    file: state('circuit-breaker'),
    search: 'Math.min(until, now + QUIET_MS)',
    replace: 'until',
    because: 'nobody waits for the answer to a quiet probe of a limit',
    tests: tests('circuit-breaker'),
  },
  {
    file: state('soft-wall'),
    search: 'sent < burst ? Infinity',
    replace: 'sent < 0 ? Infinity',
    because: 'behind a rest as many go at once as came back at once',
    tests: tests('soft-wall'),
  },
  {
    file: state('soft-wall'),
    search: 'Math.min(now - before.answeredAt, 2 * before.pauseMs)',
    replace: 'now - before.answeredAt',
    because: 'the time in which nobody asked is no pace',
    tests: tests('soft-wall'),
  },
  {
    file: state('snapshot'),
    search: 'one.success ? [[name, one.output]] : []',
    replace: '[[name, one.output as Output]]',
    because: 'what can not be read of a kept limit is left out',
    tests: tests('snapshot'),
  },
]
