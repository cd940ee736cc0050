import type { AttemptEvent, RequestEvent } from '../../src/relay/deps.ts'

/** A request that went well, but for what a test says. */
export function requestEvent(more: Partial<RequestEvent> = {}): RequestEvent {
  return {
    kind: 'request',
    id: 'req-1',
    ownId: 'req-1',
    endpoint: 'chat',
    requestedModel: 'auto',
    upstream: 'a',
    model: 'gpt-4o',
    status: 200,
    attempts: [
      { upstream: 'a', model: 'gpt-4o', outcome: 'ok', status: 200, firstByteMs: 80, durationMs: 312 },
    ],
    firstByteMs: 80,
    durationMs: 312.4,
    stream: true,
    queuedMs: 0,
    ...more,
  }
}

/** An attempt that went well, but for what a test says. */
export function attemptEvent(more: Partial<AttemptEvent> = {}): AttemptEvent {
  return {
    kind: 'attempt',
    requestId: 'req-1',
    upstreamId: 'id-a',
    endpoint: 'chat',
    upstream: 'a',
    model: 'gpt-4o',
    outcome: 'ok',
    status: 200,
    firstByteMs: 80,
    durationMs: 312,
    ...more,
  }
}
