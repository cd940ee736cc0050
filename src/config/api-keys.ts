/** The keys of an entry, trimmed, each once, in the order written; `['']` when it has none. */
export const keysOf = (apiKey: string | readonly string[] | undefined): string[] => [
  ...new Set([apiKey ?? ''].flat().map((key) => key.trim())),
]

/** True for keys that documentation and templates show and that no vendor ever gave out. */
export const isPlaceholderKey = (key: string): boolean =>
  /^(?:sk-)?(?:x{3,}|\.{3}|…|<.*>|your[-_ ]?(?:api[-_ ]?)?key.*)$/i.test(key)
