import { AZURE, channelImporter, refused, type ChannelType } from './channels.ts'
import type { Importer } from './draft.ts'

const V1 = '/v1'

/**
 * QuantumNous/new-api (once Calcium-Ion/new-api): constant/channel.go, and the paths of relay/channel, read in November
 * 2026. From 25 on its numbers mean others than those of one-api.
 */
const types: Readonly<Record<number, ChannelType>> = {
  1: ['https://api.openai.com', V1],
  2: refused('other'),
  3: AZURE,
  4: ['http://localhost:11434', V1],
  5: refused('other'),
  6: ['https://api.openaimax.com', V1],
  7: ['https://api.ohmygpt.com', V1],
  // The full address, in which `{model}` stands for the model.
  8: ['', ''],
  9: ['https://api.caipacity.com', V1],
  10: ['https://api.aiproxy.io', V1],
  11: refused('other'),
  12: ['https://api.api2gpt.com', V1],
  13: ['https://api.aigc2d.com', V1],
  14: refused('anthropic'),
  15: refused('other'),
  16: ['https://open.bigmodel.cn', '/api/paas/v4'],
  17: ['https://dashscope.aliyuncs.com', '/compatible-mode/v1'],
  18: refused('other'),
  19: ['https://api.360.cn', V1],
  20: ['https://openrouter.ai/api', V1],
  21: refused('other'),
  22: ['https://fastgpt.run/api/openapi', V1],
  23: refused('other'),
  24: ['https://generativelanguage.googleapis.com', '/v1beta/openai'],
  25: ['https://api.moonshot.cn', V1],
  26: ['https://open.bigmodel.cn', '/api/paas/v4'],
  27: refused('retired'),
  31: ['https://api.lingyiwanwu.com', V1],
  33: refused('bedrock'),
  34: ['https://api.cohere.ai', '/compatibility/v1'],
  35: ['https://api.minimaxi.com', V1],
  36: refused('other'),
  37: refused('other'),
  38: ['https://api.jina.ai', V1],
  39: ['https://api.cloudflare.com', '/client/v4/accounts/{account}/ai/v1'],
  40: ['https://api.siliconflow.cn', V1],
  41: refused('vertex'),
  42: ['https://api.mistral.ai', V1],
  43: ['https://api.deepseek.com', V1],
  44: ['https://api.moka.ai', V1],
  45: ['https://ark.cn-beijing.volces.com', '/api/v3'],
  46: ['https://qianfan.baidubce.com', '/v2'],
  47: ['', V1],
  48: ['https://api.x.ai', V1],
  49: refused('other'),
  50: refused('other'),
  51: refused('other'),
  52: refused('other'),
  53: ['https://llm.submodel.ai', V1],
  54: refused('other'),
  55: refused('other'),
  56: refused('other'),
  57: refused('other'),
}

/** Subscriptions that new-api takes in the place of an address (`ChannelSpecialBases` of the same file). */
const plans = {
  'glm-coding-plan': 'https://open.bigmodel.cn/api/coding/paas/v4',
  'glm-coding-plan-international': 'https://api.z.ai/api/coding/paas/v4',
  'kimi-coding-plan': 'https://api.kimi.com/coding/v1',
  'doubao-coding-plan': 'https://ark.cn-beijing.volces.com/api/coding/v3',
}

/** Channels of new-api. The version of Azure is its own default (AZURE_DEFAULT_API_VERSION). */
export const newApi: Importer = channelImporter({
  types,
  plans,
  azureVersion: '2025-04-01-preview',
  // 10 May 2025 (`AzureNoRemoveDotTime`).
  dotsSince: 1_746_835_200,
  hasWeights: true,
})
