import { dirname, join } from 'node:path'

/**
 * Sets of files that import each other, directly or over others: the strongly connected components of more than one
 * file, by Tarjan's algorithm. Imports of types count, and so do re-exports and `import('…')`.
 * @param texts of files by their path, in which imports are relative and end with the file's name
 */
export function cyclesIn(texts: ReadonlyMap<string, string>): string[][] {
  const depths = new Map<string, number>()
  const path: string[] = []
  const onPath = new Set<string>()
  const cycles: string[][] = []

  const visit = (file: string): number => {
    const depth = depths.size
    depths.set(file, depth)
    path.push(file)
    onPath.add(file)
    let lowest = depth
    for (const next of importsOf(file, texts.get(file) ?? '')) {
      if (!texts.has(next)) continue
      if (!depths.has(next)) lowest = Math.min(lowest, visit(next))
      else if (onPath.has(next)) lowest = Math.min(lowest, depths.get(next) ?? lowest)
    }
    if (lowest === depth) {
      const members = path.splice(path.indexOf(file))
      for (const member of members) onPath.delete(member)
      if (members.length > 1) cycles.push(members)
    }
    return lowest
  }

  for (const file of texts.keys()) if (!depths.has(file)) visit(file)
  return cycles
}

function importsOf(file: string, text: string): string[] {
  return [...text.matchAll(/(?:\bfrom\s+|\bimport\s*\(?\s*)'(\.[^']+)'/g)].map(([, to = '']) =>
    join(dirname(file), to),
  )
}
