import { serverMutations } from './server-mutations.ts'
import { stateMutations } from './state-mutations.ts'
import { transportMutations } from './transport-mutations.ts'

/** One small wrong change, and the tests that must notice it. */
export interface Mutation {
  readonly file: string
  /** Text that occurs exactly once in the file. */
  readonly search: string
  readonly replace: string
  /** The rule that it breaks. */
  readonly because: string
  /** Test files that hold the rule. */
  readonly tests: readonly string[]
}

const relay = (file: string): string => `src/relay/${file}.ts`
const tests = (...names: string[]): string[] => names.map((name) => `tests/relay/${name}.test.ts`)

/** The rules of attempts, one broken at a time. */
const relayMutations: readonly Mutation[] = [
  {
    file: relay('relay'),
    search: 'ambiguous: { further: 2,',
    replace: 'ambiguous: { further: 3,',
    because: 'ambiguous failures are tried three times in all',
    tests: tests('classes'),
  },
  {
    file: relay('relay'),
    search: 'refused: { further: Infinity,',
    replace: 'refused: { further: 2,',
    because: 'refusals go on through all',
    tests: tests('classes'),
  },
  {
    file: relay('relay'),
    search: "'refused-body': { further: 2,",
    replace: "'refused-body': { further: Infinity,",
    because: 'a refused body is shown to two others',
    tests: tests('classes'),
  },
  {
    file: relay('relay'),
    search: '!hasOthers || deps.traffic.budget.spend(now)',
    replace: '!hasOthers || now > 0',
    because: 'retries are inside a budget',
    tests: tests('classes', 'retry-budget'),
  },
  {
    file: relay('relay'),
    search: 'attempts.length >= maxAttempts',
    replace: 'attempts.length > maxAttempts',
    because: 'settings.max_attempts is a cap',
    tests: tests('classes'),
  },
  {
    file: relay('relay'),
    search: ' || now >= deadline) return false',
    replace: ') return false',
    because: 'nothing is tried after twice the timeout',
    tests: tests('clocks'),
  },
  {
    file: relay('attempt'),
    search: '+ 2 * state.longestTimeoutMs',
    replace: '+ 3 * state.longestTimeoutMs',
    because: 'the first byte comes within twice the timeout',
    tests: tests('clocks'),
  },
  {
    file: relay('attempt'),
    search: 'state.tried.add(upstream.id)',
    replace: '',
    because: 'the same upstream is never tried twice',
    tests: tests('classes', 'last-resort'),
  },
  {
    file: relay('relay'),
    search: "if (failure.scope === 'none') state.refusedBy = new Set([...state.refusedBy, upstream.id])",
    replace: '',
    because: 'who refuses one request is not asked for it again after a wait',
    tests: tests('waiting'),
  },
  {
    file: relay('relay'),
    search: 'state.refusers.push(upstream)',
    replace: '',
    because: 'other models and other hosts come first after a refused body',
    tests: tests('classes'),
  },
  {
    file: relay('candidates'),
    search: 'state.upstreams = [upstream]',
    replace: 'state.upstreams = [upstream, ...state.upstreams]',
    because: 'what builds on an answer goes to its holder alone',
    tests: tests('affinity'),
  },
  {
    file: relay('select'),
    search: 'lease !== undefined && state.upstreams.length > 1',
    replace: 'lease !== undefined',
    because: 'what builds on an answer goes to its holder alone, where a remote store finds it out',
    tests: tests('round-trips'),
  },
  {
    file: relay('select'),
    search: 'remembered === null || unresolvedPins.length > 0',
    replace: 'unresolvedPins.length > 0',
    because: 'a key that a remote store remembers is found however many upstreams there are',
    tests: tests('round-trips'),
  },
  {
    file: relay('queue'),
    search: 'pauseMs * GROWTH',
    replace: 'pauseMs',
    because: 'who waits in vain asks a remote store ever more rarely',
    tests: tests('shared-queue'),
  },
  {
    file: 'src/state/fallback-store.ts',
    search: 'if (wasSent) remote.reportUsage(',
    replace: 'if (!wasSent) remote.reportUsage(',
    because: 'what was sent while a remote store was away is told to it',
    tests: tests('object-away'),
  },
  {
    file: relay('attempt'),
    search: 'if (clientSignal.aborted) {\n    endLease(',
    replace: 'if (false) {\n    endLease(',
    because: 'nothing is sent for a client that has left',
    tests: tests('leaving', 'remote-store'),
  },
  {
    file: relay('attempt'),
    search: 'if (!clientSignal.aborted) {',
    replace: 'if (deps !== undefined) {',
    because: 'a client that leaves blames nobody',
    tests: tests('leaving'),
  },
  {
    file: relay('attempt'),
    search: 'Math.min(upstream.timeoutMs, state.deadline - this.startedAt)',
    replace: 'upstream.timeoutMs',
    because: 'the first byte comes within twice the timeout',
    tests: tests('clocks'),
  },
  {
    file: relay('attempt'),
    search: "if (this.form === 'json') this.stopClock()",
    replace: '',
    because: 'a long answer that makes progress is not late',
    tests: tests('clocks'),
  },
  {
    file: relay('commit'),
    search: 'MOST_PREAMBLE_BYTES = 262_144',
    replace: 'MOST_PREAMBLE_BYTES = 1',
    because: 'a preamble is held back',
    tests: tests('commit'),
  },
  {
    file: relay('commit'),
    search: 'for (const event of [...unended, ...scanner.end()]) {',
    replace: 'for (const event of []) {',
    because: 'a last event may lack its blank line',
    tests: tests('commit'),
  },
  {
    file: relay('commit'),
    search: 'return undefined\n    discard(reader)',
    replace: 'return undefined',
    because: 'an error ends the reading of its stream',
    tests: tests('commit'),
  },
  {
    file: relay('commit'),
    search: "hasStopped ? 'empty' : 'brokenAnswer'",
    replace: "size > 0 ? 'empty' : 'brokenAnswer'",
    because: 'a stream that ends without a word of its end is cut',
    tests: tests('commit'),
  },
  {
    file: relay('stream'),
    search: 'if (observer?.atBoundary() !== true)',
    replace: 'if (observer === undefined)',
    because: 'half an event is never followed by anything',
    tests: tests('broken-streams'),
  },
  {
    file: relay('stream'),
    search: "if (observer?.isCutShort() === true) return breakOff('upstream_disconnected')",
    replace: '',
    because: 'a clean end without a last word is a break',
    tests: tests('broken-streams'),
  },
  {
    file: relay('stream'),
    search: "clientSignal.addEventListener('abort', onClientAbort)",
    replace: '',
    because: 'a client that leaves ends the body, whether or not somebody reads it',
    tests: tests('leaving'),
  },
  {
    file: relay('stream'),
    search: "end({ kind: 'broken', code })",
    replace: "end({ kind: 'aborted', sent: true })",
    because: 'an upstream that breaks off cools',
    tests: tests('broken-streams'),
  },
  {
    file: relay('queue'),
    search: 'else for (const id of waiter.wants) taken.add(id)',
    replace: '',
    because: 'nobody takes what an earlier one waits for',
    tests: tests('queue'),
  },
  {
    file: relay('queue'),
    search: 'waiters.length >= limits.size()',
    replace: 'waiters.length > limits.size()',
    because: 'the queue is bounded',
    tests: tests('queue'),
  },
  {
    file: relay('queue'),
    search: 'now >= round.since + HEARTBEAT_TIMEOUT_MS',
    replace: 'now < 0',
    because: 'a request that ended without a word does not hold up the queue',
    tests: tests('queue'),
  },
  {
    file: relay('queue'),
    search: "} else if (typeof how === 'object') request.release(how.got)",
    replace: '}',
    because: 'a place that is had too late is given back',
    tests: tests('queue'),
  },
  {
    file: relay('select'),
    search: 'if (queue.size === 0 || attempts.length > 0) return upstreams',
    replace: 'if (queue.size >= 0) return upstreams',
    because: 'a newcomer does not overtake',
    tests: tests('waiting'),
  },
  {
    file: relay('select'),
    search: 'settings.queueTimeoutMs - queuedMs',
    replace: 'settings.queueTimeoutMs',
    because: 'all waiting together takes no longer than queue_timeout',
    tests: tests('waiting'),
  },
  {
    file: relay('select'),
    search: 'if (hasWaited) state.tried.clear()',
    replace: '',
    because: 'after a wait the order is made anew',
    tests: tests('waiting'),
  },
  {
    file: relay('select'),
    search: 'if (lease !== undefined || state.unresolvedPins !== unresolvedPins) return lease',
    replace: '',
    because: 'one passive failure never refuses service',
    tests: tests('last-resort'),
  },
  {
    file: relay('select'),
    search: 'reopensAt(a.reason) - reopensAt(b.reason)',
    replace: 'reopensAt(b.reason) - reopensAt(a.reason)',
    because: 'the failing one whose cooldown ends soonest is tried',
    tests: tests('last-resort'),
  },
  {
    file: relay('exhausted'),
    search: 'waiting.length > 0 || limited.length > 0',
    replace: 'waiting.length > 0 && failures.length === limited.length',
    because: 'mixed outcomes with a limit among them are 429',
    tests: tests('exhausted'),
  },
  {
    file: relay('exhausted'),
    search: 'Math.max(1, Math.ceil(ms / 1000))',
    replace: 'Math.floor(ms / 1000)',
    because: 'retry-after is whole seconds, at least one, never too short',
    tests: tests('exhausted'),
  },
  {
    file: relay('exhausted'),
    search: 'ms > LONGEST_RETRY_MS',
    replace: 'ms >= LONGEST_RETRY_MS',
    because: 'x-should-retry is false above 60 s',
    tests: tests('exhausted'),
  },
  {
    file: relay('exhausted'),
    search: "lastCode === 'upstream_overloaded' && !isAllOverload",
    replace: "lastCode === 'upstream_overloaded' && lastCode === undefined",
    because: '503 only when all said so',
    tests: tests('exhausted'),
  },
  {
    file: relay('retry-budget'),
    search: 'SPENT_SLOTS = 11',
    replace: 'SPENT_SLOTS = 10',
    because: 'the budget holds in any 10 s',
    tests: tests('retry-budget'),
  },
  {
    file: relay('headers'),
    search: "name !== 'openai-organization' && ",
    replace: '',
    because: "a client's organisation is not the upstream's",
    tests: tests('headers'),
  },
  {
    file: relay('commit'),
    search: "form === 'page' || form === 'blank'",
    replace: 'form === undefined',
    because: 'a page is not shown',
    tests: tests('classes'),
  },
]

