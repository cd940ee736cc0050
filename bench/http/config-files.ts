/** Configurations of what the gateway is compared with, each with the one upstream and as few logs as there can be. */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Ports } from './start-proxy.ts'

/** Writes a text into a directory of its own and says where. */
export function fileOf(name: string, text: string): string {
  const file = join(mkdtempSync(join(tmpdir(), 'aiload-bench-')), name)
  writeFileSync(file, text)
  return file
}

export const nginxText = ({ port, upstream }: Ports): string => `
worker_processes 1; daemon off; pid /tmp/aiload-bench-nginx.pid; error_log /dev/null;
events { worker_connections 16384; }
http { access_log off; client_max_body_size 64m; client_body_buffer_size 8m; keepalive_requests 1000000000;
  upstream up { server 127.0.0.1:${upstream}; keepalive 512; keepalive_requests 1000000000; }
  server { listen 127.0.0.1:${port} backlog=4096;
    location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; } } }`

export const haproxyText = ({ port, upstream }: Ports): string => `
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  option http-no-delay
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend in
  bind 127.0.0.1:${port}
  default_backend up
backend up
  http-reuse always
  server up 127.0.0.1:${upstream}
`

const router = {
  name: 'envoy.filters.http.router',
  typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
}

/** The first `model` that asks for `auto` is written over: its script engine knows no cheaper way, nor a safer one. */
const envoyScript = `
function envoy_on_request(handle)
  local body = handle:body()
  local text = tostring(body:getBytes(0, body:length()))
  local from, to = string.find(text, '"model":"auto"', 1, true)
  if from then
    body:setBytes(string.sub(text, 1, from - 1) .. '"model":"m"' .. string.sub(text, to + 1))
  end
end`
const modelScript = {
  name: 'envoy.filters.http.lua',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua',
    default_source_code: { inline_string: envoyScript },
  },
}

const endpointOf = (port: number): object => ({
  socket_address: { address: '127.0.0.1', port_value: port },
})

const envoyConfig = (filters: readonly object[], { port, upstream }: Ports): string => {
  const everything = [{ match: { prefix: '/' }, route: { cluster: 'up', timeout: '0s' } }]
  const manager = {
    '@type':
      'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
    stat_prefix: 'in',
    route_config: { virtual_hosts: [{ name: 'all', domains: ['*'], routes: everything }] },
    http_filters: filters,
  }
  const chains = [
    { filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }] },
  ]
  const bufferBytes = { per_connection_buffer_limit_bytes: 64_000_000 }
  const breakers = {
    thresholds: [{ max_connections: 100_000, max_pending_requests: 100_000, max_requests: 100_000 }],
  }
  return JSON.stringify({
    static_resources: {
      listeners: [{ name: 'in', address: endpointOf(port), filter_chains: chains, ...bufferBytes }],
      clusters: [
        {
          name: 'up',
          type: 'STATIC',
          circuit_breakers: breakers,
          ...bufferBytes,
          load_assignment: {
            cluster_name: 'up',
            endpoints: [{ lb_endpoints: [{ endpoint: { address: endpointOf(upstream) } }] }],
          },
        },
      ],
    },
  })
}
export const envoyText = (ports: Ports): string => envoyConfig([router], ports)
export const envoyScriptText = (ports: Ports): string => envoyConfig([modelScript, router], ports)

export const liteText = ({ upstream }: Ports): string =>
  JSON.stringify({
    model_list: [
      {
        model_name: 'auto',
        litellm_params: { model: 'openai/m', api_base: `http://127.0.0.1:${upstream}/v1`, api_key: 'k' },
      },
    ],
    general_settings: { master_key: 'sk-bench' },
  })

export const tensorzeroText = ({ upstream }: Ports): string => `
[gateway]
observability.enabled = false
auth.enabled = false
[models.auto]
routing = ["up"]
[models.auto.providers.up]
type = "openai"
model_name = "m"
api_base = "http://127.0.0.1:${upstream}/v1"
api_key_location = "none"
`

/** Starts the gateway that is inside of TensorZero's Python package, which chooses its port by itself. */
export const tensorzeroScript = `
import sys, threading
from tensorzero import _start_http_gateway
gateway = _start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
)
with open(sys.argv[2], "w") as file:
    file.write(gateway.base_url.split(":")[2].split("/")[0])
threading.Event().wait()
`

/** Of the models that ferrogw knows by heart one, since it refuses others; `auto` becomes that. */
export const ferroText = JSON.stringify({
  strategy: { mode: 'single' },
  targets: [{ virtual_key: 'openai' }],
  aliases: { auto: 'gpt-4o-mini' },
})
