import { checkAgainstSchema } from '../../config/load.ts'
import type { Part } from './part.ts'
import type { Variables } from './variables.ts'

/** One upstream-to-be, or one for each of its keys: an entry of `models` as a file writes it, and where it came from. */
export interface DraftModel {
  /** The part of the imported file that it was made of. */
  readonly from: Part
  /** A preset, which gives what is absent. */
  readonly vendor?: string
  readonly base_url?: string | undefined
  /** As the file to import has it, like `clients` and `name`. With no clients it is a glob, for all that are listed. */
  readonly model?: string | undefined
  /** What clients ask for to get it. */
  readonly clients: string[]
  readonly api_key?: string | readonly string[] | undefined
  /** The header of the key where it is not the usual; each key has an entry of its own then. */
  readonly key_header?: string | undefined
  readonly name?: string | undefined
  /** Lower first. */
  priority?: number | undefined
  readonly weight?: number | string | undefined
  /** Numbers, or references to variables that hold some. */
  readonly limits?: Readonly<Record<string, unknown>>
  readonly endpoints?: readonly string[] | undefined
  readonly headers?: Readonly<Record<string, string>>
  readonly params?: DraftParams
  readonly proxy?: string | undefined
  readonly timeout?: number | string | undefined
  readonly can?: Readonly<Record<string, boolean>> | undefined
  readonly enabled?: false | undefined
}

/** What changes in the bodies of requests. */
export interface DraftParams {
  readonly set?: Readonly<Record<string, unknown>>
  readonly default?: Readonly<Record<string, unknown>>
  readonly drop?: readonly string[]
}

/** What an importer makes of one part of its file; a text says why it is left out: `left out, since …`. */
export type MadeModels = readonly Omit<DraftModel, 'from'>[] | string

/** What was made of a part, which is told where that is nothing. */
export function modelsFrom(from: Part, made: MadeModels): DraftModel[] {
  if (typeof made !== 'string') return made.map((model) => ({ from, ...model }))
  from.leave(`left out, since ${made}`)
  return []
}

/** What an importer makes of a file. What is undefined or empty is not written. */
export interface Draft {
  readonly authToken?: string | readonly string[] | undefined
  readonly models: readonly DraftModel[]
  readonly settings: Readonly<Record<string, unknown>>
}

/** Reads one kind of file. */
export interface Importer {
  readonly read: (root: Part, variables: Variables) => Draft
  /** Why what is not carried over is left, where no other reason is known. */
  readonly otherwise?: string
  /** How the file refers to the environment, with the name in the first group. */
  readonly reference: RegExp
}

/** The text of the configuration. */
export function draftText(draft: Draft, origin: string, { written }: Variables): string {
  const groups = neededGroups(draft.models)
  const models = draft.models.flatMap((one): Readonly<Record<string, unknown>>[] => {
    const { from: _, clients, key_header: keyHeader, api_key: keys, model, limits, params, ...more } = one
    const entry = {
      ...more,
      [clients.length === 0 ? 'models' : 'model']: model && written(model),
      groups: groups.get(one)?.map(written),
      name: one.name && written(one.name),
      priority: one.priority === 0 ? undefined : one.priority,
      limits: filled({ ...limits }),
      params: filled({ ...params }),
    }
    if (keyHeader === undefined) return [{ ...entry, api_key: unlisted(keys) }]
    return [keys ?? []].flat().map((key) => ({ ...entry, headers: { [keyHeader]: key, ...one.headers } }))
  })
  const document = filled({
    auth_token: unlisted(draft.authToken),
    models: models.map((entry) => filled(inOrder(entry))),
    settings: filled(draft.settings),
  })
  return `// Made by "aiload import" from ${origin}.\n${JSON.stringify(document, null, 2)}\n`
}

const ORDER = (
  'vendor,base_url,api_key,model,models,groups,name,priority,weight,limits,endpoints,headers,params,proxy,' +
  'timeout,can,enabled'
).split(',')

const inOrder = (entry: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(ORDER.map((key) => [key, entry[key]]))

/** Without what has nothing in it. */
const filled = (entry: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(
    Object.entries(entry).filter(([, value]) =>
      typeof value === 'object' && value !== null ? Object.keys(value).length > 0 : value !== undefined,
    ),
  )

const unlisted = (texts: string | readonly string[] | undefined): string | readonly string[] | undefined =>
  typeof texts === 'object' && texts.length < 2 ? texts[0] : texts

/** What the rules of a configuration have against a value in an entry of `models`; undefined = nothing. */
function misfit(entry: Readonly<Record<string, unknown>>): string | undefined {
  const { findings } = checkAgainstSchema({ models: [entry] })
  const found = findings.find(({ path }) => path[0] === 'models' && Object.hasOwn(entry, path[2] ?? ''))
  return found && `${found.message}; ${found.hint}`
}

/** False for an entry whose address is none, and then it is told. */
export function hasAddress({ base_url, from }: DraftModel): boolean {
  // What a variable holds is not known here.
  const why = base_url === undefined || base_url.startsWith('${') ? undefined : misfit({ base_url })
  if (why !== undefined) from.leave(`left out, since its address ${why}`)
  return why === undefined
}

/** The proxy that a part names; one with a login becomes a variable, and what is none is told. */
export function proxyIn(part: Part, key: string, { written, secret }: Variables): string | undefined {
  const proxy = part.text(key)
  if (proxy === undefined) return undefined
  const shown = written(proxy)
  const why = shown === proxy ? misfit({ proxy }) : undefined
  if (why !== undefined) part.leave(why, key)
  if (why !== undefined) return undefined
  return proxy.includes('@') ? secret(proxy, 'UPSTREAM_PROXY') : shown
}

/** What a part says of fields of requests, by their names; what can't be said for every request is told. */
export function fieldsIn(part: Part, { writtenIn }: Variables, names = part.keys()): Record<string, unknown> {
  const fields: Record<string, unknown> = {}
  for (const name of names.filter((each) => part.has(each))) {
    const why = misfit({ params: { default: { [name]: 0 } } })
    if (why === undefined) fields[name] = writtenIn(part.json(name))
    else part.leave(why, name)
  }
  return fields
}

/**
 * The groups of each entry. A name for which there is a group stands for that group alone, and without one for everybody
 * with such a model: so a group is left away only where both are the same entries.
 */
function neededGroups(models: readonly DraftModel[]): ReadonlyMap<DraftModel, readonly string[]> {
  const apart = new Set<string>()
  for (const { model, clients } of models) {
    if (model !== undefined && !clients.includes(model)) apart.add(model)
    for (const client of clients) if (client !== model) apart.add(client)
  }
  return new Map(
    models.map((model) => [model, [...new Set(model.clients)].filter((client) => apart.has(client))]),
  )
}
