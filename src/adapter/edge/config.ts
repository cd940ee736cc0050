import type { Config } from '../../config/config.ts'
import { readConfig } from '../../config/load.ts'
import { readPlainSource } from '../../config/plain-source.ts'
import { problemLine, substitute, type Environment } from '../../config/problem.ts'
import type { Source } from '../../config/source.ts'
import { GatewayError } from '../../errors.ts'
import { requireToken } from '../../http/auth.ts'
import { errorResponse } from '../../http/response.ts'
import { secretMatcher } from '../../lib/hash.ts'
import { headerBagOf } from '../../lib/headers.ts'

/** A configuration that is not a file. */
interface EdgeConfigText {
  /** JSON, comments allowed; undefined = nothing was set. */
  readonly text: string | undefined
  /** The client token, before the one in the text. */
  readonly token: string | undefined
  /** Where `${NAME}` is looked up. */
  readonly env: Environment
  /** How people set the two here, for messages. */
  readonly names: { readonly text: string; readonly token: string; readonly how: string }
}

/** What can be served, or what every request is answered with until the configuration is mended. */
type OpenedText =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly answer: (request: Request) => Response }

/** Reads a configuration for a runtime that can write none back: without a token nothing is served. */
export function openConfigText(given: EdgeConfigText): OpenedText {
  const { text = '', env, names } = given
  const token = given.token?.trim() ?? ''
  if (text.trim() === '') {
    const missing = [names.text, ...(token === '' ? [names.token] : [])].join(' and ')
    return notConfigured(token, {
      toAll: `This gateway is not configured: ${missing} must be set (${names.how}).`,
      lines: [],
    })
  }
  const source = readPlainSource(text)
  const loaded = readConfig(source, env, names.text)
  if (!loaded.ok) {
    const toAll = `The configuration of this gateway is invalid. Send its token (${names.token}) to read the details.`
    return notConfigured(token === '' ? tokenIn(source, env) : token, {
      toAll,
      lines: loaded.problems.map(problemLine),
    })
  }
  const authToken = token === '' ? loaded.config.authToken : token
  if (authToken !== '') return { ok: true, config: { ...loaded.config, authToken } }
  return notConfigured('', {
    toAll: `This gateway does not serve without a token: set ${names.token} (${names.how}), or auth_token in ${names.text}.`,
    lines: [],
  })
}

/** The token of a configuration that is wrong elsewhere; empty where it can't be told. */
function tokenIn({ value, syntaxErrors }: Source, env: Environment): string {
  if (syntaxErrors.length > 0 || typeof value !== 'object' || value === null) return ''
  const written = (value as Readonly<Record<string, unknown>>)['auth_token']
  const { value: token, findings } = substitute(written, env)
  return typeof token === 'string' && findings.length === 0 ? token.trim() : ''
}

interface NotConfigured {
  /** What anybody may read. */
  readonly toAll: string
  /** What only the holder of the token may read. */
  readonly lines: readonly string[]
}

function notConfigured(token: string, { toAll, lines }: NotConfigured): OpenedText {
  const isToken = secretMatcher(token)
  const answer = (request: Request): Response => {
    const message =
      lines.length > 0 && holdsToken(request, isToken)
        ? `The configuration is invalid:\n${lines.join('\n')}`
        : toAll
    return errorResponse(new GatewayError('not_configured', message), {})
  }
  return { ok: false, answer }
}

function holdsToken(request: Request, isToken: (given: string) => boolean): boolean {
  try {
    requireToken(headerBagOf(request.headers), isToken)
    return true
  } catch {
    return false
  }
}
