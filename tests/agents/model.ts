import { answer } from '../support/scripted-scenes.ts'
import type { Exchange, Scene } from '../support/scripted-upstream.ts'

/*
 * A model that always does the same turn: it asks for one call of a tool that it was offered, and says its last word
 * when it has the result. It speaks chat completions and responses, whole and as a stream, as OpenAI does.
 */

/** What the model says when the tool has run. */
export const LAST_WORD = 'The tool has run and all is done.'
/** What the shell command of an agent prints and leaves in `PROOF_FILE`. */
export const PROOF = 'proof of the agent'
export const PROOF_FILE = 'proof.txt'

/** The tools that it knows how to call: a function of ours, and Codex' shell. */
const CALLS: Readonly<Record<string, object>> = {
  get_weather: { city: 'Bern' },
  exec_command: { cmd: `echo ${PROOF} > ${PROOF_FILE} && cat ${PROOF_FILE}` },
}

/** What a request asks for. */
export interface Asked {
  readonly isChat: boolean
  readonly isStream: boolean
}

export function askedOf({ request }: Exchange): Asked {
  const { stream } = JSON.parse(Buffer.from(request.body).toString()) as { stream?: boolean }
  return { isChat: request.path.includes('chat/completions'), isStream: stream === true }
}

interface Turn {
  /** Undefined = the last word. */
  readonly call: { readonly name: string; readonly arguments: string } | undefined
}

function turnOf({ request }: Exchange): Turn {
  const text = Buffer.from(request.body).toString()
  if (text.includes('"role":"tool"') || text.includes('"function_call_output"')) return { call: undefined }
  const { tools = [] } = JSON.parse(text) as {
    tools?: readonly { name?: string; function?: { name: string } }[]
  }
  const names = tools.map((tool) => tool.function?.name ?? tool.name ?? '')
  const name = names.find((each) => each in CALLS)
  if (name === undefined) throw new Error(`none of ${names.join(', ')} is known to the scripted model`)
  return { call: { name, arguments: JSON.stringify(CALLS[name]) } }
}

/** Events of a stream: with their names on the Responses API. */
export const chatEvent = (delta: object, finish: string | null = null): string =>
  `data: ${JSON.stringify({ ...CHUNK, choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`
export const responseEvent = (type: string, fields: object): string =>
  `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`
const CHUNK = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1_700_000_000, model: 'm' }
export const DONE = 'data: [DONE]\n\n'

const RESPONSE = { id: 'resp_1', object: 'response', created_at: 1_700_000_000, model: 'm', error: null }
const USAGE = {
  input_tokens: 5,
  input_tokens_details: { cached_tokens: 0 },
  output_tokens: 3,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: 8,
}
/** A response as it stands in events and in whole answers. */
export const responseOf = (status: string, output: readonly object[] = []): object => ({
  ...RESPONSE,
  status,
  output,
  ...(status === 'completed' && { usage: USAGE }),
})

/** What stands in front of the first content of a stream. */
export const preambleOf = ({ isChat }: Asked): string =>
  isChat
    ? chatEvent({ role: 'assistant', content: '' })
    : ['created', 'in_progress']
        .map((name) => responseEvent(`response.${name}`, { response: responseOf('in_progress') }))
        .join('')

/** A whole chat answer. */
export const completionOf = (message: object, finish: string): object => ({
  ...CHUNK,
  object: 'chat.completion',
  choices: [{ index: 0, message: { role: 'assistant', ...message }, finish_reason: finish }],
  usage: { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 },
})

function toolCall({ call }: Turn): object | undefined {
  return call && { index: 0, id: 'call_1', type: 'function', function: call }
}

function itemOf({ call }: Turn): object {
  if (call !== undefined)
    return { type: 'function_call', id: 'fc_1', call_id: 'call_1', status: 'completed', ...call }
  const content = [{ type: 'output_text', text: LAST_WORD, annotations: [] }]
  return { type: 'message', id: 'msg_1', role: 'assistant', status: 'completed', content }
}

function wholeText(asked: Asked, turn: Turn): string {
  if (!asked.isChat) return JSON.stringify(responseOf('completed', [itemOf(turn)]))
  const call = toolCall(turn)
  const [message, finish] = call
    ? [{ content: null, tool_calls: [call] }, 'tool_calls']
    : [{ content: LAST_WORD }, 'stop']
  return JSON.stringify(completionOf(message, finish))
}

function streamPieces(asked: Asked, turn: Turn): string[] {
  return [preambleOf(asked), ...(asked.isChat ? chatPieces(turn) : responsePieces(turn))]
}

function chatPieces(turn: Turn): string[] {
  const { call } = turn
  if (call === undefined) {
    const words = LAST_WORD.split(/(?<= )/)
    return [...words.map((content) => chatEvent({ content })), chatEvent({}, 'stop'), DONE]
  }
  const half = Math.ceil(call.arguments.length / 2)
  const more = (text: string) => chatEvent({ tool_calls: [{ index: 0, function: { arguments: text } }] })
  return [
    chatEvent({
      tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: { ...call, arguments: '' } }],
    }),
    more(call.arguments.slice(0, half)),
    more(call.arguments.slice(half)),
    chatEvent({}, 'tool_calls'),
    DONE,
  ]
}

function responsePieces(turn: Turn): string[] {
  const { call } = turn
  const item = itemOf(turn)
  const at = { item_id: call ? 'fc_1' : 'msg_1', output_index: 0 }
  const part = { type: 'output_text', text: '', annotations: [] }
  const begun = { ...item, status: 'in_progress', ...(call ? { arguments: '' } : { content: [] }) }
  const inner: [type: string, fields: object][] = call
    ? [
        ['response.function_call_arguments.delta', { ...at, delta: call.arguments }],
        ['response.function_call_arguments.done', { ...at, arguments: call.arguments }],
      ]
    : [
        ['response.content_part.added', { ...at, content_index: 0, part }],
        ['response.output_text.delta', { ...at, content_index: 0, delta: LAST_WORD }],
        ['response.output_text.done', { ...at, content_index: 0, text: LAST_WORD }],
        ['response.content_part.done', { ...at, content_index: 0, part: { ...part, text: LAST_WORD } }],
      ]
  const all: [type: string, fields: object][] = [
    ['response.output_item.added', { output_index: 0, item: begun }],
    ...inner,
    ['response.output_item.done', { output_index: 0, item }],
    ['response.completed', { response: responseOf('completed', [item]) }],
  ]
  return all.map(([type, fields], nth) => responseEvent(type, { sequence_number: nth + 2, ...fields }))
}

export const STREAM_TYPE = { 'content-type': 'text/event-stream' }

/** An upstream with that model, in good health. */
export const healthyModel: Scene = async (exchange) => {
  const asked = askedOf(exchange)
  const turn = turnOf(exchange)
  const play = asked.isStream
    ? answer({ headers: STREAM_TYPE, framing: 'chunked', body: streamPieces(asked, turn) })
    : answer({ body: wholeText(asked, turn) })
  await play(exchange)
}

/** The same where streams are not known: JSON whatever was asked for. */
export const modelWithoutStreams: Scene = (exchange) =>
  answer({ body: wholeText(askedOf(exchange), turnOf(exchange)) })(exchange)
