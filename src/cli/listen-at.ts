import { checkAgainstSchema } from '../config/check.ts'
import type { Config } from '../config/config.ts'
import type { ListenOptions, Misuse } from './arguments.ts'

/** What the command line says instead of `server.port` and `server.host`. */
export type ListenAt = Partial<Pick<Config['server'], 'port' | 'host'>>

/** Checks `--port` and `--host` by the rules of the file. */
export function listenAt({ port, host }: ListenOptions): ListenAt | Misuse {
  const server = {
    ...(port === undefined ? {} : { port: /^\d+$/.test(port) ? Number(port) : port }),
    ...(host === undefined ? {} : { host }),
  }
  const checked = checkAgainstSchema({ server })
  const finding =
    'findings' in checked ? checked.findings.find(({ path }) => path[0] === 'server') : undefined
  if (finding !== undefined) return { misuse: `--${finding.path[1]} ${finding.message}; ${finding.hint}` }
  return server as ListenAt
}

/** The same configuration, listening where the command line says. */
export const listeningAt = (config: Config, at: ListenAt): Config => ({
  ...config,
  server: { ...config.server, ...at },
})

/** Why an address can't be had, in one line. */
export function listenFailure(
  error: unknown,
  { host, port }: Pick<Config['server'], 'port' | 'host'>,
): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
  const known = failures[code]
  return known === undefined ? `can not listen on ${host}, port ${port} (${code})` : known(host, port)
}

const failures: Readonly<Record<string, (host: string, port: number) => string>> = {
  EADDRINUSE: (_, port) =>
    `port ${port} is taken by another program; free it, or choose another with --port or server.port`,
  EACCES: (_, port) =>
    `port ${port} may not be used by this user; choose one above 1023 with --port or server.port`,
  EADDRNOTAVAIL: (host) => `this machine has no address ${host}; correct --host or server.host`,
  ENOTFOUND: (host) => `the host name ${host} is not known; correct --host or server.host`,
  EAI_AGAIN: (host) =>
    `the host name ${host} can not be looked up now; write an address in --host or server.host`,
}
