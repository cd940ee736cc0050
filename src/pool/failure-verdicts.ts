import type { Failure } from './outcome.ts'

/** What a kind of failure means, before the numbers of the single answer are added. */
export interface Verdict extends Pick<Failure, 'class' | 'scope' | 'cause' | 'code'> {
  /**
   * Where the time to stay away comes from. `minutes`: what was asked for, 1 s to 1 h. `days`: the same, up to
   * 31 days. A zone: the next midnight there, whatever was asked for. Absent: nothing is believed.
   */
  readonly hint?: 'minutes' | 'days' | 'UTC' | 'America/Los_Angeles'
}

const limited: Verdict = {
  class: 'refused',
  scope: 'upstream',
  cause: 'rate-limited',
  code: 'rate_limit_exceeded',
  hint: 'minutes',
}
const dayIsSpent: Verdict = { ...limited, scope: 'quota', cause: 'quota', hint: 'days' }
const crowded: Verdict = { ...limited, cause: 'overloaded' }
const failed: Verdict = { class: 'ambiguous', scope: 'upstream', cause: 'failure', code: 'upstream_error' }
const noKey: Verdict = { class: 'refused', scope: 'key', cause: 'auth', code: 'upstream_auth_failed' }
const noModel: Verdict = {
  class: 'refused',
  scope: 'endpoint',
  cause: 'not-found',
  code: 'upstream_model_not_found',
}
const ofTheRequest: Verdict = { ...failed, class: 'client', scope: 'none' }

/** Every kind of failure there is, by name. */
export const verdicts = {
  /** A limit that reopens soon, on this key with this model. */
  limited,
  /** The same limit on everything of the key, or of the account. */
  keyLimited: { ...limited, scope: 'key' },
  accountLimited: { ...limited, scope: 'quota' },
  /** One request above a limit: it is the only one that has to go elsewhere. */
  tooLarge: { ...limited, scope: 'none' },
  /** A quota of hours, days or months, of the account unless the answer tells otherwise. */
  dayIsSpent,
  modelsDayIsSpent: { ...dayIsSpent, scope: 'upstream' },
  keysDayIsSpent: { ...dayIsSpent, scope: 'key' },
  utcDayIsSpent: { ...dayIsSpent, hint: 'UTC' },
  pacificDayIsSpent: { ...dayIsSpent, hint: 'America/Los_Angeles' },
  /** Somebody has to pay. */
  unpaid: { ...dayIsSpent, scope: 'key', code: 'insufficient_quota' },
  /** Too many at once, told as a limit (429) or as trouble of the vendor's (503). */
  crowded,
  jammed: { ...crowded, code: 'upstream_overloaded' },
  accountCrowded: { ...crowded, scope: 'quota' },
  noKey,
  /** The key is known, but not allowed to use this model. */
  noEntry: { ...noKey, scope: 'upstream' },
  noModel,
  /** Withdrawn for good, on every endpoint. */
  goneModel: { ...noModel, scope: 'upstream' },
  failed,
  failedUndone: { ...failed, class: 'refused' },
  overloaded: { ...failed, class: 'refused', code: 'upstream_overloaded', hint: 'minutes' },
  /** It was no answer at all; or it was cut, so that nobody knows whether the work was done. */
  badAnswer: { ...failed, class: 'refused', code: 'upstream_bad_response' },
  brokenAnswer: { ...failed, code: 'upstream_bad_response' },
  unreachable: { ...failed, class: 'not-sent', code: 'upstream_unavailable' },
  unreachableInTime: { ...failed, class: 'not-sent', code: 'upstream_timeout' },
  silent: { ...failed, code: 'upstream_timeout' },
  disconnected: { ...failed, code: 'upstream_unavailable' },
  ofTheModel: { ...ofTheRequest, class: 'other-model' },
  ofTheRequest,
} as const satisfies Record<string, Verdict>

/** A row of the catalog. */
export type VerdictName = keyof typeof verdicts