/** The rules of paths that are not relayed. */
const pathMutations: readonly Mutation[] = [
  {
    file: 'src/http/paths.ts',
    search: "segment.replace(/;.*/s, '')",
    replace: 'segment',
    because: 'a relayed path with parameters goes to the pool',
    tests: ['tests/http/relayed-routes.test.ts'],
  },
  {
    file: 'src/http/paths.ts',
    search: '|7f|25|5c|',
    replace: '|7f|5c|',
    because: 'a path with escaped escapes is not passed on',
    tests: ['tests/http/passthrough.test.ts'],
  },
  {
    file: 'src/http/routes.ts',
    search: '!isBelow || !isSafePath(path)',
    replace: '!isSafePath(path)',
    because: 'a path that climbs to /v1/ is not passed on',
    tests: ['tests/http/passthrough.test.ts'],
  },
  {
    file: 'src/http/routes.ts',
    search: '(!isForeign && isAtOrBelow(passthroughPaths, path))',
    replace: 'isAtOrBelow(passthroughPaths, path)',
    because: 'other protocols are passed on only where everything is',
    tests: ['tests/http/protocols.test.ts'],
  },
  {
    file: 'src/http/routes.ts',
    search: '/v\\d[\\d.]*(?:[a-z]+\\d*)?$/i',
    replace: '/',
    because: 'nothing is passed on below a root without a version',
    tests: ['tests/http/passthrough.test.ts'],
  },
  {
    file: relay('passthrough'),
    search: 'const pinKeys = isAsked ? [key] : undefined',
    replace: 'const pinKeys = undefined',
    because: 'a shared store tells who made an answer with the acquire',
    tests: ['tests/http/stored-answers.test.ts'],
  },
  {
    file: relay('passthrough'),
    search: "endLease(lease, { kind: 'aborted', sent: false }, deps)",
    replace: '',
    because: 'a lease of somebody else than made the answer is given back',
    tests: ['tests/http/stored-answers.test.ts'],
  },
]

