/** Printable ASCII without the two characters that JSON escapes: the common case, and nothing to do. */
const PLAIN = /^[ !#-[\]-~]*$/
/**
 * What JSON allows raw and a terminal or a log reader takes for more than text: DEL and the C1 controls, line
 * and paragraph separator, marks that turn the direction of writing, and the byte order mark.
 */
// oxlint-disable-next-line no-misleading-character-class
const TREACHEROUS = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g

/** A text as a JSON string in its quotes, on one line whatever it holds. At most `maxLength` UTF-16 units stay. */
export function jsonText(text: string, maxLength: number): string {
  const short = cut(text, maxLength)
  return PLAIN.test(short) ? `"${short}"` : escaped(short)
}

/** A text for people, on one line whatever it holds: controls are spelt out as JSON spells them. */
export function lineText(text: string, maxLength: number): string {
  const short = cut(text, maxLength)
  return PLAIN.test(short)
    ? short
    : escaped(short).slice(1, -1).replaceAll('\\"', '"').replaceAll('\\\\', '\\')
}

function escaped(text: string): string {
  return JSON.stringify(text).replace(
    TREACHEROUS,
    (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** Cut with an ellipsis, never inside a surrogate pair. */
function cut(text: string, maxLength: number): string {
  if (text.length <= maxLength) return text
  const last = text.charCodeAt(maxLength - 1)
  const isHalf = last >= 0xd800 && last <= 0xdbff
  return `${text.slice(0, isHalf ? maxLength - 1 : maxLength)}…`
}
