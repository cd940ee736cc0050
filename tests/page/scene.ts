import type { EditableConfig, PresetLine } from '../../src/http/admin-config.ts'
import type { Explanation } from '../../src/events/explain.ts'
import type { RequestSummary } from '../../src/telemetry/live.ts'
import type { GatewayStatus, LimitStatus, UpstreamStatus } from '../../src/telemetry/status.ts'
import type { TokenStatus } from '../../src/telemetry/token-status.ts'
import type { UsagePointStatus, UsageStatus } from '../../src/telemetry/usage.ts'

/** A gateway in the middle of a working day, with every kind of state; the same for the same `now`. */
export interface Scene {
  readonly status: GatewayStatus
  readonly requests: readonly RequestSummary[]
  readonly usage: UsageStatus
  readonly explanations: Readonly<Record<string, Explanation>>
  readonly config: EditableConfig
  readonly presets: readonly PresetLine[]
  readonly tokens: { readonly tokens: readonly TokenStatus[] }
}

const SECOND = 1_000
const MINUTE = 60_000
const HOUR = 3_600_000
const DAY = 86_400_000

/** Numbers in [0, 1) that are always the same (mulberry32, public domain). */
function diceOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export function sceneAt(now: number): Scene {
  const dice = diceOf(7)
  const iso = (ms: number): string => new Date(now + ms).toISOString()
  const codes: Readonly<Record<number, string>> = {
    429: 'rate_limit_exceeded',
    400: 'invalid_json',
    502: 'upstream_error',
    499: 'client_closed_request',
  }
  const around = (middle: number, spread: number): number =>
    Math.round(middle * (1 + (dice() - 0.5) * spread))

  type Outcome = UpstreamStatus['last_outcomes'][number]['outcome']
  const statuses: Partial<Record<Outcome, number>> = { ok: 200, 'rate-limited': 429, failure: 503, auth: 401 }
  function outcomes(count: number, bad: (back: number) => Outcome | undefined, ms: number) {
    return Array.from({ length: count }, (_, back) => {
      const outcome = bad(back) ?? 'ok'
      const status = statuses[outcome] ?? 400
      return { at: iso(-back * 41 * SECOND - 2_000), outcome, status, ms: around(ms, 0.6) }
    })
  }
  const limit = (counts: string, window: string, more: Partial<LimitStatus>): LimitStatus => ({
    counts,
    window,
    scope: 'upstream',
    used: 0,
    limit: null,
    left: 0,
    source: 'configured',
    runs_out_at: null,
    reopens_at: null,
    resets_at: null,
    age: null,
    ...more,
  })
  function upstream(name: string, more: Partial<UpstreamStatus>): UpstreamStatus {
    return {
      id: name,
      groups: [],
      endpoints: ['chat'],
      proxy: null,
      reason: null,
      for_ms: null,
      resting_endpoints: [],
      abilities: { can: {}, most: {} },
      paused_since: null,
      name,
      model: name,
      host: 'api.example.com',
      priority: 0,
      weight: 1,
      enabled: true,
      available: true,
      why: null,
      blocked_by: null,
      until: null,
      in_flight: 0,
      windows: [],
      last_outcomes: [],
      last_error: null,
      first_byte_ms: null,
      attempts: 100,
      failures: 0,
      paused: false,
      key: { position: null, last4: null },
      first_bytes: [],
      ...more,
    }
  }
  const lastError = (ms: number, message: string): UpstreamStatus['last_error'] => ({
    at: iso(ms),
    status: null,
    reason: null,
    url: 'https://api.example.com/v1/chat/completions',
    message,
  })
  const bytes = (middle: number): number[] => Array.from({ length: 40 }, () => around(middle, 0.8))

  const upstreams = [
    upstream('groq', {
      model: 'openai/gpt-oss-120b',
      host: 'api.groq.com',
      key: { position: 1, last4: '…k3Qz' },
      in_flight: 3,
      windows: [
        limit('requests', 'minute', {
          used: 11,
          limit: 30,
          left: 19,
          source: 'preset',
          resets_at: iso(38 * SECOND),
        }),
        limit('tokens', 'minute', {
          used: 5_320,
          limit: 8_000,
          left: 2_680,
          source: 'learned',
          runs_out_at: iso(21 * SECOND),
        }),
        limit('requests', 'day', {
          used: 412,
          limit: 1_000,
          left: 588,
          source: 'learned',
          resets_at: iso(9 * HOUR),
        }),
      ],
      last_outcomes: outcomes(40, (back) => (back === 17 || back === 18 ? 'rate-limited' : undefined), 640),
      first_byte_ms: { p50: 212, p95: 480 },
      first_bytes: bytes(212),
    }),
    upstream('groq#2', {
      model: 'openai/gpt-oss-120b',
      host: 'api.groq.com',
      key: { position: 2, last4: '…7hVw' },
      available: false,
      why: 'rate-limited',
      blocked_by: 'key',
      until: iso(34 * SECOND),
      windows: [
        limit('requests', 'minute', {
          used: 30,
          limit: 30,
          left: 0,
          source: 'learned',
          reopens_at: iso(34 * SECOND),
        }),
        limit('tokens', 'minute', {
          used: 7_410,
          limit: 8_000,
          left: 590,
          source: 'learned',
          resets_at: iso(50 * SECOND),
        }),
      ],
      last_outcomes: outcomes(40, (back) => (back < 2 || back === 9 ? 'rate-limited' : undefined), 620),
      last_error: lastError(-5 * SECOND, 'Rate limit reached'),
      first_byte_ms: { p50: 231, p95: 512 },
      first_bytes: bytes(231),
    }),
    upstream('gemini', {
      model: 'gemini-3-flash',
      host: 'generativelanguage.googleapis.com',
      key: { position: null, last4: '…Rt9c' },
      in_flight: 1,
      windows: [
        limit('requests', 'minute', {
          used: 6,
          limit: 10,
          left: 4,
          source: 'preset',
          resets_at: iso(44 * SECOND),
        }),
        limit('requests', 'day', {
          used: 221,
          limit: 250,
          left: 29,
          source: 'preset',
          runs_out_at: iso(2.2 * HOUR),
        }),
      ],
      last_outcomes: outcomes(40, (back) => (back === 30 ? 'failure' : undefined), 980),
      first_byte_ms: { p50: 540, p95: 1_180 },
      first_bytes: bytes(540),
    }),
    upstream('mistral', {
      model: 'mistral-small-latest',
      host: 'api.mistral.ai',
      key: { position: null, last4: '…w0Xa' },
      available: false,
      why: 'needs attention: key refused',
      blocked_by: 'key',
      until: iso(4 * MINUTE),
      windows: [limit('requests', 'second', { used: 0, limit: 1, left: 1, source: 'preset' })],
      last_outcomes: outcomes(12, (back) => (back < 3 ? 'auth' : undefined), 700),
      last_error: lastError(-61 * SECOND, 'Unauthorized'),
      first_byte_ms: { p50: 388, p95: 702 },
      first_bytes: bytes(388).slice(0, 9),
    }),
    upstream('vllm in the cellar', {
      model: 'qwen3-32b',
      host: '192.168.1.5:8000',
      priority: 1,
      in_flight: 2,
      windows: [limit('requests', 'at_once', { used: 2, limit: 4, left: 2 })],
      last_outcomes: outcomes(40, () => undefined, 1_900),
      first_byte_ms: { p50: 95, p95: 160 },
      first_bytes: bytes(95),
    }),
    upstream('openrouter', {
      model: 'deepseek/deepseek-chat',
      host: 'openrouter.ai',
      key: { position: null, last4: '…9fEe' },
      paused: true,
      available: false,
      why: 'paused',
      attempts: 31,
      last_outcomes: outcomes(31, () => undefined, 1_300),
      first_byte_ms: { p50: 820, p95: 2_300 },
      first_bytes: bytes(820).slice(0, 31),
    }),
  ]

  const requests = Array.from({ length: 60 }, (_, nth): RequestSummary => {
    const status = nth === 4 ? 429 : nth === 11 ? 400 : nth === 23 ? 502 : nth === 31 ? 499 : 200
    const by = upstreams[[0, 2, 0, 4, 2, 0, 4, 0][nth % 8] ?? 0]
    const first = around(by?.first_byte_ms?.p50 ?? 200, 0.7)
    const answered = status === 200
    return {
      id: `req-${(0x5f3a91 + nth * 7_919).toString(16)}`,
      client_request_id: null,
      at: iso(-nth * 23 * SECOND - 1_500),
      endpoint: 'chat',
      model: nth % 5 === 3 ? 'gemini-3-flash' : 'auto',
      token: ['mobile app', 'night jobs', 'mobile app', 'research'][nth % 4] ?? null,
      status,
      code: codes[status] ?? null,
      upstream: status === 200 || status === 499 ? (by?.name ?? null) : null,
      stream: nth % 3 !== 0,
      attempts: nth === 0 ? 2 : nth === 23 ? 3 : status === 400 ? 0 : 1,
      queued_ms: 0,
      first_byte_ms: answered ? first : null,
      duration_ms: answered ? first + around(900, 1.2) : around(40, 1),
      input_tokens: answered ? around(820, 1.6) : null,
      output_tokens: answered ? around(240, 1.4) : null,
    }
  })
  const [explained = requests[0]] = requests
  const end = explained?.duration_ms ?? 0
  type Candidate = Explanation['decisions'][number]['candidates'][number]
  const candidate = (rank: number, name: string, more: Partial<Candidate>): Candidate => ({
    upstream: name,
    rank,
    headroom: 1,
    in_flight: 0,
    latency_ms: null,
    weight: 1,
    priority: 0,
    credit: 0,
    standing: null,
    ...more,
  })
  const explanations: Record<string, Explanation> = {}
  if (explained !== undefined)
    explanations[explained.id] = {
      request: explained,
      exact: true,
      decisions: [
        {
          at: explained.at,
          same: true,
          owner: null,
          after_ms: 1.2,
          kind: 'choice',
          strategy: 'headroom',
          candidates: [
            candidate(1, 'groq#2', { headroom: 0.64, in_flight: 1, latency_ms: 231 }),
            candidate(2, 'groq', { headroom: 0.49, in_flight: 2, latency_ms: 212 }),
            candidate(3, 'gemini', { headroom: 0.12, in_flight: 1, latency_ms: 540 }),
          ],
          unavailable: [
            {
              upstream: 'mistral',
              why: 'needs attention: key refused',
              until: iso(4 * MINUTE),
              source: 'refused',
              scope: 'key',
            },
            { upstream: 'openrouter', why: 'paused', until: null, source: 'paused', scope: 'key' },
          ],
          order: ['groq#2', 'groq', 'gemini'],
          chosen: 'groq#2',
          remembered: 'groq#2',
        },
        {
          at: explained.at,
          same: true,
          owner: null,
          remembered: null,
          after_ms: 92,
          kind: 'next in order',
          strategy: 'headroom',
          candidates: [],
          unavailable: [
            {
              upstream: 'groq#2',
              why: 'rate-limited',
              until: iso(34 * SECOND),
              source: 'refused',
              scope: 'key',
            },
          ],
          order: ['groq', 'gemini'],
          chosen: 'groq',
        },
      ],
      attempts: [
        {
          upstream: 'groq#2',
          model: 'openai/gpt-oss-120b',
          outcome: 'rate-limited',
          status: 429,
          started_ms: 1.4,
          first_byte_ms: null,
          duration_ms: 90,
          reason: 'Rate limit reached, try again in 34 s',
          why: 'headroom',
        },
        {
          upstream: 'groq',
          model: 'openai/gpt-oss-120b',
          outcome: 'ok',
          status: 200,
          started_ms: 92.5,
          first_byte_ms: (explained.first_byte_ms ?? 200) - 92,
          duration_ms: end - 93,
          reason: null,
          why: 'fallback',
        },
      ],
      end: { status: 200, code: null, text: 'groq answered' },
    }

  const points = (count: number, stepMs: number, perStep: number): UsagePointStatus[] =>
    Array.from({ length: count }, (_, at) => {
      const moment = now - (count - 1 - at) * stepMs
      const wave = 0.55 + 0.45 * Math.sin((at / count) * 5.2 + 0.6)
      const all = Math.max(1, around(perStep * wave, 0.5))
      const refused = dice() > 0.8 ? Math.ceil(all * 0.06) : 0
      const failed = dice() > 0.93 ? Math.ceil(all * 0.05) : 0
      return {
        at: new Date(Math.floor(moment / stepMs) * stepMs).toISOString(),
        answered: all,
        client_faults: dice() > 0.85 ? Math.ceil(all * 0.03) : 0,
        refused,
        failed,
        left: dice() > 0.9 ? Math.ceil(all * 0.02) : 0,
        input_tokens: around(all * 810, 0.3),
        output_tokens: around(all * 230, 0.3),
        first_byte_ms: { p50: around(240, 0.4), p95: around(760, 0.6) },
        by_upstream: {},
      }
    })
  const sum = (requestCount: number) => ({
    requests: requestCount,
    input_tokens: requestCount * 812,
    output_tokens: requestCount * 236,
  })
  const usages = [
    { name: 'mobile app', day: sum(1_204), week: sum(7_310), month: sum(29_880) },
    { name: 'night jobs', day: sum(310), week: sum(2_204), month: sum(9_120) },
    { name: 'research', day: sum(58), week: sum(611), month: sum(1_930) },
  ]

  return {
    status: {
      version: '0.1.0',
      started_at: iso(-52 * HOUR),
      uptime_ms: 52 * HOUR,
      admin: 'write',
      reloads: { ok: 3, refused: 1 },
      strategy: 'headroom',
      affinity: 'conversation',
      models: ['auto', 'openai/gpt-oss-120b', 'gemini-3-flash', 'mistral-small-latest', 'qwen3-32b'],
      queue: { waiting: 0, size: 64 },
      draining: false,
      last_reload: {
        at: iso(-7 * MINUTE),
        ok: false,
        problems: ['config.json:14:7: models[3].weight: must be a number above 0; write a number such as 1'],
      },
      config_warnings: [
        'config.json:9:5: models[1].limit: unknown key, it is ignored; did you mean "limits"?',
      ],
      upstreams,
      can_answer: { now: true, why: null },
      last_hour: { requests: 1_284, answered_share: 0.9976, first_byte_ms: { p50: 236, p95: 841 } },
      needs_you: [
        {
          kind: 'key_refused',
          upstream: 'mistral',
          text: 'the key of mistral was refused; write another one into the configuration, or have it enabled at the vendor',
          since: iso(-61 * SECOND),
        },
        {
          kind: 'reload_refused',
          upstream: null,
          text: 'the changed configuration is refused: config.json:14:7: models[3].weight: must be a number above 0; write a number such as 1',
          since: iso(-7 * MINUTE),
        },
      ],
    },
    requests,
    usage: {
      hour: { step_ms: MINUTE, points: points(60, MINUTE, 22) },
      day: { step_ms: HOUR, points: points(24, HOUR, 1_100) },
      days: { step_ms: DAY, points: points(41, DAY, 17_000) },
    },
    explanations,
    config: {
      etag: '"1"',
      writable: true,
      why: null,
      file: 'config.json',
      problems: [],
      quotas: [],
      settings: { strategy: 'headroom', affinity: 'conversation' },
      choices: {
        strategy: ['random', 'round_robin', 'headroom', 'in_order'],
        affinity: ['ip', 'conversation', 'user', 'token', 'header:<name>', 'off'],
      },
      entries: [
        {
          index: 0,
          vendor: 'groq',
          model: 'openai/gpt-oss-120b',
          keys: [
            { position: 1, last4: '…k3Qz', is_variable: '${GROQ_KEY_1}' },
            { position: 2, last4: '…7hVw', is_variable: '${GROQ_KEY_2}' },
          ],
        },
        {
          index: 1,
          vendor: 'gemini',
          name: 'gemini',
          models: ['gemini-3-flash', 'gemini-3-pro'],
          headers: [],
          keys: [{ position: 1, last4: '…Rt9c', is_variable: null }],
        },
        {
          index: 2,
          vendor: 'mistral',
          name: 'mistral',
          keys: [{ position: 1, last4: '…w0Xa', is_variable: null }],
        },
        {
          index: 3,
          name: 'vllm in the cellar',
          base_url: 'http://192.168.1.5:8000/v1',
          model: 'qwen3-32b',
          priority: 1,
          limits: { max_concurrency: 4 },
          keys: [],
        },
      ],
    },
    presets: [
      {
        vendor: 'cerebras',
        title: 'Cerebras',
        base_url: 'https://api.cerebras.ai/v1',
        models: [],
        key_variable: 'CEREBRAS_API_KEY',
        key_optional: false,
      },
      {
        vendor: 'groq',
        title: 'Groq',
        base_url: 'https://api.groq.com/openai/v1',
        models: [],
        key_variable: 'GROQ_API_KEY',
        key_optional: false,
      },
    ],
    tokens: {
      tokens: usages.map(({ name, ...usage }, nth) => ({
        name,
        admin: nth === 2,
        passthrough: false,
        allow_ips: null,
        expired: false,
        in_flight: 0,
        models: nth === 1 ? ['qwen3-32b'] : null,
        limits: nth === 0 ? [limit('requests', 'minute', { used: 12, limit: 60, left: 48 })] : [],
        expires: nth === 1 ? iso(20 * 24 * HOUR) : null,
        usage: { ...usage, since_start: usage.month },
      })),
    },
  }
}
