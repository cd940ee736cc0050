/** The part of a Markdown text that stands below a heading of the second level. */
export const sectionBelow = (text: string, heading: string): string =>
  text.slice(text.indexOf(heading)).split(/\n## /)[0] ?? ''

/** The cells of the tables below a heading, without the head of the first. */
export function tableBelow(text: string, heading: string): string[][] {
  const rows = sectionBelow(text, heading)
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('|---'))
  return rows.slice(1).map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}
