import { dirname, join, resolve } from 'node:path'

/**
 * Where state is kept across restarts: `data/state.json` when the configuration is in its usual place below
 * `directory`, else beside the file that was named.
 */
export function stateFileOf(configFile: string, directory: string): string {
  const file = resolve(directory, configFile)
  const data = resolve(directory, 'data')
  const isUsual = file === join(data, 'config', 'config.json') || file === join(data, 'config.json')
  return join(isUsual ? data : dirname(file), 'state.json')
}
