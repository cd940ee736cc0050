/** Fetches the peers of `npm run bench:http` beside the project: Portkey from npm, LiteLLM from PyPI (needs Python 3). */
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { toolsDirectory } from '../../tests/runtime/tools.ts'

const peers = join(toolsDirectory, 'peers')
mkdirSync(peers, { recursive: true })

const run = (command: string, ...args: string[]): boolean =>
  spawnSync(command, args, { stdio: 'inherit' }).status === 0

const quiet = ['--no-audit', '--no-fund', '--ignore-scripts', '--no-package-lock']
const hasPortkey = run('npm', 'install', '--prefix', peers, ...quiet, '@portkey-ai/gateway@1.15.2')
const python = join(peers, 'litellm')
const hasLite =
  run('python3', '-m', 'venv', python) &&
  run(join(python, 'bin/pip'), 'install', '-q', 'litellm[proxy]==1.106.2')
if (!hasPortkey) console.error('Portkey could not be fetched')
if (!hasLite) console.error('LiteLLM could not be fetched')
process.exit(hasPortkey && hasLite ? 0 : 1)
