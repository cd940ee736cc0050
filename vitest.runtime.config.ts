import { defineConfig } from 'vitest/config'

/** What others bring along: the real runtimes (`npm run test:runtimes`), and agents (`npm run test:codex`), and proxies (`npm run test:proxy`). */
export default defineConfig({
  test: {
    include: ['tests/{runtime,agents,proxies}/**/*.test.ts'],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
