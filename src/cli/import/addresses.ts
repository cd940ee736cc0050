import { presetOf, vendorAt } from '../../config/presets.ts'

/** Where a vendor is called, and the variable that its key is usually kept in. */
export interface VendorAddress {
  readonly root: string
  readonly variable: string
}

/**
 * By LiteLLM's names: the preset of a vendor, or the root of its API in OpenAI's form and the variable of its key. Those
 * without a preset are taken from LiteLLM (BerriAI/litellm, litellm/litellm_core_utils/get_llm_provider_logic.py, read in
 * November 2026).
 */
const vendors: Readonly<Record<string, string | VendorAddress>> = {
  openai: 'openai',
  'text-completion-openai': 'openai',
  groq: 'groq',
  gemini: 'gemini',
  mistral: 'mistral',
  openrouter: 'openrouter',
  together_ai: 'together',
  deepseek: 'deepseek',
  fireworks_ai: 'fireworks',
  nvidia_nim: 'nvidia',
  cerebras: 'cerebras',
  sambanova: 'sambanova',
  xai: 'xai',
  volcengine: 'volcengine',
  moonshot: 'moonshot-ai',
  dashscope: 'dashscope',
  minimax: 'minimax-io',
  zai: 'zai',
  huggingface: 'huggingface',
  cohere: 'cohere',
  cohere_chat: 'cohere',
  codestral: { root: 'https://codestral.mistral.ai/v1', variable: 'CODESTRAL_API_KEY' },
  deepinfra: { root: 'https://api.deepinfra.com/v1/openai', variable: 'DEEPINFRA_API_KEY' },
  novita: { root: 'https://api.novita.ai/v3/openai', variable: 'NOVITA_API_KEY' },
  hyperbolic: { root: 'https://api.hyperbolic.xyz/v1', variable: 'HYPERBOLIC_API_KEY' },
  nebius: { root: 'https://api.studio.nebius.ai/v1', variable: 'NEBIUS_API_KEY' },
  meta_llama: { root: 'https://api.llama.com/compat/v1', variable: 'LLAMA_API_KEY' },
  friendliai: { root: 'https://api.friendli.ai/serverless/v1', variable: 'FRIENDLI_TOKEN' },
  ai21: { root: 'https://api.ai21.com/studio/v1', variable: 'AI21_API_KEY' },
  ai21_chat: { root: 'https://api.ai21.com/studio/v1', variable: 'AI21_API_KEY' },
}

/** The address of a vendor by LiteLLM's name of it. */
export function vendorAddress(name = ''): VendorAddress | undefined {
  const known = Object.hasOwn(vendors, name) ? vendors[name] : undefined
  if (typeof known !== 'string') return known
  const { base_url: root = '', key_variables: [variable] = [] } = presetOf(known) ?? {}
  return { root, variable: variable ?? keyVariableOf(root) }
}

/** The variable for a key of whoever is at an address, such as `RELAY_API_KEY` for `https://api.relay.example/v1`. */
export function keyVariableOf(address: string): string {
  const [known] = presetOf(vendorAt(address) ?? '')?.key_variables ?? []
  if (known !== undefined) return known
  const host = /^https?:\/\/([^/:?#]+)/i.exec(address)?.[1]?.toLowerCase() ?? 'upstream'
  if (host.endsWith('.azure.com')) return 'AZURE_OPENAI_API_KEY'
  const labels = host.split('.').filter((label) => !/^(?:www|api|gateway|openai|ai)$/.test(label))
  const named = /^[\d.]+$/.test(host) || labels.length < 2 ? host : (labels.at(-2) ?? host)
  const words = named.toUpperCase().replaceAll(/[^A-Z\d]+/g, '_')
  return `${/^[A-Z]/.test(words) ? words : `HOST_${words}`}_API_KEY`
}

/** A root and what follows it, which may stand there already. */
export function rootWith(base: string, path: string): string {
  const root = base.trim().replace(/\/+$/, '')
  return root.endsWith(path) ? root : root + path
}

/**
 * A deployment of Azure OpenAI. Its older form wants the key in a header of its own, and a version.
 * https://learn.microsoft.com/azure/ai-services/openai/reference
 */
export const azureDeployment = (base: string, deployment: string, version: string): string =>
  `${rootWith(base, '')}/openai/deployments/${encodeURIComponent(deployment)}?api-version=${version}`

/** What Azure OpenAI's stable interface was called last, for files that leave it to their program. */
export const AZURE_VERSION = '2024-10-21'

/** Vendors that only their own protocol, or a signature on every request, reaches; by LiteLLM's names. */
export const unreachable: Readonly<Record<string, string>> = {
  anthropic:
    "left out, since Anthropic's own protocol is not spoken here; its OpenAI form is https://api.anthropic.com/v1",
  bedrock: 'left out, since Amazon wants a signature on every request in the place of a key',
  sagemaker: 'left out, since Amazon wants a signature on every request in the place of a key',
  vertex: 'left out, since Vertex AI wants a Google access token that changes every hour',
  retired: 'left out, since the vendor shut this service down in 2026',
  other: "left out, since it has no address in OpenAI's form that is known here",
}
