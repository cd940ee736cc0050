import { lchownSync, lstatSync, mkdirSync, opendirSync } from 'node:fs'
import { join } from 'node:path'
import { refusalOf } from '../adapter/node/replace-file.ts'
import { errorTrace } from '../errors.ts'
import { inTheirLanguage } from './language.ts'
import type { LogOutput } from './log-output.ts'

type Dropped = { readonly problem?: string; readonly warning?: string }

/** Files of the data directory that are looked at; it holds a handful, and a mistaken mount may hold millions. */
const MOST_ENTRIES = 10_000

/**
 * Leaves root behind before anything is read or listened to: takes ownership of the data directory, which Docker makes as
 * root, and becomes the user that `wanted` names (`1000:1000`, from AILOAD_DROP_ROOT). Does nothing when `wanted` is absent
 * or empty, or when the process is not root: `--user` stays as given.
 *
 * A directory that can't be owned (a read-only mount) is a warning, since a configuration with a token needs no writing.
 * Remaining root is never the answer to a failure.
 */
export function dropRoot(wanted: string | undefined, directory: string): Dropped {
  if (wanted === undefined || wanted === '' || process.getuid?.() !== 0) return {}
  const owner = parseOwner(wanted)
  if (owner === undefined)
    return { problem: 'AILOAD_DROP_ROOT is not a user; write it as uid:gid, such as 1000:1000' }
  const { uid, gid } = owner
  const warning = own(directory, owner)
  const code = refusalOf(() => {
    // The groups first: who is no longer root may not change them.
    process.setgroups?.([gid])
    process.setgid?.(gid)
    process.setuid?.(uid)
  })
  if (code === undefined) return warning === undefined ? {} : { warning }
  const problem = `started as root and cannot become user ${uid} (${code}); start with --user ${uid}:${gid}`
  return { problem }
}

/** The user to become: numbers only, and never root. */
export function parseOwner(text: string) {
  const [, uid, gid = uid] = /^(\d{1,9})(?::(\d{1,9}))?$/.exec(text) ?? []
  const owner = { uid: Number(uid), gid: Number(gid) }
  return owner.uid > 0 && owner.gid > 0 ? owner : undefined
}

type Owner = NonNullable<ReturnType<typeof parseOwner>>

/** Gives a directory and what is in it to `owner`, where it is somebody else's. The first reason why not, if any. */
export function own(directory: string, { uid, gid }: Owner): string | undefined {
  const ahead = [directory]
  let refusal: string | undefined
  refusalOf(() => mkdirSync(directory, { recursive: true }))
  for (let seen = 0; seen < MOST_ENTRIES; seen += 1) {
    const path = ahead.pop()
    if (path === undefined) return refusal
    // One file may be a read-only mount of its own; the others are still to be owned.
    const code = refusalOf(() => {
      const status = lstatSync(path)
      // Links themselves, never what they point to: that may be any file of the system.
      if (status.uid !== uid) lchownSync(path, uid, gid)
      if (status.isDirectory()) ahead.push(...directoryEntries(path, MOST_ENTRIES - ahead.length))
    })
    if (code !== undefined) refusal ??= `${path} cannot be given to user ${uid} (${code}); it stays as it is`
  }
  return `${directory} has over ${MOST_ENTRIES} files; not all of them were given to user ${uid}`
}

function directoryEntries(path: string, atMost: number): string[] {
  const directory = opendirSync(path)
  const paths: string[] = []
  try {
    while (paths.length < atMost) {
      const entry = directory.readSync()
      if (entry === null) break
      paths.push(join(path, entry.name))
    }
    return paths
  } finally {
    directory.closeSync()
  }
}

/** Prints why a command does not go on, one line for each reason; gives its exit code. */
export function printFailure(...lines: readonly string[]): number {
  for (const line of lines) process.stderr.write(`${inTheirLanguage(line)}\n`)
  return 1
}

/**
 * A mistake of ours that nobody caught is told in one line. After an uncaught exception nothing can be relied on, so
 * the process ends with 1 and its supervisor starts a new one; an unhandled rejection concerns one request.
 */
export function installCrashHandlers({ notice, flush }: Pick<LogOutput, 'notice' | 'flush'>): void {
  process.on('uncaughtException', (error) => {
    notice('error', `AILoad stops after an internal error: ${errorTrace(error)}`)
    flush()
    process.exit(1)
  })
  process.on('unhandledRejection', (reason) => notice('error', `internal error: ${errorTrace(reason)}`))
}
