import { errorBody } from '../support/believable.ts'
import { answer } from '../support/scripted-scenes.ts'
import { about, failureRest, plays, testFaults, type Fault } from './matrix-bed.ts'

const says = (status: number, code: string, message?: string): Fault['place'] =>
  plays(() => answer({ status, body: errorBody(code, message) }))

const hour = 3_600_000
const minutes = 60_000

testFaults([
  {
    fault: '401',
    because: 'only this key is bad',
    place: says(401, 'invalid_api_key', 'Incorrect API key provided: secret-of-somebody.'),
    exhausted: { status: 502, code: 'upstream_auth_failed' },
    rests: { why: 'needs attention: key refused', blockedBy: 'key', ms: about(5 * minutes) },
  },
  {
    fault: '403',
    because: 'only this key may not use the model',
    place: says(403, 'forbidden'),
    exhausted: { status: 502, code: 'upstream_auth_failed' },
    rests: { why: 'needs attention: key refused', ms: about(5 * minutes) },
  },
  {
    fault: '402',
    because: 'another account has credit',
    place: says(402, 'payment_required'),
    exhausted: { status: 429, code: 'insufficient_quota', retryAfter: [1, 1.2 * 3600] },
    rests: { why: 'quota spent', blockedBy: 'key', ms: about(hour) },
  },
  {
    fault: '429 insufficient_quota',
    because: 'another account has credit',
    place: says(429, 'insufficient_quota'),
    exhausted: { status: 429, code: 'insufficient_quota', retryAfter: [1, 1.2 * 3600] },
    rests: { why: 'quota spent', blockedBy: 'key', ms: about(hour) },
  },
  {
    fault: '404 for the model',
    because: 'the name is wrong for this upstream only',
    place: says(404, 'model_not_found'),
    exhausted: { status: 502, code: 'upstream_model_not_found' },
    rests: {
      why: 'needs attention: model or endpoint not found',
      blockedBy: 'endpoint',
      ms: about(10 * minutes),
    },
  },
  {
    fault: '405',
    because: 'this upstream has no such endpoint',
    place: says(405, 'method_not_allowed'),
    exhausted: { status: 404, code: 'unsupported_endpoint' },
    rests: {
      why: 'needs attention: model or endpoint not found',
      blockedBy: 'endpoint',
      ms: about(10 * minutes),
    },
  },
  {
    fault: '413 with a rate-limit code',
    because: 'another upstream may have a larger limit',
    place: says(
      413,
      'rate_limit_exceeded',
      'Request too large for m: tokens per minute (TPM): Limit 6000, Requested 9000.',
    ),
    exhausted: { status: 429, code: 'rate_limit_exceeded' },
    rests: 'not at all',
  },
  {
    fault: '503 that names its queue',
    because: 'it is full for a moment',
    place: says(503, 'queue_exceeded'),
    exhausted: { status: 503, code: 'upstream_overloaded' },
    rests: { why: 'overloaded', ms: about(1_000) },
  },
  ...[408, 500, 502, 504].map((status): Fault => ({
    fault: String(status),
    because: 'another upstream may be well',
    place: says(status, 'server_error'),
    exhausted: { status: 502, code: 'upstream_error' },
    rests: failureRest,
  })),
  ...[503, 529].map((status): Fault => ({
    fault: String(status),
    because: 'another upstream may have room',
    place: says(status, 'overloaded'),
    exhausted: { status: 503, code: 'upstream_overloaded' },
    rests: failureRest,
  })),
])
