/**
 * Builds the page at `/`: one document with its style and its program in it, which asks for nothing but the gateway that it
 * came from. `node --import tsx config/page.ts DIRECTORY` writes it there as `page.html`.
 */
import { build } from 'esbuild'
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const sources = join(root, 'src/page')

/** The document, and the files that it was made of. */
export async function buildPage(): Promise<{ html: string; files: readonly string[] }> {
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: [join(sources, 'main.tsx'), join(sources, 'page.css')],
    outdir: 'page',
    bundle: true,
    write: false,
    metafile: true,
    format: 'esm',
    target: ['es2022', 'safari16'],
    minify: true,
    charset: 'utf8',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    legalComments: 'none',
    logLevel: 'warning',
  })
  const textOf = (end: string): string =>
    outputFiles.find(({ path }) => path.endsWith(end))?.text.trim() ?? ''
  return { html: documentOf(textOf('.js'), textOf('.css')), files: Object.keys(metafile.inputs) }
}

const hashOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

/** A ring with a third of it left: what the gateway keeps account of. */
const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" fill="none" stroke-width="6"><circle cx="16" cy="16" r="12" stroke="#8a8f98"/><path d="M16 4a12 12 0 0 1 10.4 18" stroke="#2a9d5c"/></svg>`

/** Only this program and this style may be in it, whatever else finds its way there. */
function documentOf(script: string, style: string): string {
  const policy = [
    "default-src 'none'",
    `script-src ${hashOf(script)}`,
    `style-src ${hashOf(style)}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; ')
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="content-security-policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>AILoad</title>
<link rel="icon" href="data:image/svg+xml,${encodeURIComponent(ICON)}">
<style>${style}</style>
</head>
<body>
<noscript>AILoad is running. This page needs JavaScript; <code>GET /admin/status</code> tells the same to scripts.</noscript>
<div id="page"></div>
<script type="module">${script}</script>
</body>
</html>
`
}

/** Writes the document as `page.html`. */
async function writePage(directory: string): Promise<void> {
  const { html } = await buildPage()
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, 'page.html'), html)
}

/** The same where there is none, or its sources are newer. */
export async function refreshPage(directory: string): Promise<void> {
  const changed = (file: string): number => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
  const files = [import.meta.filename, ...readdirSync(sources).map((name) => join(sources, name))]
  const newest = Math.max(...files.map(changed))
  if (newest > changed(join(directory, 'page.html'))) await writePage(directory)
}

if (process.argv[1] === import.meta.filename) await writePage(process.argv[2] ?? 'dist')
