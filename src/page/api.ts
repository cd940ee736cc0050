import type { EditProblem } from '../config/edit.ts'
import type { Lang } from './words.ts'

/* What is asked of the gateway. The forms of what comes back stand where the gateway makes it. */

/** What is wrong with a field; the gateway or the page itself has found it. */
export type FieldProblem = Pick<EditProblem, 'path' | 'message'> & Partial<EditProblem>

/** What the gateway refuses, or that it can't be reached: then the status is 0. */
export class ApiError extends Error {
  readonly status: number
  readonly problems: readonly FieldProblem[]
  constructor(status: number, message = '', problems: readonly FieldProblem[] = []) {
    super(message)
    this.status = status
    this.problems = problems
  }
}

interface Asking {
  readonly method?: string
  readonly body?: unknown
  readonly signal?: AbortSignal
}

interface ApiOptions {
  readonly token: string
  /** Asked for where the gateway has its sentences in several. */
  readonly lang: Lang
  /** In front of all paths. */
  readonly root: string
  /** Called when the token is no longer the right one. */
  readonly onRefused: () => void
}

export type Api = ReturnType<typeof createApi>

/** What asks the gateway with a token. */
export function createApi({ token, lang, root, onRefused }: ApiOptions) {
  /** The answer as it comes, with any status. @throws ApiError when nothing comes */
  async function raw(path: string, { method = 'GET', body, signal }: Asking = {}): Promise<Response> {
    const headers = {
      authorization: `Bearer ${token}`,
      'accept-language': lang,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    }
    const sent = body === undefined ? null : JSON.stringify(body)
    const init = { method, headers, body: sent, signal: signal ?? null, cache: 'no-store' } as const
    const answer = await fetch(root + path, init).catch((error: unknown) => {
      throw signal?.aborted === true ? error : new ApiError(0)
    })
    if (answer.status === 401) onRefused()
    return answer
  }
  /** @throws ApiError for anything but a success */
  async function json<T>(path: string, asking?: Asking): Promise<T> {
    const answer = await raw(path, asking)
    const value: unknown = await answer.json().catch(() => undefined)
    if (answer.ok) return value as T
    throw errorOf(answer.status, value)
  }
  return { raw, json }
}

/** An error of the gateway's, from its envelope. */
export function errorOf(status: number, value: unknown): ApiError {
  const { error, problems } = (value ?? {}) as {
    error?: { message?: string }
    problems?: readonly FieldProblem[]
  }
  return new ApiError(status, error?.message, problems)
}
