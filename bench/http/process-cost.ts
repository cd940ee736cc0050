import { readdirSync, readFileSync } from 'node:fs'

/** CPU time of a process and all below it since they started, µs, from the scheduler's own account. */
export function cpuOf(pid: number): number {
  let ns = 0
  for (const member of treeOf(pid)) {
    for (const task of listed(`/proc/${member}/task`)) {
      ns += Number(textOf(`/proc/${member}/task/${task}/schedstat`).split(' ')[0] ?? 0)
    }
  }
  return ns / 1_000
}

/** Resident memory of a process and all below it, bytes. */
export function memoryOf(pid: number): number {
  const kilobytes = treeOf(pid).map((member) => /VmRSS:\s+(\d+)/.exec(textOf(`/proc/${member}/status`))?.[1])
  return kilobytes.reduce((sum, text) => sum + Number(text ?? 0) * 1_024, 0)
}

function treeOf(pid: number): number[] {
  const children = new Map<number, number[]>()
  for (const name of listed('/proc')) {
    const one = Number(name)
    if (!Number.isInteger(one)) continue
    const parent = Number(textOf(`/proc/${one}/stat`).split(') ')[1]?.split(' ')[1])
    children.set(parent, [...(children.get(parent) ?? []), one])
  }
  const tree = [pid]
  for (const member of tree) tree.push(...(children.get(member) ?? []))
  return tree
}

/** Processes come and go while they are looked at. */
function listed(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
