/** Where an upstream is called. */
export interface BaseUrl {
  /** Scheme, host, port and path without `/chat/completions` and without a trailing slash. */
  readonly root: string
  /** Without `?`; absent where the URL has none. */
  readonly query?: string
}

/** Why a URL can't be used, in words that do not repeat it: it may hold credentials. */
export interface Refusal {
  readonly message: string
  readonly hint: string
}

const example = 'write the root such as https://api.openai.com/v1, or the full address …/v1/chat/completions'

/**
 * Reads `models[].base_url` in either form that people write: the root of the API or the full address of
 * its chat endpoint, with or without trailing slashes. A query is kept, a fragment dropped.
 */
export function parseBaseUrl(text: string): BaseUrl | Refusal {
  const trimmed = text.trim()
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(trimmed)?.[1]?.toLowerCase()
  if (trimmed === '') return { message: 'is empty', hint: example }
  if (scheme === undefined) return { message: 'is not a URL with http:// or https://', hint: example }
  if (scheme !== 'http' && scheme !== 'https')
    return { message: 'has a scheme that is neither http nor https', hint: example }
  const url = parsed(trimmed)
  if (url === undefined) return { message: 'is not a URL', hint: example }
  if (url.username !== '' || url.password !== '')
    return {
      message: 'has credentials in it',
      hint: 'put the key into api_key, other credentials into headers',
    }
  if (refusedPorts.has(url.port))
    return { message: 'has a port that fetch refuses to call', hint: 'let the server listen on another port' }
  const path = url.pathname
    .replace(/\/+$/, '')
    .replace(/\/chat\/completions$/i, '')
    .replace(/\/+$/, '')
  const query = url.search.slice(1)
  return { root: `${url.origin}${path}`, ...(query === '' ? {} : { query }) }
}

/** True for what can't be used. */
export const isRefusal = (url: BaseUrl | Refusal): url is Refusal => 'message' in url

// White space and control characters would be cut out or escaped silently by the URL parser.
const parsed = (text: string): URL | undefined =>
  // oxlint-disable-next-line no-control-regex
  /[\s\u0000-\u001f\\]/.test(text) ? undefined : parseUrl(text)

/** Undefined for what is no URL. `URL.canParse` can't be asked: once Node 20 has optimised it, it denies non-ASCII hosts. */
export function parseUrl(text: string): URL | undefined {
  try {
    return new URL(text)
  } catch {
    return undefined
  }
}

/** WHATWG Fetch, "bad port" (2.9 Port blocking). The default ports are an empty string here. */
const refusedPorts: ReadonlySet<string> = new Set(
  (
    '0 1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 ' +
    '123 135 137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 ' +
    '990 993 995 1719 1720 1723 2049 3659 4045 4190 5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080'
  ).split(' '),
)
