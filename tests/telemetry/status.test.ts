import { describe, expect, test } from 'vitest'
import { attemptEvent } from './events.ts'
import { createBed, failure, model, NOW } from './status-bed.ts'

test('a gateway that was just started says what it is configured to do', () => {
  const bed = createBed([model('a', { groups: ['fast'] }), model('b')], {
    settings: { strategy: 'headroom', affinity: 'header:X-Team' },
  })
  const { upstreams, ...gateway } = bed.status()
  expect(gateway).toEqual({
    version: '0.1.0',
    started_at: '2026-11-22T11:59:55.000Z',
    uptime_ms: 5_000,
    admin: 'read',
    can_answer: { now: true, why: null },
    last_hour: { requests: 0, answered_share: null, first_byte_ms: null },
    needs_you: [],
    strategy: 'headroom',
    affinity: 'header:x-team',
    models: ['auto', 'fast', 'model-a', 'model-b'],
    queue: { waiting: 0, size: 256 },
    draining: false,
    last_reload: null,
    reloads: { ok: 0, refused: 0 },
    config_warnings: [],
  })
  expect(upstreams.map(({ name }) => name)).toEqual(['a', 'b'])
})

test('an upstream without a past is available and has nothing to tell', () => {
  const bed = createBed([
    model('a', { weight: 2, priority: 1, endpoints: ['chat', 'embeddings'], groups: ['fast'] }),
  ])
  expect(bed.of(0)).toEqual({
    id: expect.stringMatching(/^[0-9a-z]{5,10}$/),
    name: 'a',
    model: 'model-a',
    host: 'a.test:8443',
    key: { position: 1, last4: '…et-a' },
    proxy: null,
    priority: 1,
    weight: 2,
    groups: ['fast'],
    endpoints: ['chat', 'embeddings'],
    enabled: true,
    paused: false,
    paused_since: null,
    available: true,
    why: null,
    reason: null,
    blocked_by: null,
    until: null,
    for_ms: null,
    resting_endpoints: [],
    in_flight: 0,
    windows: [],
    abilities: { can: {}, most: {} },
    last_outcomes: [],
    first_bytes: [],
    last_error: null,
    first_byte_ms: null,
    attempts: 0,
    failures: 0,
  })
})

test('the queue, a shutdown, reloads and the warnings of the configuration are shown', () => {
  const lastReload = {
    at: Date.UTC(2026, 10, 22, 11, 30),
    ok: false,
    problems: ['config.json:1:1: models: is empty; add one'],
  }
  const warnings = ['config.json:3:5: models[0].api_key: is still a placeholder; put the key here']
  const configState = { lastReload, reloads: { ok: 2, refused: 1 }, warnings }
  expect(createBed([model('a')]).status({ waiting: 7, isDraining: true, configState })).toMatchObject({
    queue: { waiting: 7, size: 256 },
    draining: true,
    reloads: { ok: 2, refused: 1 },
    config_warnings: warnings,
    last_reload: { ...lastReload, at: '2026-11-22T11:30:00.000Z' },
  })
})

test.each([
  { outcome: { cause: 'rate-limited', hintMs: 30_000 }, why: 'rate-limited', by: 'upstream', forMs: 30_000 },
  {
    outcome: { cause: 'rate-limited', scope: 'key', hintMs: 30_000 },
    why: 'rate-limited',
    by: 'key',
    forMs: 30_000,
  },
  { outcome: { cause: 'quota', hintMs: 7_200_000 }, why: 'quota spent', by: 'upstream', forMs: 7_200_000 },
  {
    outcome: { cause: 'auth', scope: 'key' },
    why: 'needs attention: key refused',
    by: 'key',
    forMs: 300_000,
  },
  {
    outcome: { cause: 'not-found', scope: 'endpoint' },
    why: 'needs attention: model or endpoint not found',
    by: 'endpoint',
    forMs: 600_000,
  },
  { outcome: { cause: 'failure' }, why: 'failure', by: 'upstream', forMs: 1_000 },
] as const)(
  'after $outcome it says "$why", whose state it is, and until when by the wall clock; a limit is over by itself, anything else with a success',
  ({ outcome, why, by, forMs }) => {
    const bed = createBed([model('a')])
    bed.ask(0, { outcome: failure(outcome) })
    const until = new Date(Date.UTC(2026, 10, 22, 12) + forMs).toISOString()
    expect(bed.of(0)).toMatchObject({ available: false, why, blocked_by: by, until, for_ms: forMs })
    bed.pass(forMs + 1)
    const isOver = /rate-limited|quota/.test(why)
    const then = isOver
      ? { available: true, why: null }
      : { available: false, why: `${why}; the next request tries it` }
    expect(bed.of(0)).toMatchObject({ ...then, until: null, for_ms: null })
    bed.ask(0, { outcome: { kind: 'ok' } })
    expect(bed.of(0)).toMatchObject({ available: true, why: null, until: null, for_ms: null })
  },
)

