/** Fetches the runtimes beside the project: `npm run test:runtimes` calls it first. Linux on x64. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { missingTools, pinned, toolsDirectory } from './tools.ts'

if (missingTools().length > 0) {
  mkdirSync(toolsDirectory, { recursive: true })
  writeFileSync(
    `${toolsDirectory}/package.json`,
    JSON.stringify({ private: true, dependencies: pinned }, undefined, 2),
  )
  // The packages hold the binaries themselves: no script of theirs needs to run.
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock']
  spawnSync('npm', ['install', '--prefix', toolsDirectory, ...flags], { stdio: 'inherit' })
}
const missing = missingTools()
if (missing.length > 0) {
  process.stderr.write(`missing after npm install: ${missing.join(', ')}\n`)
  process.exit(1)
}
