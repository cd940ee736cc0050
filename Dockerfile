# syntax=docker/dockerfile:1
# What is built is the same on every processor, so it is built on the builder's own.
FROM --platform=$BUILDPLATFORM node:24.19.0-bookworm-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
# Where packages come from instead of npm's own registry, for whoever has another nearer.
ARG NPM_CONFIG_REGISTRY
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY config config
# The data directory belongs to user 1000, and to group 0 for platforms that choose the user themselves (OpenShift).
# `docker exec NAME aiload token --show` finds the command on the path.
RUN npm run build && install -d -m 0775 own/data && install -d bin \
  && printf '#!/bin/sh\nexec node /opt/aiload/dist/cli/main.js "$@"\n' >bin/aiload && chmod 755 bin/aiload

FROM node:24.19.0-bookworm-slim
ENV NODE_ENV=production AILOAD_DROP_ROOT=1000:1000
WORKDIR /opt/aiload
# All that it needs of others is in dist/, their licences beside it.
COPY package.json ./
COPY --from=build /build/dist dist
COPY config/*.json config/
COPY --from=build --chown=1000:0 /build/own/ ./
COPY --from=build /build/bin/ /usr/local/bin/
VOLUME /opt/aiload/data
EXPOSE 2081
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s \
  CMD ["node", "dist/cli/main.js", "healthcheck"]
# Starts as root only to own data/, where Docker made it as root, and drops to AILOAD_DROP_ROOT before it listens.
# Started as another user (--user, runAsUser) it stays who it is, and needs nothing of root.
ENTRYPOINT ["node", "dist/cli/main.js"]
CMD ["start"]