const heartbeat = { file: 'src/http/heartbeat.ts', tests: ['tests/http/heartbeat.test.ts'] } as const

/** The rules of signs of life. */
const heartbeatMutations: readonly Mutation[] = [
  {
    ...heartbeat,
    search: 'answer.finally(stop).then(resolve, reject)',
    replace: 'answer.then(resolve, reject)',
    because: 'a fast answer leaves no timer',
  },
  {
    ...heartbeat,
    search: 'isStream && STREAMED.has(endpoint) ?',
    replace: 'isStream ?',
    because: 'only three endpoints have streams',
  },
  {
    ...heartbeat,
    search: 'else if (sink.chunk(utf8Bytes(COMMENT))) beat()',
    replace: 'else void sink.chunk(utf8Bytes(COMMENT)), beat()',
    because: 'comments do not pile up',
  },
  {
    ...heartbeat,
    search: 'client.abort()',
    replace: '',
    because: 'a client that leaves ends its request',
  },
  {
    ...heartbeat,
    search: 'byte === LF || byte === CR ? SPACE : byte',
    replace: 'byte',
    because: 'an event is one line',
  },
  {
    ...heartbeat,
    search: 'retry_after_ms: retryAfterMs(headers, wallNow) ?? null',
    replace: 'retry_after_ms: null',
    because: 'a failure tells when to come back',
  },
]