test('while one request finds out whether a failure is over, the others read that it is being tried', () => {
  const bed = createBed([model('a')])
  bed.ask(0, { outcome: failure({}) })
  bed.pass(2_000)
  const probe = bed.lease(0)
  expect(bed.of(0)).toMatchObject({ available: false, why: 'failure, being tried again', in_flight: 1 })
  if (probe) bed.store.settle(probe, { kind: 'ok' }, { now: NOW + 2_000, wall: NOW + 2_000 })
  expect(bed.of(0).in_flight).toBe(0)
})

test.each([
  { outcome: { cause: 'rate-limited', hintMs: 30_000 }, reason: 'rate-limited', later: null },
  { outcome: { cause: 'quota', hintMs: 7_200_000 }, reason: 'quota', later: null },
  { outcome: { cause: 'quota', code: 'insufficient_quota' }, reason: 'unpaid', later: 'unpaid' },
  { outcome: { cause: 'auth', scope: 'key' }, reason: 'auth', later: 'auth' },
  { outcome: { cause: 'not-found' }, reason: 'not-found', later: 'not-found' },
  { outcome: { cause: 'failure' }, reason: 'failure', later: 'untried' },
  { outcome: { cause: 'overloaded' }, reason: 'overloaded', later: null },
] as const)(
  'after $outcome the reason is the word "$reason", and $later once the rest is over',
  ({ outcome, reason, later }) => {
    const bed = createBed([model('a')])
    bed.ask(0, { outcome: failure(outcome) })
    expect(bed.of(0)).toMatchObject({ available: false, reason })
    bed.pass(31 * 86_400_000)
    expect(bed.of(0)).toMatchObject({ available: later === null, reason: later })
  },
)

test('a limit of any kind is the reason "limit", and an upstream that is switched off "disabled"', () => {
  const bed = createBed([model('a', { limits: { rpm: 1 } }), model('b', { enabled: false })])
  bed.ask(0, { outcome: { kind: 'ok' } })
  expect(bed.of(0)).toMatchObject({ available: false, reason: 'limit' })
  expect(bed.of(1)).toMatchObject({ available: false, reason: 'disabled' })
})

test('a disabled upstream is shown, and says that it is', () => {
  const bed = createBed([model('a', { enabled: false }), model('b')])
  expect(bed.of(0)).toMatchObject({ enabled: false, available: false, why: 'disabled', until: null })
})

test('an endpoint that is not there rests alone: the upstream stays available', () => {
  const bed = createBed([model('a')])
  bed.ask(0, { endpoint: 'embeddings', outcome: failure({ cause: 'not-found', scope: 'endpoint' }) })
  expect(bed.of(0).available).toBe(true)
  expect(bed.of(0).resting_endpoints).toEqual([
    {
      endpoint: 'embeddings',
      why: 'needs attention: model or endpoint not found',
      until: '2026-11-22T12:10:00.000Z',
    },
  ])
})

