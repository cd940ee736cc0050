import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** A file of the package: it stands two directories above, in the sources as in `dist`. */
const packageFile = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))

/** The configuration that a first start copies. */
export const templateFile = (): string => packageFile('config/config.json')

/** The page at `/`, which `npm run build` and a start from the sources make. */
export const pageFile = (): string => packageFile('dist/page.html')

/** The version in package.json. */
export const packageVersion = (): string =>
  (JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as { version: string }).version

/** Prints the version and nothing else. */
export function printVersion(): number {
  process.stdout.write(`${packageVersion()}\n`)
  return 0
}
