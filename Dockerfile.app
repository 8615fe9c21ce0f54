# The app, with `sidecar exec` as its first process: the container stays up, and
# the replica in ingress, while a crashed app is started again.
#
#   docker build -f Dockerfile.app --build-arg VERSION=$(git rev-parse --short HEAD) .
#
# Hooks that run commands need these in the image: build with a BASE_IMAGE that
# has them, or start a Dockerfile of your own FROM this image.
#
# It needs no BuildKit: `az acr build` has none, and its scanner reads no flag in
# a FROM line (Azure/acr-builder scan/dependencies.go, Azure/acr issue 697). The
# base images are pinned and come from registries without Docker Hub's limit on
# anonymous pulls; give others with --build-arg. A build gives the same binaries
# for the same source, since neither time nor path gets into it.
ARG GO_IMAGE=public.ecr.aws/docker/library/golang:1.26.8-bookworm@sha256:a688600ca24f8a4d3ca77f95b0dd40704a9fc787c826660eb7ba0b641b8b175d
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot@sha256:d093aa3e30dbadd3efe1310db061a14da60299baff8450a17fe0ccc514a16639

FROM ${GO_IMAGE} AS build
WORKDIR /src
ENV GOTOOLCHAIN=local CGO_ENABLED=0
# Modules first: they stay in the cache until one of these files changes.
COPY go.work* ./
COPY app/go.mod app/go.sum app/
COPY infra/go.mod infra/go.sum infra/
COPY sidecar/go.mod sidecar/go.sum sidecar/
RUN go mod download
COPY sidecar sidecar
COPY app app
ARG TARGETOS=linux
ARG TARGETARCH
ARG VERSION=dev
ARG REVISION=
RUN export GOOS="${TARGETOS}" GOARCH="${TARGETARCH}" \
    && go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=${VERSION} -X main.commit=${REVISION}" -o /out/sidecar ./sidecar/cmd/sidecar \
    && go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X sluice/app/internal/cli.Version=${VERSION}" -o /out/app ./app/cmd/app

FROM ${BASE_IMAGE}
COPY --from=build /out/sidecar /sidecar
COPY --from=build /out/app /app
COPY LICENSE /LICENSE
USER 65532:65532
WORKDIR /
EXPOSE 3000
ENTRYPOINT ["/sidecar", "exec", "--", "/app"]
CMD ["serve"]
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Sluice app" \
      org.opencontainers.image.description="Runs jobs for webhooks" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
