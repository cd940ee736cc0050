import { GatewayError } from '../errors.ts'
import { logRequest, type RequestContext } from './context.ts'
import type { AppDeps } from './deps.ts'
import { decodedPath } from './paths.ts'
import { jsonResponse } from './response.ts'

/** OpenAI's model object. Nobody knows when a model was made, and clients want a number. */
const modelObject = (id: string) => ({ id, object: 'model', created: 0, owned_by: 'aiload' })

/** `auto`, the groups and the models, in OpenAI's list form. Asks no upstream. */
export function listModels(context: RequestContext, deps: AppDeps): Response {
  const data = context.runtimeConfig.pools.listedNames.map(modelObject)
  return found(context, { object: 'list', data }, deps)
}

/**
 * One model; upstream names are found too, although the list leaves them out.
 *
 * @throws GatewayError `model_not_found`
 */
export function retrieveModel(context: RequestContext, path: string, deps: AppDeps): Response {
  const { pools, config } = context.runtimeConfig
  const id = decodedPath(path.slice('models/'.length).replace(/\/+$/, ''))
  const isKnown = pools.listedNames.includes(id) || pools.upstreams.some(({ name }) => name === id)
  if (!isKnown && config.settings.unknownModel === 'reject') throw unknownModel(pools.listedNames, id)
  return found(context, modelObject(id), deps)
}

function found(context: RequestContext, body: object, deps: AppDeps): Response {
  logRequest(context, { status: 200 }, deps)
  return jsonResponse(body, 200, context.ownHeaders)
}

/** Says which names there are: a typo is the common cause. */
export function unknownModel(names: readonly string[], requestedModel: string): GatewayError {
  const shown = requestedModel.length > 100 ? `${requestedModel.slice(0, 100)}…` : requestedModel
  const message = `There is no model "${shown}" here. There are: ${names.join(', ')}.`
  return new GatewayError('model_not_found', message, { param: 'model' })
}
