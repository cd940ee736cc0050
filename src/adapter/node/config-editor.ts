import { createHmac, randomBytes } from 'node:crypto'
import { accessSync, constants } from 'node:fs'
import { basename } from 'node:path'
import { editConfig, type EditProblem } from '../../config/edit.ts'
import type { LoadedConfig } from '../../config/load.ts'
import { problemLine, recordOf, type ConfigProblem } from '../../config/problem.ts'
import { shownConfig } from '../../config/shown.ts'
import { readSource, type Source } from '../../config/source.ts'
import { errorBody, GatewayError } from '../../errors.ts'
import type { ConfigEditor } from '../../http/deps.ts'
import { CHANGED, refusalOf, replaceFile } from './replace-file.ts'

/** The file that is served. */
interface EditedFile {
  readonly file: string
  readonly read: () => string | ConfigProblem
  /** Checks a text as a reload does. */
  readonly load: (source: Source) => LoadedConfig
  /** The text that is in force. */
  readonly served: () => { readonly text: string; readonly warnings: readonly ConfigProblem[] }
  /** Serves what was written. */
  readonly serve: (text: string, loaded: Extract<LoadedConfig, { ok: true }>, message: string) => void
}

/**
 * Edits a configuration file in place. Nothing else of this process comes between reading and writing, so edits are made one
 * after the other.
 */
export function createConfigEditor({ file, read, load, served, serve }: EditedFile): ConfigEditor {
  // A plain digest would let its reader try out short secrets of the file.
  const secret = randomBytes(32)
  const etagOf = (text: string): string => createHmac('sha256', secret).update(text).digest('base64url')
  const readOnly = (): string | undefined => refusalOf(() => accessSync(file, constants.W_OK))

  function show() {
    const text = read()
    const name = basename(file)
    if (typeof text !== 'string')
      return {
        etag: null,
        file: name,
        ...shownConfig({}),
        problems: [problemOf(text)],
        problem: problemLine(text),
      }
    const source = readSource(text)
    const loaded = text === served().text ? undefined : load(source)
    const refusal = readOnly()
    return {
      etag: etagOf(text),
      file: name,
      ...shownConfig(source.value),
      /** What is wrong with the file, where it was refused and an earlier one is served. */
      problems: loaded?.ok === false ? loaded.problems.map(problemOf) : [],
      problem: refusal === undefined ? null : notWritten(refusal).message,
    }
  }

  const edit: ConfigEditor['edit'] = (kind, sent, { by, say = (text) => text }) => {
    // Of thousands that are wrong in the same way each is looked up once.
    const known = new Map<string, string>()
    const inWords = (english: string): string => {
      const words = known.get(english) ?? say(english)
      known.set(english, words)
      return words
    }
    const said = (problem: EditProblem): EditProblem => ({
      ...problem,
      message: inWords(problem.message),
      hint: inWords(problem.hint),
    })
    const body = recordOf(sent)
    const { etag } = body
    if (typeof etag !== 'string') throw new GatewayError('bad_request', FORM, { param: 'etag' })
    const text = read()
    if (typeof text !== 'string') throw new GatewayError('config_not_writable', `${problemLine(text)}.`)
    if (etagOf(text) !== etag) throw new GatewayError('config_changed', READ_AGAIN)
    const told = new Set(served().warnings.map(({ message }) => message))
    const edited = editConfig({ source: readSource(text), kind, body, load, told })
    if (!edited.ok) throw invalid(edited.problems, said)
    const { text: next, loaded, warnings, what } = edited
    // A directory that may be written would let it be replaced all the same.
    const refusal = readOnly() ?? refusalOf(() => replaceFile(file, next, { before: text }))
    if (refusal === CHANGED) throw new GatewayError('config_changed', READ_AGAIN)
    if (refusal !== undefined) throw notWritten(refusal)
    serve(next, loaded, `${what} by ${by}`)
    return { etag: etagOf(next), problems: [], warnings: warnings.map(said) }
  }
  return { show, edit }
}

const FORM = 'The body is a JSON object with the "etag" that GET /admin/config tells.'
const READ_AGAIN =
  'The configuration file has changed since; read GET /admin/config again and repeat the edit.'

const problemOf = ({ path, message, hint }: ConfigProblem): EditProblem => ({
  path,
  entry_path: null,
  message,
  hint,
})

function notWritten(refusal: string): GatewayError {
  const isRight = /^(?:EACCES|EPERM|EROFS)$/.test(refusal)
  const hint = isRight ? ' Let the user that runs the gateway write it and its directory.' : ''
  const message = `The configuration file can't be written (${refusal}), so nothing was changed.${hint}`
  return new GatewayError('config_not_writable', message)
}

/** Its message is English as all of the gateway's are; `said`: the problems in the language of who asks. */
function invalid(problems: readonly EditProblem[], said: (problem: EditProblem) => EditProblem) {
  const [first = { path: '', message: 'is wrong', hint: 'see problems' }] = problems
  const { path, message: wrong, hint } = first
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : ''
  const message = `${path === '' ? '' : `${path} `}${wrong}; ${hint}${more}. Nothing was changed.`
  return new GatewayError('config_invalid', message, {
    param: path,
    body: { ...errorBody('config_invalid', message, path), problems: problems.map(said) },
  })
}