test('an upstream that serves no chat is judged by the first endpoint that it serves', () => {
  const bed = createBed([model('a', { endpoints: ['images', 'audio'] })])
  bed.ask(0, { endpoint: 'images', outcome: failure({ cause: 'not-found', scope: 'endpoint' }) })
  expect(bed.of(0)).toMatchObject({ available: false, blocked_by: 'endpoint' })
})

test('what it did lately is told with dates, whole ms and null for an answer that never came', () => {
  const bed = createBed([model('a')])
  const upstreamId = bed.upstreams[0]!.id
  bed.recent.report(attemptEvent({ upstreamId, firstByteMs: 80.4, durationMs: 312.6 }))
  bed.pass(1_000)
  const {
    status: _,
    firstByteMs: __,
    ...unanswered
  } = attemptEvent({ upstreamId, outcome: 'failure', durationMs: 5 })
  bed.recent.report(unanswered)
  expect(bed.of(0)).toMatchObject({
    attempts: 2,
    failures: 1,
    first_byte_ms: { p50: 80, p95: 80 },
    last_outcomes: [
      { at: '2026-11-22T12:00:01.000Z', outcome: 'failure', status: null, ms: 5 },
      { at: '2026-11-22T12:00:00.000Z', outcome: 'ok', status: 200, ms: 313 },
    ],
  })
})

test('no secret and no part of one is in it, and JSON keeps all of it', () => {
  const bed = createBed(
    [model('a', { headers: { 'x-secret': 'sk-header-secret' }, limits: { rpm: 1 }, quota: 'shared' })],
    { quotas: { shared: { rpd: 5 } } },
  )
  bed.ask(0, { outcome: failure({ cause: 'auth', scope: 'key' }) })
  const status = bed.status()
  expect(JSON.stringify(status)).not.toContain('secret')
  for (const { id } of bed.upstreams) expect(JSON.stringify(status)).not.toContain(id)
  expect(JSON.parse(JSON.stringify(status))).toEqual(status)
})

test('a dead upstream says why, how often and where, and stays away from the list of the available', () => {
  const bed = createBed([model('a')])
  const url = 'https://a.test:8443/v1/chat/completions'
  const refusal = { url, reason: 'connection refused', isUnsent: true }
  for (let times = 0; times < 3; times++) {
    bed.ask(0, { outcome: failure({ class: 'not-sent', reason: 'connection refused' }) })
    bed.recent.report(
      attemptEvent({
        upstreamId: bed.upstreams[0]!.id,
        outcome: 'failure',
        status: undefined,
        failure: refusal,
      }),
    )
    bed.pass(60_000)
  }
  expect(bed.of(0)).toMatchObject({
    available: false,
    why: 'connection refused, 3 in a row; the next request tries it',
    blocked_by: 'upstream',
    until: null,
    last_error: {
      at: '2026-11-22T12:02:00.000Z',
      status: null,
      reason: 'connection refused',
      url,
      message: null,
    },
  })
  bed.ask(0, { outcome: { kind: 'ok' } })
  expect(bed.of(0)).toMatchObject({
    available: true,
    why: null,
    last_error: { reason: 'connection refused' },
  })
})

test.each([
  { status: 503, cause: 'failure', why: 'status 503' },
  // It said something else last, of another endpoint for one: that is not why it rests.
  { status: 404, cause: 'not-found', why: 'failure' },
] as const)(
  'an upstream that rests for a failure and said $status last says "$why"',
  ({ status, cause, why }) => {
    const bed = createBed([model('a')])
    bed.ask(0, { outcome: failure({ status: 503 }) })
    const told = { url: 'https://a.test:8443/v1/x', words: 'try later', isUnsent: false }
    bed.recent.report(
      attemptEvent({ upstreamId: bed.upstreams[0]!.id, outcome: cause, status, failure: told }),
    )
    expect(bed.of(0)).toMatchObject({ why, last_error: { status, reason: null, message: 'try later' } })
  },
)

