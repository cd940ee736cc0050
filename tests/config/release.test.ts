import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { outputsOf, planRelease, type ReleaseFacts, type ReleasePlan } from '../../config/release.ts'
import { temporaryDirectory } from '../support/gateway-process.ts'

const changelogOf = (version: string): string => `# Changelog

## Unreleased

- Not yet.

## ${version} – 2026-12-01

- What is new.

## 0.0.1 – 2026-01-01

- What was.
`

function plan(tag: string, facts: Partial<ReleaseFacts> = {}): ReturnType<typeof planRelease> {
  const version = tag.slice(1)
  const versions = { 'package.json': version, 'package-lock.json': version }
  return planRelease({ tag, versions, tags: [tag], changelog: changelogOf(version), ...facts })
}

/** Tags that were there before. */
const names = (tag: string, ...before: readonly string[]): readonly [string, readonly string[]] => {
  const { npmTag, imageTags } = plan(tag, { tags: [...before, tag] }) as ReleasePlan
  return [npmTag, imageTags]
}

test('the newest stable version is `latest`, for npm and as an image', () => {
  expect(names('v0.1.0')).toEqual(['latest', ['0.1.0', '0.1', 'latest']])
  expect(names('v0.2.0', 'v0.1.9')).toEqual(['latest', ['0.2.0', '0.2', 'latest']])
  expect(names('v1.10.0', 'v1.9.9')).toEqual(['latest', ['1.10.0', '1.10', '1', 'latest']])
})

test('a patch of an older line leaves `latest` where it is', () => {
  expect(names('v0.1.1', 'v0.1.0', 'v0.2.0')).toEqual(['release-0.1', ['0.1.1', '0.1']])
  expect(names('v1.9.4', 'v2.0.0')).toEqual(['release-1.9', ['1.9.4', '1.9', '1']])
  expect(names('v1.8.4', 'v1.9.0', 'v2.0.0')).toEqual(['release-1.8', ['1.8.4', '1.8']])
})

test('a version that is older than one of its own line has no name but its own', () => {
  expect(names('v1.9.3', 'v1.9.4', 'v2.0.0')).toEqual(['release-1.9', ['1.9.3']])
})

test('a pre-release is `next`, and nobody gets it who did not ask for it', () => {
  expect(names('v2.0.0-rc.1', 'v1.9.0')).toEqual(['next', ['2.0.0-rc.1']])
  expect(names('v1.9.5-rc.1', 'v2.0.0')).toEqual(['release-1.9', ['1.9.5-rc.1']])
})

test('a pre-release keeps no stable version from being `latest`, and other tags say nothing', () => {
  expect(names('v1.0.0', 'v1.1.0-rc.1', 'v2', 'nightly', 'v01.2.3')[0]).toBe('latest')
})

test('a tag that is not the version of the package publishes nothing', () => {
  const versions = { 'package.json': '1.2.3', 'package-lock.json': '1.2.2' }
  expect(plan('v1.2.4', { versions })).toEqual({
    problems: [
      'the tag is v1.2.4, and package.json says 1.2.3',
      'the tag is v1.2.4, and package-lock.json says 1.2.2',
    ],
  })
})

test.each(['1.2.3', 'v1.2', 'v1.2.3.4', 'v01.2.3', 'v1.2.3-', 'v1.2.3-rc.01', 'v1.2.3+build', 'v1.2.3 '])(
  'the tag %j is no version',
  (tag) => {
    expect(plan(tag)).toEqual({
      problems: [`the tag ${tag} is no version; write it as v1.2.3 or v1.2.3-rc.1`],
    })
  },
)

test('the notes are the part of the changelog that has the version and a date', () => {
  expect(plan('v1.2.3')).toMatchObject({ notes: '- What is new.' })
  const problems = ['CHANGELOG.md has no part "## 1.2.3 – YYYY-MM-DD" with something in it']
  for (const changelog of [
    changelogOf('1.2.30'),
    '## 1.2.3 – unreleased\n\n- Something.\n',
    '## 1.2.3 – 2026-12-01\n\n## 1.2.2 – 2026-11-01\n',
  ])
    expect(plan('v1.2.3', { changelog })).toEqual({ problems })
})

test('a workflow reads one line for each name', () => {
  expect(outputsOf(plan('v0.1.0') as ReleasePlan)).toBe(
    'version=0.1.0\nnpm-tag=latest\nimage-tags=0.1.0 0.1 latest\nprerelease=false\nlatest=true\n',
  )
})

test('it is asked by its command line, in a repository', () => {
  const directory = temporaryDirectory()
  const root = join(import.meta.dirname, '../..')
  cpSync(join(root, 'config/release.ts'), join(directory, 'config/release.ts'))
  for (const file of ['package.json', 'package-lock.json'])
    writeFileSync(join(directory, file), '{ "version": "1.2.3" }')
  writeFileSync(join(directory, 'CHANGELOG.md'), changelogOf('1.2.3'))
  const git = (...words: readonly string[]): string =>
    execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@example.com', ...words], {
      cwd: directory,
      encoding: 'utf8',
    })
  git('init', '--quiet')
  git('commit', '--quiet', '--allow-empty', '--message', 'All')
  for (const tag of ['v1.2.3', 'v1.3.0']) git('tag', tag)
  const tsx = import.meta.resolve('tsx')
  const ask = (...words: readonly string[]) =>
    spawnSync(process.execPath, ['--import', tsx, 'config/release.ts', ...words], {
      cwd: directory,
      encoding: 'utf8',
    })
  expect(ask('v1.2.3')).toMatchObject({
    status: 0,
    stdout: 'version=1.2.3\nnpm-tag=release-1.2\nimage-tags=1.2.3 1.2\nprerelease=false\nlatest=false\n',
  })
  expect(ask('v1.2.3', '--notes')).toMatchObject({ status: 0, stdout: '- What is new.\n' })
  expect(ask('v1.3.0')).toMatchObject({ status: 1, stdout: '' })
})
