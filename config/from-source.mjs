/**
 * `npm start`: the command line from its sources. An old Node refuses `--import tsx` itself, with words that help nobody;
 * so it is asked for its version first.
 */
import { oldNodeSentence } from '../src/cli/old-node.mjs'

const sentence = oldNodeSentence(process.versions.node)
if (sentence === undefined) {
  void import('tsx/esm/api').then(({ register }) => {
    register()
    return import('../src/cli/main.ts')
  })
} else {
  process.stderr.write(sentence + '\n')
  process.exitCode = 1
}
