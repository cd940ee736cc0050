import { defineConfig } from 'vitest/config'

/**
 * What others bring along: the real runtimes (`npm run test:runtimes`), agents (`npm run test:codex`), proxies (`npm run test:proxy`), Prometheus
 * and Grafana (`npm run test:metrics`), and OpenTelemetry's collector (`npm run test:traces`).
 */
export default defineConfig({
  test: {
    include: ['tests/{runtime,agents,proxies,metrics,traces}/**/*.test.ts'],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
