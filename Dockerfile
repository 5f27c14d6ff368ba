# The image of one Confab node. Build and run:
#   docker build --tag confab .
#   docker run --read-only --tmpfs /tmp --volume confab:/data --publish 8080:8080 confab
# Base and platform are stated once; native binaries need glibc 2.38 or newer, so Debian 13 (trixie) or later.
ARG NODE_IMAGE=node:24-trixie-slim

# Builds the engine and the page with all tools there are.
FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json ./
COPY actors actors
COPY engine engine
COPY api api
COPY ops ops
COPY bench bench
RUN npm run build
# What only tests, drills and the bench run stays behind.
RUN rm -rf dist/bench dist/ops/drills dist/ops/stores dist/.tsbuildinfo \
 && find dist -type f \( -name '*.test.js' -o -name '*.conformance*.js' -o -name '*.fixture*.js' -o -name 'tidy.*.js' \
      -o -name '*.js.map' -not -path 'dist/page/*' \) -delete \
 && rm -f dist/ops/test.js dist/ops/assets.js dist/api/page/build.js

# The packages that run, with the native binaries of this platform alone.
FROM ${NODE_IMAGE} AS packages
WORKDIR /app
COPY package.json package-lock.json ./
# No package needs its install script: each brings its binary (package.json, allowScripts).
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund
# The WebSocket library ships the binaries of every platform and its sources: 257 MB for one file of 7.
RUN cd node_modules/uWebSockets.js \
 && own="uws_$(node -p 'process.platform + "_" + process.arch + "_" + process.versions.modules').node" \
 && test -f "$own" \
 && find . -type f -name 'uws_*.node' ! -name "$own" -delete \
 && rm -rf src docs examples misc mvp scripts tests Makefile build.c
RUN platform="$(node -p 'process.platform + "-" + process.arch')" \
 && find node_modules/bcrypt/prebuilds -mindepth 1 -maxdepth 1 ! -name "$platform" -exec rm -rf {} + \
 && find node_modules -type f \( -name '*.musl.node' -o -name '*.abi*.node' -o -name '*.map' -o -name '*.md' \
      -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \) -delete \
 && rm -rf node_modules/.package-lock.json node_modules/lmdb/dependencies node_modules/lmdb/src \
 && node -e 'require("uWebSockets.js"); require("lmdb"); require("bcrypt"); require("msgpackr-extract")'

FROM ${NODE_IMAGE}
# As process 1 Node could not end itself by SIGKILL, which is its last resort when an orderly end fails; tini is
# process 1 instead and hands every signal on.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log
WORKDIR /app
COPY package.json LICENSE ./
COPY --from=packages /app/node_modules node_modules
COPY --from=build /app/dist dist
RUN mkdir /data && chown 1000:1000 /data
# HOST: the container's own network is the border. UWS_HTTP_MAX_HEADERS_SIZE: tokens in handshake headers may be
# long, and the WebSocket layer reads it before any code runs.
ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    PORT=8080 \
    DATA_DIR=/data \
    UWS_HTTP_MAX_HEADERS_SIZE=16384
# By number, so that an orchestrator can see that it is not root.
USER 1000:1000
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.PORT + '/health/live', { signal: AbortSignal.timeout(4000) }).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["tini", "--"]
CMD ["node", "dist/engine/main.js"]
