import { describe, expect, test } from 'vitest'
import type { Endpoint } from '../../src/pool/upstream.ts'
import { type Judgement, judgeEvent, judgeWhole, type JudgedEvent } from '../../src/vendors/judge.ts'

const chunk = (choice: object, rest: object = {}) => ({
  id: 'c',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'm',
  choices: [{ index: 0, finish_reason: null, ...choice }],
  ...rest,
})
const chat = (message: object, finish = 'stop', rest: object = {}) => ({
  id: 'c',
  object: 'chat.completion',
  choices: [{ index: 0, message: { role: 'assistant', ...message }, finish_reason: finish }],
  usage: { total_tokens: 1 },
  ...rest,
})
const response = (status: string, output: unknown[] = [], rest: object = {}) => ({
  id: 'resp_1',
  object: 'response',
  status,
  error: null,
  output,
  ...rest,
})
const written = [{ type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'hi' }] }]

describe('a whole answer', () => {
  test.for<readonly [string, Endpoint, unknown, Judgement]>([
    ['text', 'chat', chat({ content: 'hi' }), 'content'],
    ['white space', 'chat', chat({ content: ' \n' }), 'content'],
    ['parts', 'chat', chat({ content: [{ type: 'text', text: 'hi' }] }), 'content'],
    ['a refusal', 'chat', chat({ content: null, refusal: 'no' }), 'content'],
    ['reasoning alone', 'chat', chat({ content: '', reasoning_content: 'hm' }), 'content'],
    ['reasoning in details', 'chat', chat({ content: null, reasoning_details: [{ text: 'hm' }] }), 'content'],
    ['a call of a tool', 'chat', chat({ content: null, tool_calls: [{ id: 'x', function: {} }] }), 'content'],
    [
      'a call of a function',
      'chat',
      chat({ content: null, function_call: { name: 'f', arguments: '{}' } }),
      'content',
    ],
    ['sound', 'chat', chat({ content: null, audio: { id: 'a', data: 'UklG' } }), 'content'],
    ['what comes next year', 'chat', chat({ content: null, hologram: { points: [1] } }), 'content'],
    ['an end by a filter', 'chat', chat({ content: '' }, 'content_filter'), 'content'],
    ['an end by length', 'chat', chat({ content: '' }, 'length'), 'content'],
    ['an end by Gemini’s length', 'chat', chat({ content: null }, 'MAX_TOKENS'), 'content'],
    ['an end by a filter of Zhipu’s', 'chat', chat({ content: '' }, 'sensitive'), 'content'],
    [
      'the second choice',
      'chat',
      { choices: [{ message: { content: '' } }, { message: { content: 'b' } }] },
      'content',
    ],
    ['text of completions', 'completions', { choices: [{ text: 'hi' }] }, 'content'],
    [
      'content beside an error',
      'chat',
      chat({ content: 'hi' }, 'stop', { error: { message: 'partial' } }),
      'content',
    ],
    [
      'content beside a state of MiniMax',
      'chat',
      chat({ content: 'hi' }, 'stop', { base_resp: { status_code: 1000 } }),
      'content',
    ],
    ['a Responses object on the chat path', 'chat', response('completed', written), 'content'],
    ['a chat on the Responses path', 'responses', chat({ content: 'hi' }), 'content'],
    [
      'DashScope’s own form',
      'chat',
      { output: { text: 'hi', finish_reason: 'stop' }, request_id: 'r' },
      'content',
    ],
    ['no text', 'chat', chat({ content: '' }), 'nothing'],
    [
      'null text',
      'chat',
      chat({ content: null, tool_calls: [], function_call: null, audio: null }),
      'nothing',
    ],
    ['no choices', 'chat', { choices: [] }, 'nothing'],
    ['null choices', 'chat', { id: '', choices: null }, 'nothing'],
    [
      'a chunk that only ends',
      'chat',
      chunk({ delta: {}, finish_reason: 'stop' }, { usage: { total_tokens: 3 } }),
      'nothing',
    ],
    [
      'Spark’s numbers on a chunk',
      'chat',
      { code: 0, message: 'Success', sid: 's', choices: [{ delta: { role: 'assistant', content: '' } }] },
      'nothing',
    ],
    ['a state of its own', 'chat', { code: 20_000, choices: [{ message: { content: '' } }] }, 'nothing'],
    ['success without an answer', 'chat', { code: 0, message: 'success', data: null }, 'nothing'],
    ['success in Chinese', 'chat', { code: 200, msg: '操作成功', data: null }, 'nothing'],
    ['a detail of null', 'chat', { detail: null, choices: [] }, 'nothing'],
    ['an empty object', 'chat', {}, 'nothing'],
    [
      'choices with an error in them',
      'chat',
      { choices: [{ error: { code: 502 }, message: { content: '' } }] },
      'error',
    ],
    ['an end by an error', 'chat', chat({ content: '' }, 'error'), 'error'],
    ['an end by a broken network', 'chat', chat({ content: '' }, 'network_error'), 'error'],
    [
      'a code and a sentence beside empty choices',
      'chat',
      { code: 10_013, message: '审核不通过', choices: [{ delta: { content: '' } }] },
      'error',
    ],
    ['a status as a number', 'chat', { status: 500, path: '/v1' }, 'error'],
    ['a list', 'chat', [{ index: 0 }], 'junk'],
    ['an error in a list', 'chat', [{ error: { code: 503 } }], 'error'],
    [
      'an error without a fault',
      'chat',
      chat({ content: '' }, 'stop', { error: { code: 0, message: '' } }),
      'nothing',
    ],
    ['a number', 'chat', 7, 'junk'],
    ['null', 'chat', null, 'junk'],
    ['output', 'responses', response('completed', written), 'content'],
    ['in the background', 'responses', response('queued'), 'content'],
    ['under way', 'responses', response('in_progress'), 'content'],
    [
      'incomplete without output',
      'responses',
      response('incomplete', [], { incomplete_details: { reason: 'max_output_tokens' } }),
      'content',
    ],
    ['cancelled', 'responses', response('cancelled'), 'content'],
    ['counted tokens', 'responses', { object: 'response.input_tokens', input_tokens: 7 }, 'content'],
    ['failed', 'responses', response('failed', [], { error: { code: 'server_error' } }), 'error'],
    ['failed without a word', 'responses', response('failed'), 'error'],
    [
      'failed behind some text',
      'responses',
      response('failed', written, { error: { code: 'server_error' } }),
      'content',
    ],
    [
      'failed behind an empty message',
      'responses',
      response('failed', [{ type: 'message', content: [] }]),
      'error',
    ],
    ['completed without output', 'responses', response('completed'), 'nothing'],
    ['vectors', 'embeddings', { object: 'list', data: [{ embedding: [1] }] }, 'content'],
    ['no vectors', 'embeddings', { object: 'list', data: [], usage: {} }, 'content'],
    ['vectors in a bare list', 'embeddings', [[0.1, 0.2]], 'content'],
    [
      'success and vectors',
      'embeddings',
      { code: 0, message: 'success', data: [{ embedding: [1] }] },
      'content',
    ],
    ['success and null', 'embeddings', { code: 0, message: 'success', data: null }, 'nothing'],
    [
      'an error and null',
      'embeddings',
      { code: 20_012, message: 'Model does not exist', data: null },
      'error',
    ],
    ['an error and an empty list', 'embeddings', { error: { message: 'boom' }, data: [] }, 'error'],
    ['scores', 'rerank', { results: [{ index: 0, relevance_score: 1 }] }, 'content'],
    ['no scores', 'rerank', { results: [], meta: {} }, 'content'],
    ['scores in a bare list', 'rerank', [{ index: 0, score: 0.9 }], 'content'],
    ['no scores in a bare list', 'rerank', [], 'nothing'],
    ['categories', 'moderations', { id: 'm', results: [{ flagged: true }] }, 'content'],
    ['pictures', 'images', { created: 1, data: [{ b64_json: 'aGk=' }] }, 'content'],
    ['a transcript', 'audio', { text: 'hi' }, 'content'],
    ['a silent transcript', 'audio', { text: '' }, 'content'],
    [
      'a silent transcript in detail',
      'audio',
      { task: 'transcribe', duration: 1, text: '', segments: [] },
      'content',
    ],
    ['an error of a transcript', 'audio', { error: { message: 'boom' }, text: '' }, 'error'],
  ])('with %s, on %s, is judged', ([, endpoint, value, judgement]) => {
    expect(judgeWhole(value, endpoint)).toBe(judgement)
  })
})

