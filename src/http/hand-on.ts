import { isBodiless } from '../relay/pass-on.ts'
import type { RelayAnswer } from '../relay/relay-request.ts'
import { answerHeaders } from './answer-headers.ts'
import type { AppDeps } from './app-deps.ts'
import type { Visit } from './visit.ts'

/**
 * An upstream's answer on its way to the client: its status and body, allow-listed headers, and ours.
 *
 * Runtimes refuse even an empty body where HTTP allows none.
 */
export function handOn(visit: Visit, answer: RelayAnswer, deps: AppDeps): Response {
  const { status, body } = answer
  const headers = Object.assign(answerHeaders(answer), visit.ownHeaders)
  return deps.respond(
    { status, headers, body: isBodiless(visit.request.method, status) ? null : body },
    visit.env,
  )
}
