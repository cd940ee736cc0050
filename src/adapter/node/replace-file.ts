import * as fs from 'node:fs'
import { systemCodeOf } from '../../errors.ts'

/** `node:fs`; tests hand in one whose calls refuse. */
export type FileCalls = typeof fs

/** The code of the refusal where the file has another text than it should. */
export const CHANGED = 'ESTALE'

interface Replacing {
  /** What it should still hold at the last moment; anything unless given. */
  readonly before?: string
  readonly calls?: FileCalls
}

/**
 * Replaces the content of a file that exists, so that a reader at any moment, and after a power cut, finds
 * the old text or the new one: written aside, fsynced, renamed. Where the directory refuses that (a single
 * file mounted into a container, a directory of somebody else) it is written in place, and the old text is
 * put back when that fails half-way. Mode 0600 afterwards; a symbolic link stays one.
 *
 * @throws the system's error when neither way works, `CHANGED` where it holds something else; it stays as it is then.
 */
export function replaceFile(file: string, text: string, { before, calls = fs }: Replacing = {}): void {
  const target = calls.realpathSync(file)
  const bytes = new TextEncoder().encode(text)
  const requireSame = (): void => {
    if (before === undefined || calls.readFileSync(target, 'utf8') === before) return
    throw Object.assign(new Error('somebody else has written it'), { code: CHANGED })
  }
  try {
    writeAside({ target, bytes, calls, requireSame })
  } catch (error) {
    // With a full disk or a failing one, writing over the only copy would be the end of it.
    if (!refusals.has(systemCodeOf(error) ?? '')) throw error
    requireSame()
    writeInPlace(target, bytes, calls)
  }
}

// Rename over a mount point is EBUSY, across mounts EXDEV; the rest is a directory that takes no new file.
const refusals: ReadonlySet<string> = new Set(['EBUSY', 'EXDEV', 'EPERM', 'EACCES', 'EROFS'])

interface Writing {
  readonly target: string
  readonly bytes: Uint8Array
  readonly calls: FileCalls
  /** The disk may take its time: what people save meanwhile is not to be lost. */
  readonly requireSame: () => void
}

function writeAside({ target, bytes, calls, requireSame }: Writing): void {
  const { uid, gid } = calls.statSync(target)
  const aside = `${target}.${process.pid}.tmp`
  calls.rmSync(aside, { force: true })
  const descriptor = calls.openSync(aside, 'wx', 0o600)
  try {
    try {
      writeAll(descriptor, bytes, calls)
      // Owner and mode are the file system's to refuse (some mounts have neither); the content counts.
      refusalOf(() => calls.fchownSync(descriptor, uid, gid))
      calls.fsyncSync(descriptor)
    } finally {
      calls.closeSync(descriptor)
    }
    requireSame()
    calls.renameSync(aside, target)
  } catch (error) {
    calls.rmSync(aside, { force: true })
    throw error
  }
}

function writeInPlace(target: string, bytes: Uint8Array, calls: FileCalls): void {
  const before = calls.readFileSync(target)
  const descriptor = calls.openSync(target, 'r+')
  try {
    refusalOf(() => calls.fchmodSync(descriptor, 0o600))
    writeAll(descriptor, bytes, calls)
    calls.fsyncSync(descriptor)
  } catch (error) {
    writeAll(descriptor, before, calls)
    throw error
  } finally {
    calls.closeSync(descriptor)
  }
}

function writeAll(descriptor: number, bytes: Uint8Array, calls: FileCalls): void {
  let written = 0
  while (written < bytes.length)
    written += calls.writeSync(descriptor, bytes, written, bytes.length - written, written)
  calls.ftruncateSync(descriptor, bytes.length)
}

/** The system's code for what it refused, if it did. */
export function refusalOf(step: () => void): string | undefined {
  try {
    step()
    return undefined
  } catch (error) {
    return systemCodeOf(error) ?? 'unknown error'
  }
}
