import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { afterAll, beforeAll, expect, test } from 'vitest'

/** The package as `npm pack` makes it, installed elsewhere without a registry: it has to bring everything along. */

const root = join(import.meta.dirname, '../..')
const environment = { PATH: process.env['PATH'] ?? '' }
let directory = ''
let installed = ''

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'aiload-package-'))
  const source = join(directory, 'source')
  cpSync(process.env['AILOAD_TEST_BUILD'] ?? '', source, { recursive: true })
  for (const path of ['README.md', 'README.zh.md', 'LICENSE', 'CHANGELOG.md', 'SECURITY.md'])
    cpSync(join(root, path), join(source, path))
  tsc('-p', 'tsconfig.build.json', '--outDir', join(source, 'dist'))
  const npm = (cwd: string, ...words: readonly string[]): string => {
    const apart = ['--ignore-scripts', '--offline', '--cache', join(directory, 'cache'), '--loglevel=error']
    return execFileSync('npm', [...words, ...apart], { cwd, encoding: 'utf8' })
  }
  const tarball = npm(source, 'pack', '--pack-destination', directory).trim()
  installed = join(directory, 'elsewhere')
  mkdirSync(installed)
  writeFileSync(join(installed, 'package.json'), '{ "private": true, "type": "module" }')
  npm(installed, 'install', join(directory, tarball))
}, 120_000)

afterAll(() => rmSync(directory, { recursive: true, force: true }))

const tsc = (...words: readonly string[]): string =>
  execFileSync(process.execPath, [join(root, 'node_modules/.bin/tsc'), ...words], {
    cwd: root,
    encoding: 'utf8',
  })
const packageFile = (path: string): string => join(installed, 'node_modules/aiload', path)
const command = (): string => join(installed, 'node_modules/.bin/aiload')

test('nothing else is installed with it, and nothing is run to install it', () => {
  const names = readdirSync(join(installed, 'node_modules')).filter((name) => !name.startsWith('.'))
  expect(names).toEqual(['aiload'])
  const { scripts, ...described } = JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as {
    scripts: object
  }
  for (const kind of ['dependencies', 'optionalDependencies', 'peerDependencies', 'bundleDependencies'])
    expect(described).not.toHaveProperty(kind)
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare'])
    expect(scripts).not.toHaveProperty(name)
})

test('it holds what it needs, and nothing of how it is made', () => {
  const files = readdirSync(packageFile('.'), { recursive: true, encoding: 'utf8' })
  expect(files).toEqual(expect.arrayContaining(['README.md', 'SECURITY.md', 'config/config.schema.json']))
  expect(files.filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))).toEqual([])
})

test('its command says its version', () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  expect(execFileSync(command(), ['version'], { encoding: 'utf8', env: environment })).toBe(`${version}\n`)
})

test('its command starts a gateway, with the template beside it', async () => {
  const child = spawn(command(), ['start', '--port', '0', '--host', '127.0.0.1'], {
    cwd: installed,
    env: environment,
  })
  const url = await new Promise<string>((resolve, reject) => {
    let printed = ''
    const onOutput = (text: Buffer): void => {
      printed += text.toString()
      const port = /listens on http:\/\/127\.0\.0\.1:(\d+)/.exec(printed)?.[1]
      if (port !== undefined) resolve(`http://127.0.0.1:${port}`)
    }
    child.stdout.on('data', onOutput)
    child.stderr.on('data', onOutput)
    child.on('exit', () => reject(new Error(printed)))
  })
  const { auth_token: token } = JSON.parse(
    readFileSync(join(installed, 'data/config/config.json'), 'utf8').replaceAll(/^\s*\/\/.*$/gm, ''),
  ) as { auth_token: string }
  const models = await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${token}` } })
  expect([models.status, await models.json()]).toMatchObject([200, { object: 'list' }])
  child.kill()
})

test('`aiload/edge` is a handler that answers', () => {
  const file = join(installed, 'ask.js')
  writeFileSync(
    file,
    `import { createEdgeHandler } from 'aiload/edge'
const handler = createEdgeHandler({
  config: { auth_token: 'sk-own', models: [{ base_url: 'https://a.example/v1', model: 'm', api_key: 'k' }] },
})
const headers = { authorization: 'Bearer sk-own' }
const answer = await handler(new Request('http://edge.example/v1/models', { headers }))
process.exitCode = answer.status === 200 ? 0 : 1`,
  )
  expect(spawnSync(process.execPath, [file], { env: environment }).status).toBe(0)
})

test('`aiload/edge` needs nothing of Node, so that any bundler takes it', async () => {
  const contents = "export { createEdgeHandler } from 'aiload/edge'"
  const { metafile } = await build({
    stdin: { contents, resolveDir: installed },
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    write: false,
    metafile: true,
    logLevel: 'silent',
  })
  const imported = Object.values(metafile.inputs).flatMap(({ imports }) => imports)
  expect(imported.filter(({ external }) => external === true)).toEqual([])
})

test.each([
  ['NodeNext', 'NodeNext'],
  ['ESNext', 'Bundler'],
])('`aiload/edge` has types, for TypeScript with module %s and resolution %s', (module, moduleResolution) => {
  const options = { module, moduleResolution, target: 'ES2023', lib: ['ES2023', 'DOM'], types: [] }
  writeFileSync(
    join(installed, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: { ...options, strict: true, noEmit: true, skipLibCheck: false },
      files: ['function.ts'],
    }),
  )
  writeFileSync(
    join(installed, 'function.ts'),
    `import { createEdgeHandler, type EdgeHandlerOptions } from 'aiload/edge'
const options: EdgeHandlerOptions = { config: '{}', token: 'sk-own', env: { NAME: 'value' } }
const handle: (request: Request) => Promise<Response> = createEdgeHandler(options)
export default handle
// @ts-expect-error -- a token is text
createEdgeHandler({ config: '{}', token: 1 })`,
  )
  expect(tsc('-p', join(installed, 'tsconfig.json'))).toBe('')
})

const bundledNames = [
  '@hono/node-server',
  '@noble/hashes',
  'hono',
  'jsonc-parser',
  'preact',
  'undici',
  'uplot',
  'valibot',
  'yaml',
]

test('the entry loads nothing before it has seen which Node this is, so that an old one can say so', () => {
  const text = readFileSync(packageFile('dist/cli/main.js'), 'utf8')
  expect(text).not.toMatch(/^import|await|\?\.|\?\?|#(?!!)/m)
})

test('goes with the licences of what it holds', () => {
  const text = readFileSync(packageFile('dist/LICENSES.txt'), 'utf8')
  for (const name of bundledNames) expect(text).toMatch(new RegExp(`^${name} \\d`, 'm'))
  expect(text.match(/Permission is hereby granted/g)).toHaveLength(8)
})

test('goes with a bill of materials, since scanners cannot see into a bundle', () => {
  const { components } = JSON.parse(readFileSync(packageFile('dist/sbom.cdx.json'), 'utf8')) as {
    components: { name: string; version: string; purl: string }[]
  }
  expect(components.map(({ name }) => name)).toEqual(bundledNames)
  for (const { version, purl } of components) expect(purl.endsWith(`@${version}`)).toBe(true)
})
