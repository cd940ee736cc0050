/** The part of workerd's own module that the Worker uses. */
declare module 'cloudflare:workers' {
  /** Keeps the context of the present request alive until the work is done. */
  export function waitUntil(work: Promise<unknown>): void
}
