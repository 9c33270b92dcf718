# Prefect server, workers, and everything that a run executes except vLLM.
#
#   make images                                     # without a Docker engine, and checks the result
#   docker build -f docker/main.Dockerfile -t figa:0.1.0 .
#   docker build -f docker/main.Dockerfile -t figa:0.1.0-cuda --build-arg DEVICE=cuda .
#
# The secret `pip` is a pip.conf for the installation, and no layer keeps it (--secret id=pip,src=pip.conf).
# DEVICE=cpu needs one that names an index with PyTorch's CPU builds. Size, without compression: CPU 2.2 GB.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS python
ARG DEBIAN_FRONTEND=noninteractive
# Such as g++, which adamw_cpu needs.
ARG PACKAGES=""
# Debian removes a version from its archive when it has a newer one.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv tini ${PACKAGES} \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/*

FROM python AS build
ARG DEVICE=cpu
WORKDIR /sources
COPY docker/main.lock.txt docker/cluster.lock.txt docker/kubernetes.lock.txt docker/s3.lock.txt ./
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# The lock without the tools of developers; torch in the build of this device.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    case "${DEVICE}" in \
        cpu) torch='\1+cpu' ;; \
        cuda) torch='\1' ;; \
        *) echo "DEVICE is ${DEVICE}; give cpu or cuda" >&2; exit 1 ;; \
    esac \
    && sed -E "/^# development/,\$d; s/^torch==(.*)/torch===${torch}/" main.lock.txt > lock.txt \
    && python3 -m venv /opt/figa \
    && /opt/figa/bin/pip install --no-cache-dir -r lock.txt -r cluster.lock.txt -r kubernetes.lock.txt -r s3.lock.txt
COPY pyproject.toml README.md LICENSE ./
COPY figa_core figa_core
COPY tasks tasks
COPY flows flows
COPY deployments deployments
RUN /opt/figa/bin/pip install --no-cache-dir --no-index --no-deps --no-build-isolation . \
    && /opt/figa/bin/pip uninstall --yes pip

FROM python
ARG DEVICE=cpu
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="figa" \
      org.opencontainers.image.description="FIGA alignment on Prefect: server, workers and trainer" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      figa.device="${DEVICE}"
# Prefect's Helm charts begin with `tini -g -- /opt/prefect/entrypoint.sh`, which runs what follows.
RUN useradd --uid 1000 --user-group --create-home figa \
    && install --directory --owner figa --group figa /data /data/workspaces \
    && install --directory /opt/prefect \
    && ln --symbolic /usr/bin/env /opt/prefect/entrypoint.sh
COPY --from=build /opt/figa /opt/figa
ENV PATH=/opt/figa/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PREFECT_UI_STATIC_DIRECTORY=/home/figa/ui
USER 1000:1000
WORKDIR /data
EXPOSE 4200
# The API answers: the server's own, or the one that a worker uses.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=4 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(os.environ.get('PREFECT_API_URL', 'http://127.0.0.1:4200/api') + '/health', timeout=5)"]
CMD ["figa", "--help"]
