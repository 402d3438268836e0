# syntax=docker/dockerfile:1
# One image with every program of Longshore; docker-compose.yml chooses the program of each container. The programs link only
# libc: TLS is rustls, and migrations and assets are inside the binaries.

FROM rust:1.95-slim-bookworm AS chef
RUN cargo install cargo-chef --version 0.1.78 --locked && cargo install cargo-cyclonedx --version 0.5.9 --locked
WORKDIR /src

# The dependencies without the sources: this layer changes only when a manifest or the lock file does.
FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS build
COPY --from=plan /src/recipe.json recipe.json
RUN cargo chef cook --profile dist --locked --recipe-path recipe.json --package longshore --package producer --package workers
COPY . .
RUN cargo build --profile dist --locked --package longshore --package producer --package workers --bins \
    && mkdir /out \
    && find target/dist -maxdepth 1 -type f -executable -name 'longshore*' -exec cp -t /out {} + \
    && for program in longshore longshore-producer longshore-validate longshore-store longshore-integrate longshore-archive; \
       do test -x "/out/$program" || { echo "$program was not built" >&2; exit 1; }; done \
    && scripts/sbom /sbom

FROM debian:bookworm-slim
# curl is for the health checks of docker-compose.yml, the certificates for webhooks and amqps.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin longshore
COPY --from=build /out/ /usr/local/bin/
# What the programs are made of.
COPY --from=build /sbom/ /usr/share/doc/longshore/sbom/

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Longshore" \
      org.opencontainers.image.description="Event-driven workers: accepts, validates, stores and delivers events, and loses none" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

USER 10001:10001
# Docker sends SIGTERM straight to the program, which then ends in order.
STOPSIGNAL SIGTERM
CMD ["longshore", "--help"]
