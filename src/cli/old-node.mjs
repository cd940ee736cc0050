/** The least Node that the package says it needs (`engines`). */
const LEAST_MAJOR = 20
const LEAST_MINOR = 19

/**
 * Why this Node can't run AILoad, in one sentence; undefined where it can. The oldest Node that knows modules reads
 * this file, so it is written in the JavaScript of 2015.
 *
 * @param {string} version as `process.versions.node` has it
 * @returns {string | undefined}
 */
export function oldNodeSentence(version) {
  const parts = version.split('.')
  const major = Number(parts[0])
  const isEnough = major === LEAST_MAJOR ? Number(parts[1]) >= LEAST_MINOR : major > LEAST_MAJOR
  if (isEnough) return undefined
  return (
    'AILoad needs Node ' + LEAST_MAJOR + '.' + LEAST_MINOR + ' or newer, and this is Node ' + version + '.'
  )
}
