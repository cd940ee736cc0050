/** What the kernel knows of another process (Linux). */
import { readdirSync, readFileSync } from 'node:fs'

/** Resident memory in bytes. */
export function residentBytes(pid: number): number {
  const kibibytes = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kibibytes) * 1024
}

/** Open descriptors: sockets, files, pipes. */
export function descriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}
