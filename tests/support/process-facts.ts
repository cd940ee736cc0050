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

/** CPU time used so far, in ms: of all threads, in the kernel and outside of it. Counted in steps of 10 ms. */
export function cpuMs(pid: number): number {
  const [userTicks, kernelTicks] = fieldsOf(pid).slice(11, 13)
  return (Number(userTicks) + Number(kernelTicks)) * 10
}

/** Whether it is stopped, as SIGSTOP does. */
export const isStopped = (pid: number): boolean => fieldsOf(pid)[0] === 'T'

/** Fields of /proc/PID/stat behind the name, which may have blanks in it; the first is the state. */
function fieldsOf(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')
}

/** Whether the side of `port` still holds its connection with `peerPort`; both on 127.0.0.1. */
export function isConnected(port: number, peerPort: number): boolean {
  const spelt = (one: number): string => `0100007F:${one.toString(16).toUpperCase().padStart(4, '0')}`
  return readFileSync('/proc/net/tcp', 'utf8').includes(` ${spelt(port)} ${spelt(peerPort)} 01 `)
}
