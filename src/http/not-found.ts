import { GatewayError } from '../errors.ts'
import { OWN_PATHS } from './endpoint.ts'

/** 404 for a path that nobody has. A wrong base URL is the common cause, so a path with a known end gets a hint. */
export function notFound(path: string): GatewayError {
  return new GatewayError('not_found', `There is nothing at this path.${hintFor(path)}`)
}

/** ` Did you mean …?` with a space in front; empty where nothing is near. */
export function hintFor(path: string): string {
  const bare = path.replace(/\/+$/, '')
  if (bare === '/v1') return ' The API is below it: POST /v1/chat/completions, for one.'
  const meant = OWN_PATHS.find((known) => bare.endsWith(known.slice('/v1'.length)))
  return meant === undefined || meant === bare ? '' : ` Did you mean ${meant}?`
}
