# `docker build .` runs both stages. `make image` builds the program outside, and of this file uses the last stage alone.

# The stage has the glibc and the Rust that the program is linked with; image/static says how.
FROM docker.io/library/rust:1.95-bookworm AS build
ARG REVISION=unknown
ENV UPGRADE_GUARD_REVISION=${REVISION}
WORKDIR /src
COPY . .
RUN image/program /image

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="upgrade-guard" \
      org.opencontainers.image.description="Refuses Kubernetes upgrades that break the upgrade order or the N-1 rules of a platform" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="https://github.com/stoa-platform/upgrade-guard" \
      org.opencontainers.image.vendor="stoa-platform" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image/root/ /
USER 65532:65532
ENTRYPOINT ["/upgrade-guard"]
