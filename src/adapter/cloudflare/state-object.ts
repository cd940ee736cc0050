import { createStateObject, type RowKind, type Rows } from '../../state/durable-object/object.ts'
import type { StateCall } from '../../state/durable-object/protocol.ts'

/** The Durable Object: the state of all isolates, written to its SQLite storage. Nobody reaches it but the Worker. */
export class AiloadState {
  readonly #state

  constructor({ storage }: { readonly storage: { readonly sql: SqlStorage } }) {
    this.#state = createStateObject({
      rows: sqlRows(storage.sql),
      at: () => ({ now: Date.now(), wall: Date.now() }),
      random: Math.random,
      after: (ms, task) => void setTimeout(task, ms),
      life: crypto.randomUUID(),
    })
  }

  async fetch(request: Request): Promise<Response> {
    const call = (await request.json()) as StateCall
    return Response.json(this.#state.answer(call))
  }
}

/** SQLite, as workerd offers it. */
interface SqlStorage {
  exec(query: string, ...bindings: readonly string[]): Iterable<Record<string, unknown>>
}

function sqlRows(sql: SqlStorage): Rows {
  sql.exec(
    'CREATE TABLE IF NOT EXISTS kept (kind TEXT, key TEXT, text TEXT, PRIMARY KEY (kind, key)) WITHOUT ROWID',
  )
  return {
    *all() {
      for (const { kind, key, text } of sql.exec('SELECT kind, key, text FROM kept')) {
        yield { kind: kind as RowKind, key: String(key), text: String(text) }
      }
    },
    put: (kind, key, text) => void sql.exec('INSERT OR REPLACE INTO kept VALUES (?, ?, ?)', kind, key, text),
    remove: (kind, key) => void sql.exec('DELETE FROM kept WHERE kind = ? AND key = ?', kind, key),
  }
}
