const IS_USABLE = /^[A-Za-z0-9._-]{1,128}$/

/** The client's own id when it is harmless in headers and logs, else a new one. */
export function requestIdOf(given: string | undefined, newId: () => string): string {
  return given !== undefined && IS_USABLE.test(given) ? given : newId()
}
