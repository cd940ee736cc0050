const limits = (at: string): Record<string, string> => ({
  [`${at}.rpm`]: 'Requests in any 60 seconds.',
  [`${at}.rpd`]: 'Requests a day.',
  [`${at}.tpm`]: 'Tokens in any 60 seconds.',
  [`${at}.tpd`]: 'Tokens a day.',
  [`${at}.concurrency`]: 'Requests under way at once.',
  [`${at}.windows`]:
    'Limits over other spans of time, each of requests or of tokens. They count beside rpm, rpd, tpm and tpd.',
  [`${at}.windows[].requests`]: 'Requests in that time.',
  [`${at}.windows[].tokens`]: 'Tokens in that time.',
  [`${at}.windows[].per`]: 'A time from "1s" to "31d" such as "5h", or "week" or "month".',
  [`${at}.windows[].resets`]:
    '"rolling": in any span of that length. "UTC" or an IANA time zone: whenever its calendar begins a new one. Default: "UTC" for a week or a month, else "rolling".',
  [`${at}.day_resets`]: 'When a day ends: "UTC", an IANA time zone (at midnight there) or "rolling".',
})

/**
 * What each key of the configuration means, for editors; `[]` stands for each item or name. Defaults that the schema has
 * are not repeated here: `npm run schema` puts them behind the meaning.
 */
