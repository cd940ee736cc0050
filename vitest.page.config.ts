import { defineConfig } from 'vitest/config'

/** The page in a browser (`npm run test:page`), which the system has to bring along. */
export default defineConfig({
  test: {
    include: ['tests/page/browser/**/*.test.ts'],
    globalSetup: ['tests/support/build-once.ts'],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
