# One image with the four programs of this repository, without a shell.
#
#   docker build -t websocket-service:0.1.0 .
#
# The server is the entry point, and its commands follow as arguments:
#   docker run -p 8004:8004 websocket-service:0.1.0
#   docker run websocket-service:0.1.0 config --check
# The others are started by their path:
#   docker run --no-healthcheck --entrypoint /usr/local/bin/websocket-bench websocket-service:0.1.0 --help
#
# Settings come from the environment (docs/settings.md); secrets best from mounted files, by the variables that end in
# _FILE. The default of ENVIRONMENT is `development`, which makes a key up: set it to `production` for anything that lasts.
#
# Nothing is written to the file system, so it may be read-only; no capability is needed; the user is 65532:65532. Each
# connection is an open file: the container's hard limit (docker run --ulimit nofile=65536) must be above MAX_CONNECTIONS.
# On SIGTERM the server takes up to the sum of the three DRAIN_…_SECONDS to leave, 80 s by default: give it a longer stop
# timeout than that (docker run --stop-timeout 90).

# Both may be replaced, by digests or by a mirror's copies. They must be of the same release of Debian, or the runtime of
# a later one: what is built needs the builder's glibc. The slim image of Rust has no make, which the allocator is built with.
ARG RUST_IMAGE=rust:1.95-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST_IMAGE} AS build
# How much the linker optimises: `fat` for what is shipped, `off` or `thin` to be done sooner.
ARG LTO=fat
ENV CARGO_PROFILE_RELEASE_LTO=${LTO}
WORKDIR /build
# rust-toolchain.toml stays outside: the compiler is the image's, and rustup has nothing to download.
COPY Cargo.toml Cargo.lock ./
# The dependencies are a layer of their own, which lasts until one of these two files changes. The sources that stand in
# for the real ones are only there to have something to build.
RUN mkdir -p src/bin && touch src/lib.rs && \
    for program in websocket-service connection-gauge metrics-adapter websocket-bench; do \
        echo 'fn main() {}' >"src/bin/$program.rs"; \
    done && \
    cargo build --release --locked --bins && \
    rm -r src
COPY src src
# What was copied may be older than what was just built, and Cargo goes by the time.
RUN find src -type f -exec touch {} + && cargo build --release --locked --bins

FROM ${RUNTIME_IMAGE}
COPY LICENSE /usr/share/doc/websocket-service/LICENSE
COPY --from=build \
    /build/target/release/websocket-service \
    /build/target/release/connection-gauge \
    /build/target/release/metrics-adapter \
    /build/target/release/websocket-bench \
    /usr/local/bin/
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
# Clients; and probes, metrics, status and drain, which are for the cluster only.
EXPOSE 8004 9004
# Asks the admin port of the settings in the environment; flags given to the server are not seen. Kubernetes has probes of
# its own and takes no notice.
HEALTHCHECK --interval=10s --timeout=6s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/websocket-service", "health"]
ENTRYPOINT ["/usr/local/bin/websocket-service"]

# Last, for they change with every commit.
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="websocket-service" \
      org.opencontainers.image.description="WebSocket notifications for Kubernetes: clients connect with a JWT, back ends publish to Redis" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
