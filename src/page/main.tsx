/*
 * page: the page at `/`, a program of its own that runs in a browser and asks the gateway for everything. `config/page.ts`
 * builds it into one document.
 *
 * main           signing in, what stands on every view, and which view is shown
 * api            what is asked, and what is refused
 * follow         the stream of events, and what is done without it
 * live           what is known, and what an event makes of it
 * context        what every part needs
 * words          all sentences, in English and Chinese
 * format         numbers, times and spans
 * overview       whether requests can be answered, what needs somebody, the upstreams
 * upstream       one upstream: its state, its limits, what may be done with it
 * charts         the traffic of the hour and the day
 * requests       the last requests
 * explanation    what happened to one of them
 * playground     a request of one's own
 * configuration  the configuration: what is wrong with it, its upstreams, and its edits
 * entry          one of them as it is typed, and as the file has it
 * forms          where something is typed
 * tokens         who may ask, and who did
 */
import { render, type ComponentType, type VNode } from 'preact'
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { GatewayStatus } from '../telemetry/status.ts'
import { ApiError, createApi } from './api.ts'
import { errorText, ProvidePage, useHash, useNow, type PageContext } from './context.ts'
import { spanText } from './format.ts'
import { follow } from './follow.ts'
import type { LiveState } from './live.ts'
import { Overview } from './overview.tsx'
import { Playground } from './playground.tsx'
import { Requests } from './requests.tsx'
import { Configuration } from './configuration.tsx'
import { Tokens } from './tokens.tsx'
import { langOf, translator, type Lang, type Translate } from './words.ts'

/** Where the gateway is: the page's own address, behind whatever prefix, with or without its end slash. */
const ROOT = `${location.pathname.replace(/\/+$/, '')}/`

const VIEWS = {
  overview: Overview,
  requests: Requests,
  playground: Playground,
  configuration: Configuration,
  tokens: Tokens,
} as const satisfies Record<string, ComponentType>
type ViewName = keyof typeof VIEWS

const LANGS = ['en', 'zh-CN'] as const
const THEMES = ['auto', 'light', 'dark'] as const
const THEME_WORDS = { auto: 'themeAuto', light: 'themeLight', dark: 'themeDark' } as const
const darkSystem = matchMedia('(prefers-color-scheme: dark)')

/** A state that is remembered; empty = not. Storage may be forbidden: then nothing is. */
function useKept(storage: 'localStorage' | 'sessionStorage', place: string) {
  const [value, setValue] = useState(() => {
    try {
      return window[storage].getItem(place) ?? ''
    } catch {
      return ''
    }
  })
  function keep(next: string): void {
    setValue(next)
    try {
      if (next === '') window[storage].removeItem(place)
      else window[storage].setItem(place, next)
    } catch {}
  }
  return [value, keep] as const
}

function App() {
  // The token stays in the tab; only the language and the theme are remembered longer.
  const [token, setToken] = useKept('sessionStorage', 'aiload.token')
  const [keptLang, setLang] = useKept('localStorage', 'aiload.language')
  const [keptTheme, setTheme] = useKept('localStorage', 'aiload.theme')
  const [wasRefused, setWasRefused] = useState(false)
  const [isDarkSystem, setIsDarkSystem] = useState(darkSystem.matches)
  const lang: Lang = LANGS.find((one) => one === keptLang) ?? langOf(navigator.languages)
  const theme = THEMES.find((one) => one === keptTheme) ?? 'auto'
  useEffect(() => {
    const onChange = (): void => setIsDarkSystem(darkSystem.matches)
    darkSystem.addEventListener('change', onChange)
    return () => darkSystem.removeEventListener('change', onChange)
  }, [])
  const shown = theme === 'auto' ? (isDarkSystem ? 'dark' : 'light') : theme
  document.documentElement.dataset['theme'] = shown
  document.documentElement.lang = lang
  const t = useMemo(() => translator(lang), [lang])

  function signIn(next: string, refused = false): void {
    setWasRefused(refused)
    setToken(next)
  }
  const api = useMemo(
    () => createApi({ token, lang, root: ROOT, onRefused: () => signIn('', true) }),
    [token, lang],
  )
  const otherLang = lang === 'en' ? 'zh-CN' : 'en'
  const themeText = t(THEME_WORDS[theme])
  const switches = (
    <>
      <button
        type="button"
        class="plain"
        onClick={() => setLang(otherLang)}
        lang={otherLang}
        title={t('languageLabel')}
      >
        {t('language')}
      </button>
      <button
        type="button"
        class="plain icon"
        onClick={() => setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? '')}
        aria-label={themeText}
        title={themeText}
      >
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <circle cx="8" cy="8" r="6.25" class="ring" />
          {theme === 'auto' && <path d="M8 1.75a6.25 6.25 0 0 1 0 12.5z" />}
          {theme === 'dark' && <circle cx="8" cy="8" r="6.25" />}
        </svg>
      </button>
    </>
  )
  return token === '' ? (
    <SignIn t={t} lang={lang} wasRefused={wasRefused} onToken={signIn} switches={switches} />
  ) : (
    <SignedIn api={api} lang={lang} t={t} theme={shown} onLeave={() => signIn('')} switches={switches} />
  )
}

interface SignInProps {
  readonly t: Translate
  readonly lang: Lang
  readonly switches: VNode
  readonly wasRefused: boolean
  readonly onToken: (token: string) => void
}

