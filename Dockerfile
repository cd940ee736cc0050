# syntax=docker/dockerfile:1
FROM node:24-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY config config
RUN npm run build

FROM node:24-slim
ENV NODE_ENV=production AILOAD_DROP_ROOT=1000:1000
WORKDIR /opt/aiload
# All that it needs of others is in dist/, their licences beside it.
COPY package.json ./
COPY --from=build /build/dist dist
COPY config config
VOLUME /opt/aiload/data
EXPOSE 2081
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.AILOAD_HEALTH_PORT ?? 2081) + '/healthz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# Starts as root only to own data/, which Docker makes as root, and drops to AILOAD_DROP_ROOT before it listens.
ENTRYPOINT ["node", "dist/cli/main.js"]
CMD ["start"]
