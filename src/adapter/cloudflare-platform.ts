/** What a Worker is bound to, by the names in wrangler.toml. All of it may be missing. */
export interface WorkerEnv {
  /** The configuration as JSON, a secret or a variable. */
  readonly AILOAD_CONFIG?: string
  /** The client token, a secret. */
  readonly AUTH_TOKEN?: string
  /** Where state is kept for all isolates; without it each has its own. */
  readonly AILOAD_STATE?: ObjectNamespace
}

/** Durable Objects of one class. */
export interface ObjectNamespace {
  idFromName(name: string): unknown
  get(id: unknown): { fetch(url: string, init: { method: string; body: string }): Promise<Response> }
}

/** What a Durable Object is given of itself; SQLite is its storage. */
export interface ObjectContext {
  readonly storage: { readonly sql: SqlStorage }
}

/** SQLite, as workerd offers it. */
export interface SqlStorage {
  exec(query: string, ...bindings: readonly string[]): Iterable<Record<string, unknown>>
}
