import { GatewayError } from '../errors.ts'
import type { RuntimeConfig } from './deps.ts'

interface ModelObject {
  readonly id: string
  readonly object: 'model'
  readonly created: number
  readonly owned_by: string
}

/** OpenAI's model object. Nobody knows when a model was made, and clients want a number. */
const modelObject = (id: string): ModelObject => ({ id, object: 'model', created: 0, owned_by: 'aiload' })

/** `auto`, the groups and the models, in OpenAI's list form. Asks no upstream. */
export function listModels({ pools }: RuntimeConfig): { object: 'list'; data: ModelObject[] } {
  return { object: 'list', data: pools.listedNames.map(modelObject) }
}

/**
 * One model; upstream names are found too, although the list leaves them out.
 *
 * @throws GatewayError `model_not_found`
 */
export function retrieveModel({ pools, config }: RuntimeConfig, id: string): ModelObject {
  const isKnown = pools.listedNames.includes(id) || pools.upstreams.some(({ name }) => name === id)
  if (!isKnown && config.settings.unknownModel === 'reject') throw unknownModel(pools.listedNames, id)
  return modelObject(id)
}

/** Says which names there are: a typo is the common cause. */
export function unknownModel(names: readonly string[], requestedModel: string): GatewayError {
  const shown = requestedModel.length > 100 ? `${requestedModel.slice(0, 100)}…` : requestedModel
  return new GatewayError(
    'model_not_found',
    `There is no model "${shown}" here. There are: ${names.join(', ')}.`,
    { param: 'model' },
  )
}
