import { isUrlProblem, parseBaseUrl } from '../../config/rules.ts'
import type { Part } from './part.ts'
import type { Variables } from './variables.ts'

/** One upstream-to-be, or one for each of its keys: an entry of `models` as a file writes it, and where it came from. */
export interface DraftModel {
  /** The part of the imported file that it was made of. */
  readonly from: Part
  /** A preset, which gives what is absent. */
  readonly vendor?: string
  readonly base_url?: string
  readonly model?: string
  /** In its place: a glob, for all that the upstream lists. */
  readonly models?: string
  /** What clients ask for to get it. */
  readonly clients: string[]
  readonly api_key?: string | readonly string[]
  readonly name?: string
  readonly weight?: number | string
  /** Lower first. */
  priority?: number
  readonly limits?: DraftLimits
  readonly endpoints?: readonly string[]
  readonly headers?: Readonly<Record<string, string>>
  readonly timeout?: number | string
  readonly can?: Readonly<Record<string, boolean>>
  readonly enabled?: boolean
}

/** Numbers, or references to variables that hold some. */
export type DraftLimits = Readonly<Record<string, unknown>>

/** What an importer makes of a file. */
export interface Draft {
  readonly authToken?: string | readonly string[] | undefined
  readonly models: DraftModel[]
  readonly settings: Readonly<Record<string, unknown>>
}

/** Reads one kind of file. */
export interface Importer {
  readonly read: (root: Part, variables: Variables) => Draft
  /** By key, why what is not carried over is left, where there is more to say than that. */
  readonly reasons: Readonly<Record<string, string>>
  /** Why everything else is left. */
  readonly otherwise?: string
  /** How the file refers to the environment, with the name in the first group. */
  readonly reference: RegExp
}

/** Without the keys that have nothing in them; an empty list stays. */
export function filled<T extends object>(entry: { [Key in keyof T]: T[Key] | undefined }): T {
  const isSomething = (value: unknown): boolean =>
    value !== undefined &&
    (typeof value !== 'object' || value === null || Array.isArray(value) || Object.keys(value).length > 0)
  return Object.fromEntries(Object.entries(entry).filter(([, value]) => isSomething(value))) as T
}

/** The text of the configuration. */
export function draftText({ authToken, models, settings }: Draft, origin: string): string {
  const groups = neededGroups(models)
  const entries = models.map((model) => {
    const { from: _from, clients: _clients, vendor, base_url, api_key, model: name, ...more } = model
    return filled({
      vendor,
      base_url,
      api_key: unlisted(api_key),
      model: name,
      groups: groups.get(model)?.length === 0 ? undefined : groups.get(model),
      ...more,
    })
  })
  const document = filled({ auth_token: unlisted(authToken), models: entries, settings })
  return `// Made by "aiload import" from ${origin}.\n${JSON.stringify(document, null, 2)}\n`
}

const unlisted = (texts: string | readonly string[] | undefined): string | readonly string[] | undefined =>
  typeof texts === 'object' && texts.length < 2 ? texts[0] : texts

/** False for an entry whose address is none, and then it is told. */
export function hasAddress({ base_url: address, from }: DraftModel): boolean {
  if (address === undefined) return true
  // What a variable holds is not known here.
  const url = parseBaseUrl(address.startsWith('${') ? 'https://variable.example' : address)
  if (isUrlProblem(url)) from.leave(`left out, since its address ${url.message}; ${url.hint}`)
  return !isUrlProblem(url)
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
