import { useEffect, useRef, useState } from 'preact/hooks'
import { createEventScanner } from '../lib/sse.ts'
import { errorOf } from './api.ts'
import { errorText, usePage } from './context.ts'
import { msText } from './format.ts'

/** What came of a request of one's own. Times are ms from sending. */
interface Result {
  readonly text: string
  readonly thoughts: string
  readonly problem: string
  readonly id?: string | null
  readonly upstream?: string | null
  readonly attempts?: string | null
  readonly status?: number
  readonly firstMs?: number
  readonly totalMs?: number
}

interface Delta {
  readonly content?: string | null
  readonly reasoning_content?: string | null
  readonly reasoning?: string | null
}

/** A chat request with the token that signed in: what answers, through whom, and how soon. */
export function Playground() {
  const { api, live, t } = usePage()
  const [model, setModel] = useState('auto')
  const [isStream, setIsStream] = useState(true)
  const [prompt, setPrompt] = useState<string>()
  const [result, setResult] = useState<Result>()
  const running = useRef<AbortController>(undefined)
  const [isRunning, setIsRunning] = useState(false)
  useEffect(() => () => running.current?.abort(), [])
  const models = ['auto', ...live.status.models.filter((name) => name !== 'auto')]

  async function send(event: SubmitEvent): Promise<void> {
    event.preventDefault()
    if (isRunning) return
    const abort = new AbortController()
    running.current = abort
    setIsRunning(true)
    const since = performance.now()
    const passed = (): number => performance.now() - since
    let now: Result = { text: '', thoughts: '', problem: '' }
    const show = (more: Partial<Result>): void => setResult((now = { ...now, ...more }))
    show({})
    const add = ({ content, reasoning_content: thought, reasoning }: Delta): void => {
      const thoughts = thought ?? reasoning ?? ''
      if ((content ?? '') === '' && thoughts === '') return
      show({
        text: now.text + (content ?? ''),
        thoughts: now.thoughts + thoughts,
        firstMs: now.firstMs ?? passed(),
      })
    }
    try {
      const messages = [{ role: 'user', content: prompt ?? t('promptDefault') }]
      const body = { model, messages, stream: isStream }
      const answer = await api.raw('v1/chat/completions', { method: 'POST', body, signal: abort.signal })
      const header = (name: string): string | null => answer.headers.get(name)
      show({
        status: answer.status,
        id: header('x-aiload-request-id') ?? header('x-request-id'),
        upstream: header('x-aiload-upstream'),
        attempts: header('x-aiload-attempts'),
      })
      if (!answer.ok) throw errorOf(answer.status, await answer.json().catch(() => undefined))
      const isEvents = header('content-type')?.includes('event-stream') === true
      await (isEvents ? readEvents(answer, add) : readWhole(answer, add))
    } catch (error) {
      show({ problem: abort.signal.aborted ? t('stopped') : errorText(error, t) })
    }
    show({ totalMs: passed() })
    setIsRunning(false)
  }

  const fact = (word: string, value: string | number | null | undefined) =>
    value == null || value === '' ? null : (
      <div>
        <dt>{word}</dt>
        <dd>{value}</dd>
      </div>
    )
  return (
    <section class="playground" aria-labelledby="playground">
      <h1 id="playground">{t('playground')}</h1>
      <form onSubmit={(event) => void send(event)}>
        <div class="filters">
          <label>
            <span>{t('model')}</span>
            <select value={model} onChange={({ currentTarget }) => setModel(currentTarget.value)}>
              {models.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
          <label class="check">
            <input
              type="checkbox"
              checked={isStream}
              onChange={({ currentTarget }) => setIsStream(currentTarget.checked)}
            />
            <span>{t('stream')}</span>
          </label>
        </div>
        <label>
          <span>{t('prompt')}</span>
          <textarea
            rows={4}
            value={prompt ?? t('promptDefault')}
            onInput={({ currentTarget }) => setPrompt(currentTarget.value)}
          />
        </label>
        <div class="line">
          <button type="submit" class="strong" aria-disabled={isRunning}>
            {t('send')}
          </button>
          <button type="button" aria-disabled={!isRunning} onClick={() => running.current?.abort()}>
            {t('stop')}
          </button>
        </div>
      </form>
      <h2>{t('answer')}</h2>
      <div class="answer" aria-live="polite" aria-busy={isRunning}>
        {result === undefined && <p class="muted">{t('answerHint')}</p>}
        {result !== undefined && result.thoughts !== '' && (
          <details>
            <summary>{t('thinking')}</summary>
            <p class="muted text">{result.thoughts}</p>
          </details>
        )}
        {result !== undefined && <p class="text">{result.text}</p>}
        {result !== undefined && result.problem !== '' && <p class="bad">{result.problem}</p>}
      </div>
      {result && (
        <dl class="facts">
          {fact(t('answeredBy'), result.upstream)}
          {fact(t('attempts'), result.attempts)}
          {fact(t('colStatus'), result.status)}
          {fact(t('firstWordTime'), result.firstMs === undefined ? undefined : msText(result.firstMs))}
          {fact(t('total'), result.totalMs === undefined ? undefined : msText(result.totalMs))}
        </dl>
      )}
      {result?.id != null && !isRunning && live.requests !== undefined && (
        <p>
          <a href={`#requests/${result.id}`}>{t('explain')}</a>
        </p>
      )}
    </section>
  )
}

async function readWhole(answer: Response, add: (delta: Delta) => void): Promise<void> {
  const { choices } = (await answer.json()) as { choices?: readonly { message?: Delta }[] }
  add(choices?.[0]?.message ?? {})
}

/** @throws ApiError for an error in the stream */
async function readEvents(answer: Response, add: (delta: Delta) => void): Promise<void> {
  const scanner = createEventScanner()
  const reader = answer.body?.getReader()
  for (let read = await reader?.read(); read?.done === false; read = await reader?.read()) {
    for (const { data } of scanner.push(read.value)) {
      if (data === '[DONE]') continue
      const event = JSON.parse(data) as { choices?: readonly { delta?: Delta }[]; error?: unknown }
      if (event.error !== undefined) throw errorOf(502, event)
      add(event.choices?.[0]?.delta ?? {})
    }
  }
}
