import type { ConfigSearch } from '../adapter/node-config-file.ts'
import type { Located } from './arguments.ts'

/** Where to look for the configuration: `--config`, else `AILOAD_CONFIG`, else below the working directory. */
export function searchOf({ config }: Located): ConfigSearch {
  const given = config ?? process.env.AILOAD_CONFIG
  return { directory: process.cwd(), ...(given === undefined ? {} : { given }) }
}