const edits = { file: 'src/lib/json/edit.ts', tests: ['tests/lib/json/edit.property.test.ts'] } as const
const sessions = { file: 'src/openai/affinity-key.ts', tests: ['tests/http/affinity.test.ts'] } as const
const whys = { file: relay('select'), tests: tests('why') } as const

/** The rules of bodies that change, of sessions, and of what the log says of a choice. */
const bodyMutations: readonly Mutation[] = [
  {
    ...edits,
    search: 'if (keyStart !== nextKey) runStart = keyStart',
    replace: 'runStart = keyStart',
    because: 'the comma in front of all that goes goes too',
  },
  {
    ...edits,
    search: "edit.kind === 'drop' || scan.fields.has(edit.to)",
    replace: "edit.kind === 'drop'",
    because: "the client's own new name wins over a rename",
  },
  {
    ...edits,
    search: 'if (isEmptyObject || isEmptied) parts.pop()',
    replace: 'if (isEmptyObject) parts.pop()',
    because: 'no comma stands in front of nothing',
  },
  {
    file: relay('demand'),
    search: 'demands?.[id] ?? demand',
    replace: 'demands === undefined ? demand : demand',
    because: 'an upstream has to be able to do what it really gets',
    tests: tests('params'),
  },
  {
    file: 'src/state/availability.ts',
    search: 'ask.demands?.[claim.id] ?? ask',
    replace: 'ask',
    because: 'tokens are reserved for the body that is sent',
    tests: tests('params'),
  },
  {
    file: 'src/config/model-schema.ts',
    search: "whole.delete('stream_options')",
    replace: "whole.delete('')",
    because: 'stream_options go only with a stream',
    tests: tests('params'),
  },
  {
    ...sessions,
    search: 'value.length <= MOST_NAME_BYTES && !IS_NOTHING.test(value.trim())',
    replace: 'true',
    because: 'no session is what cannot be one',
  },
  {
    ...sessions,
    search: 'sessionIn(userIdOf(scan))',
    replace: 'userIdOf(scan)',
    because: 'one session sticks, and not all of a person',
  },
  {
    ...whys,
    search: "if (isPinned) return 'pinned'",
    replace: '',
    because: 'a pin says more than the order',
  },
  {
    ...whys,
    search: "if (candidates.length === 1) return 'only'",
    replace: '',
    because: 'who alone might take it was not chosen',
  },
]

/** All of them. */
export const mutations: readonly Mutation[] = [
  ...relayMutations,
  ...pathMutations,
  ...heartbeatMutations,
  ...bodyMutations,
  ...serverMutations,
  ...stateMutations,
  ...transportMutations,
]
