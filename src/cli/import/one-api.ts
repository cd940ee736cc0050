import { AZURE_VERSION } from './addresses.ts'
import { AZURE, channelImporter, refused, type ChannelType } from './channels.ts'
import type { Importer } from './draft.ts'

const V1 = '/v1'

/**
 * songquanpeng/one-api: relay/channeltype/define.go and url.go, and the paths of relay/adaptor, read at 8df4a26. Types that
 * it translates are called by the OpenAI form that the vendor has by now.
 */
const types: Readonly<Record<number, ChannelType>> = {
  1: ['https://api.openai.com', V1],
  2: ['https://oa.api2d.net', V1],
  3: AZURE,
  4: ['https://api.closeai-proxy.xyz', V1],
  5: ['https://api.openai-sb.com', V1],
  6: ['https://api.openaimax.com', V1],
  7: ['https://api.ohmygpt.com', V1],
  8: ['', V1],
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
  19: ['https://ai.360.cn', V1],
  20: ['https://openrouter.ai/api', V1],
  21: refused('other'),
  22: ['https://fastgpt.run/api/openapi', V1],
  23: refused('other'),
  24: ['https://generativelanguage.googleapis.com', '/v1beta/openai'],
  25: ['https://api.moonshot.cn', V1],
  26: ['https://api.baichuan-ai.com', V1],
  27: ['https://api.minimaxi.com', V1],
  28: ['https://api.mistral.ai', V1],
  29: ['https://api.groq.com/openai', V1],
  30: ['http://localhost:11434', V1],
  31: ['https://api.lingyiwanwu.com', V1],
  32: ['https://api.stepfun.com', V1],
  33: refused('bedrock'),
  34: refused('other'),
  35: ['https://api.cohere.ai', '/compatibility/v1'],
  36: ['https://api.deepseek.com', V1],
  37: ['https://api.cloudflare.com', '/client/v4/accounts/{account}/ai/v1'],
  38: refused('other'),
  39: ['https://api.together.ai', V1],
  40: ['https://ark.cn-beijing.volces.com', '/api/v3'],
  41: ['https://api.novita.ai/v3/openai', ''],
  42: refused('vertex'),
  43: refused('other'),
  44: ['https://api.siliconflow.cn', V1],
  45: ['https://api.x.ai', V1],
  46: refused('other'),
  47: ['https://qianfan.baidubce.com', '/v2'],
  48: ['https://spark-api-open.xf-yun.com', V1],
  49: ['https://dashscope.aliyuncs.com', '/compatible-mode/v1'],
  50: ['', ''],
  51: ['https://generativelanguage.googleapis.com/v1beta/openai', ''],
}

/** Channels of one-api. It draws among the channels of a priority without their weights (model/cache.go). */
export const oneApi: Importer = channelImporter({
  types,
  plans: {},
  azureVersion: AZURE_VERSION,
  dotsSince: Infinity,
  hasWeights: false,
})