function SignIn({ t, lang, switches, wasRefused, onToken }: SignInProps) {
  const [problem, setProblem] = useState(wasRefused ? t('tokenWrong') : '')
  const [isAsking, setIsAsking] = useState(false)
  const field = useRef<HTMLInputElement>(null)
  // Before anybody can see it: whoever types at once loses no letter.
  useLayoutEffect(() => field.current?.focus(), [])

  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault()
    const token = field.current?.value.trim() ?? ''
    if (token === '') return field.current?.focus()
    setIsAsking(true)
    setProblem('')
    try {
      await createApi({ token, lang, root: ROOT, onRefused: () => {} }).json('admin/status')
      return onToken(token)
    } catch (error) {
      const { status } = error as Partial<ApiError>
      setProblem(status === 401 ? t('tokenWrong') : status === 403 ? t('tokenNoAdmin') : errorText(error, t))
    }
    setIsAsking(false)
    field.current?.select()
  }

  return (
    <div class="sign-in">
      <header>
        <Mark />
        <span class="grow" />
        {switches}
      </header>
      <main>
        <h1>AILoad</h1>
        <form onSubmit={(event) => void submit(event)}>
          <label for="token">{t('token')}</label>
          <div class="line">
            <input
              id="token"
              name="token"
              type="password"
              autocomplete="off"
              spellcheck={false}
              aria-describedby="token-hint token-problem"
              aria-invalid={problem !== ''}
              ref={field}
            />
            <button type="submit" class="strong" disabled={isAsking}>
              {isAsking ? t('signingIn') : t('signIn')}
            </button>
          </div>
          <p id="token-problem" class="bad" role="alert">
            {problem}
          </p>
          <p id="token-hint" class="muted">
            {t('signInHint')}
          </p>
        </form>
      </main>
    </div>
  )
}

const Mark = () => (
  <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
    <circle cx="16" cy="16" r="12" />
    <path d="M16 4a12 12 0 0 1 10.4 18" />
  </svg>
)

interface SignedInProps extends Pick<PageContext, 'api' | 'lang' | 't' | 'theme'> {
  readonly switches: VNode
  readonly onLeave: () => void
}

/** How long what was announced can be read. */
const ANNOUNCED_MS = 6_000

function SignedIn({ api, lang, t, theme, switches, onLeave }: SignedInProps) {
  const [live, setLive] = useState<LiveState>({ connection: 'connecting' })
  const [refresh, setRefresh] = useState(() => async () => {})
  const [announced, setAnnounced] = useState('')
  const [name = ''] = useHash()
  const view = Object.hasOwn(VIEWS, name) ? (name as ViewName) : 'overview'
  useEffect(() => {
    const following = follow(api, setLive)
    setRefresh(() => following.refresh)
    return following.close
  }, [api])
  useEffect(() => {
    if (announced === '') return undefined
    const timer = setTimeout(() => setAnnounced(''), ANNOUNCED_MS)
    return () => clearTimeout(timer)
  }, [announced])

  const [hasTokens, setHasTokens] = useState(false)
  useEffect(() => {
    api.json<{ tokens: readonly unknown[] }>('admin/tokens').then(
      ({ tokens }) => setHasTokens(tokens.length > 0),
      () => {},
    )
  }, [api, view])

  const { status, requests, connection } = live
  const hasView: Readonly<Partial<Record<ViewName, boolean>>> = {
    requests: requests !== undefined,
    tokens: hasTokens,
  }
  const names = (Object.keys(VIEWS) as ViewName[]).filter((name) => hasView[name] !== false)
  const View = VIEWS[view]
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          // The hash is the view.
          event.preventDefault()
          document.querySelector('main')?.focus()
        }}
      >
        {t('skip')}
      </a>
      <header>
        <Mark />
        <span class="wordmark">AILoad</span>
        <nav aria-label={t('views')}>
          {names.map((name) => (
            <a key={name} href={`#${name}`} aria-current={name === view ? 'page' : undefined}>
              {t(name)}
            </a>
          ))}
        </nav>
        <span class="grow" />
        <span class="connection muted" data-state={connection}>
          <i aria-hidden="true" />
          <span>{t(connection)}</span>
        </span>
        {switches}
        <button type="button" class="plain" onClick={onLeave}>
          {t('signOut')}
        </button>
      </header>
      <main id="main" tabIndex={-1}>
        {status === undefined ? (
          <p class="muted">{connection === 'offline' ? t('unreachable') : t('loading')}</p>
        ) : (
          <ProvidePage
            value={{ api, lang, t, theme, live: { ...live, status }, refresh, announce: setAnnounced }}
          >
            <View />
          </ProvidePage>
        )}
      </main>
      <footer class="muted">{status && <Footer status={status} t={t} lang={lang} />}</footer>
      <div class="announced" role="status" aria-live="polite" data-shown={announced !== ''}>
        {announced}
      </div>
    </>
  )
}

function Footer({ status, t, lang }: { status: GatewayStatus; t: Translate; lang: Lang }) {
  const upMs = useNow(60_000) - Date.parse(status.started_at ?? '')
  return (
    <>
      AILoad {status.version}
      {upMs >= 0 && ` · ${t('up', { span: spanText(upMs, lang) })}`}
    </>
  )
}

const place = document.querySelector('#page')
if (place !== null) render(<App />, place)
