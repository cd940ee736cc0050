import { presetOf, vendorAt } from '../../config/presets.ts'

/** Where a vendor is called, and the variable that its key is usually kept in. */
export interface VendorAddress {
  readonly root: string
  readonly variable: string
}

/** That of a vendor by its id, where it is the same for all its clients and wants a key. */
export function presetAddress(id: string): VendorAddress | undefined {
  const { base_url: root = '${}', key_variables: [variable] = [], key_optional: isOpen } = presetOf(id) ?? {}
  if (root.includes('${') || isOpen) return undefined
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

/** The header in which Azure OpenAI wants the key of a deployment. */
export const AZURE_KEY_HEADER = 'api-key'

/**
 * A deployment of Azure OpenAI, whose older form wants a version too.
 * https://learn.microsoft.com/azure/ai-services/openai/reference
 */
export const azureDeployment = (base: string, deployment: string, version = AZURE_VERSION): string =>
  `${rootWith(base, '')}/openai/deployments/${encodeURIComponent(deployment)}?api-version=${version}`

/** What Azure OpenAI's stable interface was called last, for files that leave it to their program. */
const AZURE_VERSION = '2024-10-21'

/** Why vendors are left out that only their own protocol, or a signature on every request, reaches. */
export const unreachable = {
  anthropic: "Anthropic's own protocol is not spoken here; its OpenAI form is https://api.anthropic.com/v1",
  amazon: 'Amazon wants a signature on every request in the place of a key',
  vertex: 'Vertex AI wants a Google access token that changes every hour',
  retired: 'the vendor shut this service down in 2026',
  other: "it has no address in OpenAI's form that is known here",
} as const
