import type { GatewayEvent } from '../relay/event.ts'

/** How loud a line is. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export type RequestEvent = Extract<GatewayEvent, { kind: 'request' }>
export type AttemptEvent = Extract<GatewayEvent, { kind: 'attempt' }>

/** Makes one line, without its end, of an event. Called on the hot path. */
export interface LogLines {
  request(event: RequestEvent, level: LogLevel): string
  attempt(event: AttemptEvent): string
  notice(message: string, level: LogLevel): string
}