describe('what needs somebody', () => {
  test('is told once for all whom it concerns, with what would be right and since when', () => {
    const key = { api_key: 'sk-shared-by-three', base_url: 'https://a.test/v1' }
    const bed = createBed([
      model('a', key),
      model('b', key),
      model('c'),
      model('d'),
      model('e', { enabled: false }),
    ])
    bed.ask(0, { outcome: failure({ cause: 'auth', scope: 'key' }) })
    bed.pass(1_000)
    bed.ask(2, { outcome: failure({ cause: 'not-found' }) })
    bed.ask(3, { outcome: failure({ cause: 'quota', code: 'insufficient_quota' }) })
    expect(bed.status().needs_you).toEqual([
      {
        kind: 'key_refused',
        upstream: null,
        text: 'the key of a, b was refused; write another one into the configuration, or have it enabled at the vendor',
        since: '2026-11-22T12:00:00.000Z',
      },
      {
        kind: 'not_found',
        upstream: 'c',
        text: 'the model or the endpoint of c was not found; correct model or base_url in the configuration',
        since: '2026-11-22T12:00:01.000Z',
      },
      {
        kind: 'no_credits',
        upstream: 'd',
        text: 'the account of d has no credit left; pay, then end the rest by hand',
        since: '2026-11-22T12:00:01.000Z',
      },
    ])
  })

  test('is what the configuration and the state want too, and nothing that heals', () => {
    const bed = createBed([model('a')])
    bed.ask(0, { outcome: failure({ cause: 'rate-limited', hintMs: 60_000 }) })
    expect(bed.status().needs_you).toEqual([])
    const lastReload = {
      at: Date.UTC(2026, 10, 22, 11),
      ok: false,
      problems: ['c.json:1:1: x', 'c.json:2:1: y'],
    }
    const configState = { lastReload, warnings: ['w'], stateProblem: "state.json can't be written" }
    const told = bed.status({ configState }).needs_you
    expect(told.map(({ kind, text }) => [kind, text])).toEqual([
      ['state_not_kept', "state.json can't be written"],
      ['reload_refused', 'the changed configuration is refused: c.json:1:1: x; c.json:2:1: y'],
      ['config_warning', 'w'],
    ])
  })

  test('of a long list names the first', () => {
    const key = { api_key: 'sk-shared-by-many', base_url: 'https://a.test/v1' }
    const bed = createBed(['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => model(name, key)))
    bed.ask(0, { outcome: failure({ cause: 'auth', scope: 'key' }) })
    expect(bed.status().needs_you[0]?.text).toContain('of a, b, c, d, e and 2 more was')
  })
})

test('a key is shown by its place and its last four characters, and a short one not at all', () => {
  const keys = ['sk-0123456789-abcd', 'short-secret-15', 'sk-0123456789-wxyz']
  const bed = createBed([model('a', { api_key: keys }), model('b', { api_key: '' })])
  expect(bed.status().upstreams.map(({ key }) => key)).toEqual([
    { position: 1, last4: '…abcd' },
    { position: 2, last4: null },
    { position: 3, last4: '…wxyz' },
    { position: null, last4: null },
  ])
})

test('an upstream has the same id under another name, and no two have one', () => {
  const idsOf = (models: readonly object[]) =>
    createBed(models)
      .status()
      .upstreams.map(({ id }) => id)
  const keys = { api_key: ['sk-1', 'sk-2'] }
  const ids = idsOf([model('a', keys), model('b'), model('b', { api_key: 'sk-3' })])
  expect(new Set(ids).size).toBe(4)
  const renamed = idsOf([
    model('b', { name: 'x' }),
    model('b', { api_key: 'sk-3' }),
    model('a', { ...keys, weight: 7 }),
  ])
  expect([...renamed].toSorted()).toEqual([...ids].toSorted())
})

test('of the last forty answers the first bytes are listed, oldest first', () => {
  const bed = createBed([model('a')])
  const upstreamId = bed.upstreams[0]!.id
  for (let nth = 0; nth < 250; nth++) bed.recent.report(attemptEvent({ upstreamId, firstByteMs: nth + 0.4 }))
  expect(bed.of(0).first_bytes).toEqual(Array.from({ length: 40 }, (_, at) => 210 + at))
})