export const keyMeanings: Readonly<Record<string, string>> = {
  $schema: 'For editors.',
  auth_token:
    'The token that clients send, or a list: all of them are accepted, the first is shown. Empty: one is made at start and written here.',
  tokens:
    "Tokens of single clients, beside auth_token, which then is the admin's. A change counts within a second; what is under way ends as usual.",
  'tokens[].name':
    'Shown in the log, in metrics and by "aiload token list"; limits, use and ids of answers are kept by it.',
  'tokens[].token':
    'The token, of 32 characters or more, or "sha256:" and the 64 hex digits of its SHA-256, as "aiload token add NAME" writes it.',
  'tokens[].models':
    'Names of models, groups and upstreams that it may use; "auto", lists and groups have these alone. Default: all.',
  'tokens[].limits':
    'Limits of this token, refused with 429. day_resets is also the calendar of its use by day, week and month. Default: none.',
  ...limits('tokens[].limits'),
  'tokens[].allow_ips':
    'Addresses, ranges or "private" that may use it, by the other end of the connection; what a proxy says counts where server.trusted_proxies is written in the file. Default: all.',
  'tokens[].expires':
    'When it ends: a day such as "2027-01-31" (to its end in UTC), or a moment such as "2027-01-31T18:00:00Z". Default: never.',
  'tokens[].admin': 'May see and do what operators do: /admin and /metrics.',
  'tokens[].passthrough':
    'May use paths that are passed on to one account, with all that is there of others.',
  models: 'The upstreams; at least one.',
  'models[].vendor':
    'A vendor that is known here, such as "groq": gives address, models, limits and abilities, as far as the entry does not say them itself.',
  'models[].models':
    'In the place of model: "*" or names with * and ?, "!" before those to leave out. What the upstream lists of them is served; it is asked at start and daily.',
  'models[].base_url': 'Root of the API (https://host/v1) or its …/chat/completions address.',
  'models[].model': 'Name sent to the upstream.',
  'models[].api_key':
    'The key, or a list of keys: one upstream for each. Empty or absent: no Authorization is sent.',
  'models[].name': 'Shown in logs, metrics and headers. Default: model@host.',
  'models[].endpoints': 'What this upstream serves. Default: all.',
  'models[].groups': 'Further names under which clients ask for it.',
  'models[].weight': 'Share of the traffic.',
  'models[].priority':
    'Lower numbers first; the next tier is used only when none above may take the request.',
  'models[].limits': 'Limits of this upstream. Default: none.',
  ...limits('models[].limits'),
  'models[].quota': 'Shared limits that it draws on, defined in quotas.',
  'models[].headers': 'Extra request headers.',
  'models[].timeout': 'Seconds; overrides settings.timeout.',
  'models[].context':
    'Tokens of input and output together that the model takes. Longer requests go to others first. Default: learned.',
  'models[].can':
    'What the model can do: tools, images, audio, json_schema, stream, stream_usage (stream_options). Requests that need what is false go to others first. Default: learned.',
  'models[].can.tools': 'Takes tools and calls functions.',
  'models[].can.images': 'Takes images.',
  'models[].can.audio': 'Takes audio.',
  'models[].can.json_schema': 'Takes a response_format with a JSON Schema.',
  'models[].can.stream': 'Streams.',
  'models[].can.stream_usage': 'Takes stream_options.',
  'models[].params':
    'What changes in the top-level fields of the JSON bodies that it gets. What it does not get, it does not have to be able to do.',
  'models[].params.set': 'Fields that get these values, whatever the client sent.',
  'models[].params.default': 'Fields that get these values where the client sent none.',
  'models[].params.drop': 'Fields that are taken out.',
  'models[].params.rename':
    'Fields that get another name; where the client sent the other name too, that one stays and this one goes.',
  'models[].proxy':
    'Proxy for this upstream: http://, https://, socks5:// (names resolved here) or socks5h:// (by the proxy), with user:password@ before the host where it wants one, or "direct" for none. Default: settings.proxy, else HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY of the environment.',
  'models[].tls': 'How the certificate of this upstream is checked.',
  'models[].tls.ca':
    'Authorities (PEM) that are trusted besides those of the runtime: the path of a file, seen from this file, or the text itself. Read at start and at reload.',
  'models[].tls.insecure': 'true: its certificate is not checked at all.',
  'models[].enabled': 'false: takes no requests.',
  quotas: 'Limits that several upstreams share, by name.',
  ...limits('quotas[]'),
  server: 'Where and how the gateway listens.',
  'server.port': 'Port to listen on; 0 = any free one.',
  'server.host': 'Address to listen on.',
  'server.mode': 'Log level: release (also test) or debug; LOG_LEVEL goes before it. Default: "release".',
  'server.model': 'The older name of mode.',
  'server.trusted_proxies':
    'Peers whose X-Forwarded-For or X-Real-IP is believed; [] = nobody. Default: ["private"].',
  'server.max_body': 'Bytes; larger requests get 413.',
  'server.max_buffered': 'Bytes of all buffered bodies together; above it 503.',
  'server.max_connections':
    'Clients that are connected at once; above it 503, then no connection. Node only. By default half of what the descriptor limit leaves, the other half being for upstreams.',
  'server.cors': 'Origins whose pages may call the gateway.',
  'server.metrics_public': '/metrics without the token.',
  'server.log_client': "Log lines have the client's address.",
  'server.admin':
    'What may be done below /admin/: "read" shows everything and lets upstreams rest or go on, "write" edits this file too, "off" answers 404 there.',
  settings: 'How it chooses, waits and gives up.',
  'server.log_file': 'A file that gets the log too, a JSON object a line. Default: none.',
  'server.log_file.path': 'The file, seen from the one of the configuration.',
  'server.log_file.bytes': 'A file that is as large as this is put aside.',
  'server.log_file.files': 'Files put aside that are kept; the oldest is removed.',
  'settings.timeout': 'Seconds; longest silence accepted from an upstream.',
  'settings.connect_timeout': 'Seconds to connect.',
  'settings.proxy':
    'Proxy for all upstreams without one of their own, or "direct"; then the environment is not looked at. Default: as the environment says.',
  'settings.strategy': 'How an upstream is chosen.',
  'settings.affinity': 'What makes requests stick to one upstream. Default: "ip".',
  'settings.ip_hash': 'true = affinity "ip", false = affinity "off".',
  'settings.affinity_ttl': 'Seconds since the last request for which affinity holds.',
  'settings.queue_timeout': 'Seconds that a request may wait for an upstream; 0 = never.',
  'settings.queue_size': 'Requests that may wait at once.',
  'settings.heartbeat':
    'Seconds after which a client that waits for a stream gets a comment, again and again until the answer; 0 = none.',
  'settings.passthrough': 'Upstream that other /v1/* paths go to. Default: none.',
  'settings.passthrough_paths':
    'Paths that go there or to the only upstream, with all below them; "all": clients reach every path of its account.',
  'settings.unknown_model': 'What any other model name means.',
  'settings.state': 'Where cooldowns, quotas and affinity are kept.',
  'settings.max_attempts': 'Cap on attempts for a request. Default: none.',
  'settings.events':
    'What is kept of requests (no prompt, no answer, no key) in events.log beside the state, so that each choice can be explained.',
  'settings.events.bytes': 'Bytes of both files of it; 0 keeps the last requests in memory alone.',
  'settings.events.days': 'Days after which it is dropped.',
  'settings.drain_timeout': 'Seconds that open streams may take to finish at shutdown.',
  'settings.traces':
    'Where spans of requests and attempts go by OTLP over HTTP; no prompt and no answer is in them. Default: what OTEL_EXPORTER_OTLP_ENDPOINT says.',
  'settings.traces.endpoint': 'Address of the collector; /v1/traces is added where it is not there.',
  'settings.traces.headers': 'Headers for the collector, such as a key.',
  'settings.traces.sample': 'Share of the requests that are traced, of those that bring no decision along.',
  'settings.traces.service_name': 'What the gateway is called in traces.',
}
