import { sharedTokens } from '../../config/checks.ts'
import { loadSource, type LoadedConfig } from '../../config/load.ts'
import { readPlainSource } from '../../config/plain-source.ts'
import { byPosition, problemAt, problemLine, substitute, type Environment } from '../../config/problem.ts'
import { PROXY_VARIABLES } from '../../config/proxy.ts'
import { NO_ROUTES, routesBeyond } from '../../config/route-limits.ts'
import type { Source } from '../../config/source.ts'
import { GatewayError } from '../../errors.ts'
import { shownToken } from '../../http/auth.ts'
import { errorResponse } from '../../http/response.ts'
import { secretMatcher } from '../../lib/hash.ts'
import { headerBagOf } from '../../lib/headers.ts'
import { levelOfMode } from '../../telemetry/log.ts'
import { consoleLog, createClock, createEdgeGateway, type EdgePlatform } from '../gateway.ts'
import { toWholeEventsResponse } from './whole-events.ts'

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

type Handler = (request: Request) => Response | Promise<Response>

/**
 * What serves a configuration on a runtime that can write none back, or answers every request with what is wrong. To be
 * made inside the first request: before that, clocks may stand still. `bring` makes what this runtime adds.
 */
export function serveConfigText(
  given: EdgeConfigText,
  bring: (common: Pick<EdgePlatform, 'clock' | 'log'>) => Omit<EdgePlatform, 'clock' | 'log' | 'toResponse'>,
): Handler {
  const opened = openConfigText(given)
  if (typeof opened === 'function') return opened
  const { config, warnings } = opened
  const common = { clock: createClock(), log: consoleLog(levelOfMode(config.server.mode)) }
  for (const message of warnings) common.log({ kind: 'notice', level: 'warning', message })
  const configState = () => ({ warnings })
  const platform = { ...common, configState, ...bring(common), toResponse: toWholeEventsResponse }
  const gateway = createEdgeGateway(config, platform)
  return (request) => gateway.fetch(request)
}

/** What can be served, or what every request is answered with until the configuration is mended. */
function openConfigText({ text = '', token = '', env, names }: EdgeConfigText) {
  const ownToken = token.trim()
  if (text.trim() === '') {
    const missing = ownToken === '' ? `${names.text} and ${names.token}` : names.text
    return notConfigured(() => `This gateway is not configured: ${missing} must be set (${names.how}).`)
  }
  const source = readPlainSource(text)
  const loaded = loadStraight(source, env, { name: names.text, ownToken })
  if (!loaded.ok) {
    const tokenOf = secretMatcher(ownToken === '' ? tokensIn(source, env) : [ownToken])
    const toAll = `The configuration of this gateway is invalid. Send its token (${names.token}) to read the details.`
    const details = `The configuration is invalid:\n${loaded.problems.map(problemLine).join('\n')}`
    return notConfigured(({ headers }) =>
      typeof shownToken(headerBagOf(headers), tokenOf) === 'string' ? details : toAll,
    )
  }
  const authTokens = ownToken === '' ? loaded.config.authTokens : [ownToken]
  const warnings = loaded.warnings.map(problemLine)
  if (authTokens.length > 0) return { config: { ...loaded.config, authTokens }, warnings }
  return notConfigured(
    () =>
      `This gateway does not serve without a token: set ${names.token} (${names.how}), or auth_token in ${names.text}.`,
  )
}

/** Reads a configuration whose upstreams are all reached straight: nothing else can be asked of this fetch. */
function loadStraight(
  source: Source,
  env: Environment,
  { name, ownToken }: { readonly name: string; readonly ownToken: string },
): LoadedConfig {
  // Of proxies such a runtime knows nothing, and what the variables say is meant for programs of another kind.
  const own = Object.fromEntries(Object.entries(env).filter(([key]) => !PROXY_VARIABLES.includes(key)))
  const loaded = loadSource(source, own, name)
  const findings = loaded.ok
    ? [
        ...routesBeyond(loaded.config, { runtime: 'this runtime', lacks: NO_ROUTES }),
        ...(ownToken === '' ? [] : sharedTokens({ ...loaded.config, authTokens: [ownToken] })),
      ]
    : []
  if (findings.length === 0) return loaded
  const problems = findings.map((what) => problemAt(name, source.positionOf(what.path), what))
  return { ok: false, problems: byPosition(problems), warnings: loaded.warnings }
}

/** The tokens of a configuration that is wrong elsewhere; none where they can't be told. */
function tokensIn({ value, syntaxErrors }: Source, env: Environment): string[] {
  if (syntaxErrors.length > 0 || typeof value !== 'object' || value === null) return []
  const written = (value as Readonly<Record<string, unknown>>)['auth_token']
  const { value: tokens, findings } = substitute([written].flat(), env)
  if (findings.length > 0 || !Array.isArray(tokens)) return []
  return tokens.flatMap((token: unknown) => (typeof token === 'string' ? [token.trim()] : []))
}

function notConfigured(messageFor: (request: Request) => string): Handler {
  return (request) => errorResponse(new GatewayError('not_configured', messageFor(request)), {})
}
