/** One parameter: its name, then perhaps a value, quoted (whatever follows the quote is dropped) or bare. */
const PARAMETER = /([^\s;="]+)\s*(?:=\s*(?:"((?:[^"\\]|\\[^])*)"[^;]*|([^\s";][^;]*)?))?(?=;|$)/
const SEPARATORS = /[;\s]*/

/**
 * The parameters of a header value such as `form-data; name="model"`: all values of each name, in order.
 *
 * Names are lower-cased. Values may be quoted, with backslash escapes (RFC 9110 §5.6.4, §5.6.6); bare ones
 * reach to the next semicolon, so that a boundary with `=` or `/`, which should be quoted, is understood. A
 * name without a value has the empty one. Linear in the length. Undefined when a part of the header can't be
 * read: a quote that never ends, a value without a name.
 */
export function headerParameters(header: string): ReadonlyMap<string, readonly string[]> | undefined {
  const parameter = new RegExp(PARAMETER, 'y')
  const separators = new RegExp(SEPARATORS, 'y')
  const found = new Map<string, string[]>()
  const semicolon = header.indexOf(';')
  let at = semicolon < 0 ? header.length : semicolon
  for (;;) {
    separators.lastIndex = at
    separators.exec(header)
    if (separators.lastIndex === header.length) return found
    parameter.lastIndex = separators.lastIndex
    const match = parameter.exec(header)
    if (match === null) return undefined
    const [, name = '', quoted, bare = ''] = match
    const values = found.get(name.toLowerCase()) ?? []
    values.push(quoted === undefined ? bare.trimEnd() : quoted.replace(/\\([^])/g, '$1'))
    found.set(name.toLowerCase(), values)
    at = parameter.lastIndex
  }
}
