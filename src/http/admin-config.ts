import type { EditKind } from '../config/edit.ts'
import { vendorPresets } from '../config/presets.ts'
import { shownConfig } from '../config/shown.ts'
import { GatewayError } from '../errors.ts'
import { adminBodyOf, languageOf, type RequestContext, type RouteHandler } from './context.ts'
import { jsonResponse } from './response.ts'
import { found } from './routes.ts'

/** What is done at one path below `/admin/`, by method; HEAD goes where GET does. */
export type AdminRoute = Readonly<Record<string, RouteHandler>>

/** The configuration, shown without its secrets, and edited where `server.admin` allows it. */
export const CONFIG_ROUTES: Readonly<Record<string, AdminRoute>> = {
  '/admin/config': { GET: showConfig },
  '/admin/presets': { GET: showPresets },
  '/admin/config/upstreams': { POST: editing('add'), PUT: editing('change'), DELETE: editing('remove') },
  '/admin/config/order': { POST: editing('order') },
  '/admin/config/settings': { POST: editing('settings') },
}

const READ_ONLY =
  'The configuration is not edited here: server.admin is "read". Write "server": { "admin": "write" } into its file to allow it.'
const NO_FILE =
  'There is no configuration file here to edit: the configuration comes from the environment. Write a file (aiload import makes one) and start again; where there are no files, change the variable that holds the configuration.'

/** Why nobody may edit, whatever the file says; null where it is allowed. */
function refusalOf({ deps, runtimeConfig }: RequestContext): GatewayError | null {
  if (deps.configEditor?.() === undefined) return new GatewayError('config_not_writable', NO_FILE)
  const isAllowed = runtimeConfig.config.server.admin === 'write'
  return isAllowed ? null : new GatewayError('admin_read_only', READ_ONLY)
}

/** `GET /admin/config`: `etag` names the text that is shown; edits bring it along. */
function showConfig(context: RequestContext): Response {
  return jsonResponse(shownIn(context), 200, context.ownHeaders)
}

export type EditableConfig = ReturnType<typeof shownIn>

function shownIn(context: RequestContext) {
  const { settings, quotas } = context.runtimeConfig.config
  const { problem, ...shown } = context.deps.configEditor?.()?.show() ?? {
    ...shownConfig({}),
    problem: null,
    etag: null,
    file: null,
    problems: [],
    settings: { strategy: settings.strategy, affinity: null },
    quotas: Object.keys(quotas),
  }
  /** Why it can't be edited; null where it can. */
  const why = refusalOf(context)?.message ?? problem
  return { ...shown, writable: why === null, why }
}

/** `GET /admin/presets`: what an entry may leave out that names its vendor. */
function showPresets({ ownHeaders }: RequestContext): Response {
  return jsonResponse(vendorPresets.map(presetLine), 200, ownHeaders)
}

export type PresetLine = ReturnType<typeof presetLine>

const presetLine = ([vendor, preset]: (typeof vendorPresets)[number]) => ({
  vendor,
  title: preset.title,
  base_url: preset.base_url,
  /** Empty where the vendor is asked for its list. */
  models: (preset.models ?? []).map(({ model }) => model),
  /** The variable that usually holds its key; null where it has none. */
  key_variable: preset.key_variables[0] ?? null,
  key_optional: preset.key_optional === true,
})

/** One entry with long texts of certificates. */
const MOST_EDIT_BYTES = 64 * 1024

/** An edit of one kind, with a body of JSON that brings the `etag` along. */
function editing(kind: EditKind): RouteHandler {
  return async (context) => {
    const refusal = refusalOf(context)
    if (refusal !== null) throw refusal
    const body = await adminBodyOf(context, MOST_EDIT_BYTES)
    const { deps, request, path, ownId } = context
    const by = `${request.method} ${path} (request ${ownId})`
    const edited = deps.configEditor?.()?.edit(kind, body, { by, say: await languageOf(context) })
    return found(context, edited ?? {})
  }
}
