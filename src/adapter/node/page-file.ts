import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { AppDeps, Page } from '../../http/deps.ts'
import { pageOf } from '../../http/page.ts'

const pack = promisify(gzip)

/** The page that was built into a file, read and packed when it is first asked for; undefined while there is no such file. */
export function createPageFile(file: string): AppDeps['page'] {
  let page: Promise<Page | undefined> | undefined
  return async () => {
    page ??= read(file)
    const found = await page
    if (found === undefined) page = undefined
    return found
  }
}

async function read(file: string): Promise<Page | undefined> {
  const html = await readFile(file, 'utf8').catch(() => undefined)
  if (html === undefined) return undefined
  return { ...pageOf(html), gzip: await pack(html, { level: 9 }) }
}
