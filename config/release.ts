/**
 * What a tag may publish, and under which names: `npm run release:plan -- v1.2.3` says it, and the release asks it before
 * anything else. Nothing is installed for it: Node 24 runs this file as it stands.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** What the repository says of itself at the tag. */
export interface ReleaseFacts {
  /** Such as `v1.2.3`. */
  readonly tag: string
  /** Versions in package.json and in package-lock.json. */
  readonly versions: Readonly<Record<string, string>>
  /** All tags of the repository, of other things too. */
  readonly tags: readonly string[]
  readonly changelog: string
}

/** What is published. */
export interface ReleasePlan {
  readonly version: string
  /** The name by which npm's users ask: `latest` for the newest stable alone. */
  readonly npmTag: string
  readonly imageTags: readonly string[]
  readonly isPrerelease: boolean
  readonly isLatest: boolean
  /** The version's part of the changelog. */
  readonly notes: string
}

type Core = readonly [major: number, minor: number, patch: number]
interface Version {
  readonly core: Core
  readonly isPrerelease: boolean
}

/** https://semver.org, without build metadata: npm and registries of images treat those differently. */
const VERSION =
  /^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(?:0|[1-9]\d*|\d*[a-z-][\da-z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-z-][\da-z-]*))*)?$/i

function parseTag(tag: string): Version | undefined {
  const [, major, minor, patch, prerelease] = VERSION.exec(tag) ?? []
  if (major === undefined) return undefined
  return { core: [Number(major), Number(minor), Number(patch)], isPrerelease: prerelease !== undefined }
}

const isNewer = (one: Core, other: Core): boolean => {
  const at = one.findIndex((part, index) => part !== other[index])
  return at >= 0 && (one[at] ?? 0) > (other[at] ?? 0)
}

/** The plan, or everything that is in its way. */
export function planRelease(facts: ReleaseFacts): ReleasePlan | { readonly problems: readonly string[] } {
  const { tag, versions, tags, changelog } = facts
  const wanted = parseTag(tag)
  if (wanted === undefined)
    return { problems: [`the tag ${tag} is no version; write it as v1.2.3 or v1.2.3-rc.1`] }
  const version = tag.slice(1)
  const notes = notesOf(changelog, version)
  const problems = Object.entries(versions)
    .filter(([, other]) => other !== version)
    .map(([file, other]) => `the tag is ${tag}, and ${file} says ${other}`)
  if (notes === undefined)
    problems.push(`CHANGELOG.md has no part "## ${version} – YYYY-MM-DD" with something in it`)
  if (notes === undefined || problems.length > 0) return { problems }
  const { core, isPrerelease } = wanted
  const [major, minor] = core
  const stable = tags.flatMap((name) => {
    const other = parseTag(name)
    return other === undefined || other.isPrerelease ? [] : [other.core]
  })
  const isNewestOf = (line: (other: Core) => boolean): boolean =>
    !stable.some((other) => line(other) && isNewer(other, core))
  const isNewest = isNewestOf(() => true)
  // A version that looks like a range is no name of npm's: `release-1.2`, not `1.2`.
  const ofOldLine = `release-${major}.${minor}`
  const names = [
    ...(isNewestOf((other) => other[0] === major && other[1] === minor) ? [`${major}.${minor}`] : []),
    // Before 1.0.0 a minor version may change anything, so nobody should follow `0`.
    ...(major > 0 && isNewestOf((other) => other[0] === major) ? [`${major}`] : []),
    ...(isNewest ? ['latest'] : []),
  ]
  return {
    version,
    npmTag: isNewest ? (isPrerelease ? 'next' : 'latest') : ofOldLine,
    imageTags: [version, ...(isPrerelease ? [] : names)],
    isPrerelease,
    isLatest: isNewest && !isPrerelease,
    notes,
  }
}

/** What stands below `## VERSION – DATE`, without what only says that it is not released. */
function notesOf(changelog: string, version: string): string | undefined {
  const parts = changelog.split(/^## /m).slice(1)
  const found = parts.find((part) => {
    const [name, , date = ''] = part.slice(0, part.indexOf('\n')).split(' ')
    return name === version && /^\d{4}-\d\d-\d\d$/.test(date)
  })
  const notes = found?.slice(found.indexOf('\n')).trim()
  return notes === '' ? undefined : notes
}

/** As a step of a workflow says it (`>> "$GITHUB_OUTPUT"`); the notes are many lines and stand apart. */
export function outputsOf({ version, npmTag, imageTags, isPrerelease, isLatest }: ReleasePlan): string {
  const outputs = {
    version,
    'npm-tag': npmTag,
    'image-tags': imageTags.join(' '),
    prerelease: isPrerelease,
    latest: isLatest,
  }
  return Object.entries(outputs)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('')
}

function factsHere(tag: string): ReleaseFacts {
  const textOf = (file: string): string => readFileSync(file, 'utf8')
  const versionIn = (file: string): string => (JSON.parse(textOf(file)) as { version: string }).version
  const files = ['package.json', 'package-lock.json']
  return {
    tag,
    versions: Object.fromEntries(files.map((file) => [file, versionIn(file)])),
    tags: execFileSync('git', ['tag', '--list'], { encoding: 'utf8' }).split('\n'),
    changelog: textOf('CHANGELOG.md'),
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [tag = '', what] = process.argv.slice(2)
  const plan = planRelease(factsHere(tag))
  if ('problems' in plan) {
    process.stderr.write(plan.problems.map((problem) => `${problem}\n`).join(''))
    process.exitCode = 1
  } else {
    process.stdout.write(what === '--notes' ? `${plan.notes}\n` : outputsOf(plan))
  }
}
