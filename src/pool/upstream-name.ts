/** What a name is made of when the configuration gives none. */
export interface NameSource {
  readonly name?: string
  readonly model: string
  /** Absolute URL of the upstream. */
  readonly root: string
}

/** The name that one entry of the configuration asks for: its own, else `model@host` with the port if any. */
const wishedName = ({ name, model, root }: NameSource): string => name ?? `${model}@${new URL(root).host}`

/**
 * Unique names for upstreams, in the order given: one wished name for each upstream, so an entry with
 * three keys wishes three times. The first to wish a name gets it as it is, the next ones with `-2`,
 * `-3`, …; a number never takes a name that another upstream wishes for itself.
 */
export function uniqueNames(wished: readonly string[]): string[] {
  const taken = new Set(wished)
  const lastNumber = new Map<string, number>()
  return wished.map((name) => {
    const last = lastNumber.get(name)
    if (last === undefined) {
      lastNumber.set(name, 1)
      return name
    }
    let number = last + 1
    while (taken.has(`${name}-${number}`)) number += 1
    lastNumber.set(name, number)
    taken.add(`${name}-${number}`)
    return `${name}-${number}`
  })
}

/** The names of all upstreams of a configuration: for each entry one for each of its keys. */
export const upstreamNames = (
  models: readonly (NameSource & { readonly apiKeys: readonly string[] })[],
): string[] => uniqueNames(models.flatMap((model) => model.apiKeys.map(() => wishedName(model))))
