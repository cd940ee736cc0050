import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { esbuild, root, wrangler } from './tools.ts'

let builtWorker: string | undefined
let builtEdge: string | undefined

/** Offline, and without telling anybody. */
const quiet = { CI: '1', WRANGLER_SEND_METRICS: 'false', CLOUDFLARE_CF_FETCH_ENABLED: 'false' }

/** The Worker as wrangler would upload it: built once, by what `npm run build:edge` runs. */
export function workerBundle(): string {
  builtWorker ??= buildWorker()
  return builtWorker
}

function buildWorker(): string {
  const args = [wrangler, 'deploy', '--dry-run', '--outdir', 'dist-edge']
  const built = spawnSync(process.execPath, args, {
    cwd: root,
    env: { ...process.env, ...quiet },
    encoding: 'utf8',
  })
  if (built.status !== 0) throw new Error(`wrangler: ${built.stdout}${built.stderr}`)
  return readFileSync(join(root, 'dist-edge', 'worker.js'), 'utf8')
}

/** The handler for edge functions as one script. */
export async function edgeBundle(): Promise<string> {
  builtEdge ??= await buildEdge()
  return builtEdge
}

async function buildEdge(): Promise<string> {
  const built = await esbuild().build({
    entryPoints: [join(root, 'tests/runtime/edge-function.ts')],
    bundle: true,
    write: false,
    format: 'iife',
    target: 'es2023',
    conditions: ['edge-light', 'worker', 'browser'],
    mainFields: ['browser', 'module', 'main'],
  })
  return built.outputFiles[0]!.text
}
