const words = ['message', 'type', 'code', 'param', 'status', 'detail', 'title', 'retryDelay', 'raw'] as const
const spelt = words.map(
  (word) => [word, new RegExp(`"${word}"\\s*:\\s*(?:"((?:[^"\\\\]|\\\\.)*)|(\\d+))`)] as const,
)

/**
 * What can still be told from JSON that is cut or broken: the first value of each field that matters, in the
 * shape of an error. Texts may end early; an empty object when there is nothing.
 *
 * Linear in the length of the text; never throws.
 */
export function salvaged(text: string): Readonly<Record<string, unknown>> {
  const found = spelt.flatMap(([word, pattern]) => {
    const match = pattern.exec(text)
    return match === null
      ? []
      : [[word, match[1] === undefined ? Number(match[2]) : unescaped(match[1])] as const]
  })
  const violations = [...text.matchAll(/"quotaId"\s*:\s*"([^"\\]*)"/g)]
    .slice(0, 50)
    .map(([, quotaId]) => ({ quotaId }))
  const { raw, retryDelay, ...fields } = Object.fromEntries(found)
  return { ...fields, metadata: { raw }, details: [{ retryDelay }, { violations }] }
}

function unescaped(text: string): string {
  try {
    return String(JSON.parse(`"${text}"`))
  } catch {
    return text
  }
}
