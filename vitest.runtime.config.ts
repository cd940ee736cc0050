import { defineConfig } from 'vitest/config'

/** The behaviours on the real runtimes: `npm run test:runtimes`. */
export default defineConfig({
  test: {
    include: ['tests/runtime/**/*.test.ts'],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
