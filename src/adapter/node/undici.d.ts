/** Undici's client and pool alone: its index loads its fetch, its web sockets and its mocks too, half the time of a start. */
declare module 'undici/lib/dispatcher/client.js' {
  import { Client } from 'undici'
  export default Client
}

declare module 'undici/lib/dispatcher/pool.js' {
  import { Pool } from 'undici'
  export default Pool
}

declare module 'undici/lib/dispatcher/pool-base.js' {
  /** Under it a pool has its clients. */
  export const kClients: unique symbol
}

declare module 'undici/lib/core/symbols.js' {
  /** `kParser`: under it a connected socket has what reads HTTP from it. */
  const symbols: { readonly kParser: unique symbol }
  export default symbols
}