describe('an event of a stream', () => {
  const judge = (value: unknown, event = '', endpoint: Endpoint = 'chat'): JudgedEvent['what'] =>
    judgeEvent({ event, data: typeof value === 'string' ? value : JSON.stringify(value) }, endpoint).what

  test.for<readonly [string, unknown, string?]>([
    ['an empty event', ''],
    ['an empty object', '{}'],
    ['null', 'null'],
    ['a comment as data (Vertex)', ': keepalive'],
    ['words', 'OPENROUTER PROCESSING'],
    ['a ping', { type: 'ping' }],
    ['a ping by its name', { time: 1 }, 'ping'],
    ['a ping by its name, in words', '2026-07-07 12:00:00', 'ping'],
    ['a keep-alive of OpenAI', { type: 'keepalive', sequence_number: 3 }],
    ['a heartbeat', { event: 'heartbeat', status: 'processing' }],
    ['a word of patience', { message: 'processing' }],
    ['a flag', { keepalive: true }],
    ['usage alone', { id: 'c', choices: [], usage: { total_tokens: 3 } }],
    ['usage with null choices', { id: 'c', choices: null, usage: { total_tokens: 3 } }],
    [
      'Azure’s filter of the prompt',
      {
        choices: [],
        prompt_filter_results: [{ prompt_index: 0, content_filter_results: { hate: { filtered: false } } }],
      },
    ],
    [
      'Azure’s filter with a choice',
      {
        choices: [
          {
            index: 0,
            finish_reason: null,
            content_filter_offsets: { start_offset: 1 },
            content_filter_results: { hate: { filtered: false } },
          },
        ],
      },
    ],
    ['a role', chunk({ delta: { role: 'assistant' } })],
    ['a role and empty text', chunk({ delta: { role: 'assistant', content: '' } })],
    [
      'a role and null',
      chunk({ delta: { role: 'assistant', content: null, tool_calls: null, refusal: null } }),
    ],
    ['a role and no calls', chunk({ delta: { role: 'assistant', content: '', tool_calls: [] } })],
    ['an empty delta', chunk({ delta: {} })],
    ['a finish reason that is the word null', chunk({ delta: {}, finish_reason: 'null' })],
    [
      'an error without a fault',
      chunk({ delta: { role: 'assistant' } }, { error: { code: 0, message: '' } }),
    ],
    ['an error of null', chunk({ delta: { role: 'assistant' } }, { error: null })],
    [
      'Spark’s numbers',
      chunk({ delta: { role: 'assistant', content: '' } }, { code: 0, message: 'Success', sid: 's' }),
    ],
    [
      'MiniMax’s state',
      chunk({ delta: { role: 'assistant' } }, { base_resp: { status_code: 0, status_msg: '' } }),
    ],
    ['a number of its own', chunk({ delta: { role: 'assistant' } }, { code: 20_000 })],
    [
      'a beginning of Responses',
      { type: 'response.created', response: response('in_progress') },
      'response.created',
    ],
    ['a queue of Responses', { type: 'response.queued', response: response('queued') }],
    ['progress of Responses', { type: 'response.in_progress', response: response('in_progress') }],
  ])('that is %s is not yet content', ([, value, event]) => {
    expect(judge(value, event)).toBe('nothing')
  })

  test.for<readonly [string, unknown, string?, Endpoint?]>([
    ['text', chunk({ delta: { content: 'a' } })],
    ['a space', chunk({ delta: { content: ' ' } })],
    ['reasoning', chunk({ delta: { role: 'assistant', content: null, reasoning_content: 'a' } })],
    ['reasoning by another name', chunk({ delta: { content: '', reasoning: 'a' } })],
    ['a call', chunk({ delta: { tool_calls: [{ index: 0, id: 'x' }] } })],
    ['a refusal', chunk({ delta: { refusal: 'a' } })],
    ['text of completions', chunk({ text: 'a' })],
    ['a whole message', chunk({ message: { content: 'a' } })],
    ['an end by length', chunk({ delta: {}, finish_reason: 'length' })],
    ['an end by a filter', chunk({ delta: {}, finish_reason: 'content_filter' })],
    ['an end by a call', chunk({ delta: {}, finish_reason: 'tool_calls' })],
    ['text beside an error', chunk({ delta: { content: 'a' } }, { error: { message: 'x' } })],
    ['a text at the top', { text: 'a' }],
    ['Ollama’s own form', { model: 'm', message: { role: 'assistant', content: 'a' }, done: false }],
    ['an output item', { type: 'response.output_item.added', item: { type: 'reasoning' } }],
    ['a delta of Responses', { type: 'response.output_text.delta', delta: 'a' }],
    ['code of an interpreter', { type: 'response.code_interpreter_call_code.done', code: 'print(1)' }],
    ['Responses that end incomplete', { type: 'response.incomplete', response: response('incomplete') }],
    [
      'Responses that end with output',
      { type: 'response.completed', response: response('completed', written) },
    ],
    [
      'a delta of Responses on the completions path',
      { type: 'response.output_text.delta', delta: 'a' },
      '',
      'completions',
    ],
    ['a picture in parts', { type: 'image_generation.partial_image', b64_json: 'aGk=' }, '', 'images'],
    ['a delta of a transcript', { type: 'transcript.text.delta', delta: '' }, '', 'audio'],
    ['anything where no words are spoken', { progress: 0 }, '', 'images'],
  ])('that is %s is content', ([, value, event, endpoint]) => {
    expect(judge(value, event, endpoint)).toBe('content')
  })

  test.for<readonly [string, unknown, string?, Endpoint?]>([
    ['an object', { error: { message: 'boom' } }],
    ['a word', { error: 'boom' }],
    ['a flag', { error: true, message: 'boom' }],
    ['a list', { errors: [{ message: 'boom' }] }],
    ['flat', { code: 429, msg: 'overloaded' }],
    ['flat with a word for a code', { code: 'InvalidApiKey', message: 'no' }],
    ['Baidu’s', { error_code: 18, error_msg: 'Open api qps request limit reached' }],
    ['MiniMax’s', { id: '1', choices: null, base_resp: { status_code: 1002, status_msg: 'rate limit' } }],
    ['Spark’s', { header: { code: 10_907, message: 'too long' } }],
    ['Tencent’s', { Response: { Error: { Code: 'LimitExceeded', Message: 'x' } } }],
    ['FastAPI’s', { detail: 'Not Found' }],
    ['FastAPI’s list', { detail: [{ msg: 'Field required' }] }],
    ['a title', { title: 'Too Many Requests' }],
    ['vLLM’s', { object: 'error', message: 'boom' }],
    ['no success', { success: false }],
    ['a status', { status: 'failed' }],
    ['Anthropic’s', { type: 'error', error: { type: 'overloaded_error' } }],
    ['beside choices of null', { id: '', choices: null, error: { message: 'overloaded' } }],
    ['beside an empty delta', chunk({ delta: { content: '' }, finish_reason: 'error' })],
    ['in a choice', chunk({ delta: {}, error: { code: 502, message: 'x' } })],
    ['named by the event', 'boom', 'error'],
    ['of Responses', { type: 'response.failed', response: response('failed') }],
    [
      'in the beginning of Responses',
      { type: 'response.created', response: response('failed', [], { error: { code: 'x' } }) },
    ],
    ['in a list of its own', [{ error: { code: 503 } }]],
    ['where no words are spoken', { error: { message: 'boom' } }, '', 'images'],
  ])('that is an error as %s is one', ([, value, event, endpoint]) => {
    expect(judge(value, event, endpoint)).toBe('error')
  })

  test.for<readonly [string, unknown]>([
    ['[DONE]', '[DONE]'],
    ['[DONE] in space', ' [DONE] '],
    ['Responses without output', { type: 'response.completed', response: response('completed') }],
  ])('that is %s is the last word', ([, value]) => {
    expect(judge(value)).toBe('done')
  })

  test.for<readonly [string, unknown]>([
    ['a reason to stop', chunk({ delta: {}, finish_reason: 'stop' })],
    [
      'a reason to stop beside usage',
      chunk({ delta: {}, finish_reason: 'stop' }, { usage: { total_tokens: 3 } }),
    ],
    ['a reason that nobody knows', chunk({ delta: { content: '' }, finish_reason: 'unknown' })],
  ])('that is %s ends a stream', ([, value]) => {
    expect(judge(value)).toBe('end')
  })

  test('is handed on as it was parsed, and as text where it is none', () => {
    expect(judgeEvent({ event: '', data: '{"error":"x"}' }, 'chat').data).toEqual({ error: 'x' })
    expect(judgeEvent({ event: 'error', data: 'upstream died' }, 'chat').data).toBe('upstream died')
  })

  test('of any depth is judged', () => {
    const deep = `{"error":${'['.repeat(5_000)}${']'.repeat(5_000)}}`
    expect(judgeEvent({ event: '', data: deep }, 'chat').what).toBe('error')
  })
})
