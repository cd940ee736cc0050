import { createContext } from 'preact'
import { useContext, useEffect, useState } from 'preact/hooks'
import type { Api } from './api.ts'
import type { KnownState } from './live.ts'
import type { Lang, Translate } from './words.ts'

/** What every view needs: somebody is signed in, and the gateway has told of itself. */
export interface PageContext {
  readonly api: Api
  readonly lang: Lang
  readonly t: Translate
  /** Resolved: never what the system says. */
  readonly theme: 'light' | 'dark'
  readonly live: KnownState
  /** Asks for the status now; for after a change of one's own. */
  readonly refresh: () => Promise<void>
  /** Said to those who can't see what changed, and shown for a while. */
  readonly announce: (text: string) => void
}

const Context = createContext<PageContext | undefined>(undefined)
export const ProvidePage = Context.Provider

export function usePage(): PageContext {
  const page = useContext(Context)
  if (page === undefined) throw new Error('outside of the page')
  return page
}

/** Epoch ms, anew at every interval. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now)
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs)
    return () => clearInterval(timer)
  }, [everyMs])
  return now
}

/** The parts of `#requests/ID`; the first is the view. */
export function useHash(): readonly string[] {
  const [hash, setHash] = useState(location.hash)
  useEffect(() => {
    const onHash = (): void => setHash(location.hash)
    addEventListener('hashchange', onHash)
    return () => removeEventListener('hashchange', onHash)
  }, [])
  return hash.slice(1).split('/')
}

/** An error as a sentence. */
export function errorText(error: unknown, t: Translate): string {
  const { status, message } = error as { status?: number; message?: string }
  if (!status) return t('unreachable')
  return message || t('failed', { status })
}
