import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

/** What may go into a release from outside is named exactly; `.github/dependabot.yml` moves it on. */

const root = join(import.meta.dirname, '../..')
const folder = join(root, '.github/workflows')
const workflows = readdirSync(folder).map((name) => ({
  name,
  text: readFileSync(join(folder, name), 'utf8'),
}))
const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8')

test('every action is the commit of a version, which stands beside it', () => {
  const used = workflows.flatMap(({ text }) =>
    [...text.matchAll(/uses: (.+)$/gm)].map(([, name = '']) => name),
  )
  const others = used.filter((name) => !name.startsWith('./'))
  expect(others.length).toBeGreaterThan(5)
  expect(others.filter((name) => !/^[\w-]+\/[\w-]+@[\da-f]{40} # v\d+\.\d+\.\d+$/.test(name))).toEqual([])
})

test('every use of an action is the same version of it', () => {
  const versions = new Map<string, Set<string>>()
  for (const { text } of workflows) {
    for (const [, action = '', version = ''] of text.matchAll(/uses: ([\w-]+\/[\w-]+)@(.+)$/gm))
      versions.set(action, (versions.get(action) ?? new Set()).add(version))
  }
  expect([...versions].filter(([, all]) => all.size > 1)).toEqual([])
})

test('every image that is built upon has an exact version', () => {
  const images = [...dockerfile.matchAll(/^FROM (?:--\S+ )?(\S+)/gm)].map(([, image = '']) => image)
  expect(images.length).toBeGreaterThan(1)
  expect(
    images.filter((image) => !/^node:\d+\.\d+\.\d+-bookworm-slim(?:@sha256:[\da-f]{64})?$/.test(image)),
  ).toEqual([])
})

test('every workflow says what it may, and only publishing jobs may write', () => {
  for (const { text } of workflows) expect(text).toMatch(/^permissions:/m)
  const writing = workflows.filter(({ text }) => /^ +[\w-]+: write$/m.test(text)).map(({ name }) => name)
  expect(writing).toEqual(['release.yml'])
})

test('nothing is published before everything was tested', () => {
  const text = workflows.find(({ name }) => name === 'release.yml')?.text ?? ''
  const jobs = text
    .slice(text.indexOf('\njobs:\n'))
    .split(/\n {2}(?=\w+:\n)/)
    .slice(1)
  const publishing = jobs.filter((job) => /npm publish|--push|gh release create/.test(job))
  expect(publishing).toHaveLength(3)
  for (const job of publishing) expect(job).toMatch(/needs: \[plan, (?:check, runtimes|npm, image)/)
})

test('what comes from outside reaches a shell in a variable, never as text of the script', () => {
  const scripts = workflows.flatMap(({ text }) => [...text.matchAll(/run: (?:\|\n((?: {10}.*\n)+)|(.*))/g)])
  expect(scripts.length).toBeGreaterThan(10)
  expect(scripts.filter(([all]) => all.includes('${{'))).toEqual([])
})
