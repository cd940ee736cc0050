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

declare module 'undici/lib/core/socks5-client.js' {
  import type { EventEmitter } from 'node:events'
  import type { Socket } from 'node:net'
  /** RFC 1928 and 1929 over a connected socket. Once there, it says `authenticated`, then `connected`. */
  export class Socks5Client extends EventEmitter {
    constructor(socket: Socket, login?: { readonly username: string; readonly password: string })
    readonly onSocketError: (error: Error) => void
    readonly onSocketClose: () => void
    handshake(): void
    connect(host: string, port: number): void
  }
}
