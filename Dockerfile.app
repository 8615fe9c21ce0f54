# The app, with `sidecar exec` as its first process: the container stays up, and
# the replica in ingress, while a crashed app is started again.
#
#   docker build -f Dockerfile.app --build-arg VERSION=$(git rev-parse --short HEAD) .
#
# Hooks that run commands need these in the image: build with a BASE_IMAGE that
# has them, or start a Dockerfile of your own FROM this image.
#
# It needs no BuildKit: `az acr build` has none. A build gives the same binaries
# for the same source, since neither time nor path gets into them.
ARG GO_IMAGE=docker.io/library/golang:1.26.8-bookworm
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot

FROM --platform=${BUILDPLATFORM:-linux/amd64} ${GO_IMAGE} AS build
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
RUN export GOOS="${TARGETOS}" GOARCH="${TARGETARCH}" \
    && go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=${VERSION}" -o /out/sidecar ./sidecar/cmd/sidecar \
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
