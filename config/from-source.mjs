/**
 * `npm start`: the command line from its sources. An old Node refuses `--import tsx` itself, with words that help nobody;
 * so it is asked for its version first. What serves has its page built before, where that is not done yet.
 */
import { fileURLToPath } from 'node:url'
import { oldNodeSentence } from '../src/cli/old-node.mjs'

const sentence = oldNodeSentence(process.versions.node)
if (sentence === undefined) {
  void import('tsx/esm/api').then(async ({ register }) => {
    register()
    if (/^(?:start|demo)$/.test(String(process.argv[2]))) await withPage()
    return import('../src/cli/main.ts')
  })
} else {
  process.stderr.write(sentence + '\n')
  process.exitCode = 1
}

/** A gateway works without its page, so what is in the way is said and no more. */
async function withPage() {
  try {
    const { refreshPage } = await import('./page.ts')
    await refreshPage(fileURLToPath(new URL('../dist', import.meta.url)))
  } catch (error) {
    process.stderr.write(
      `the page at / could not be built: ${error instanceof Error ? error.message : 'unknown'}\n`,
    )
  }
}
