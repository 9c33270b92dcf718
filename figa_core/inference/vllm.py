"""Generation and scoring by vLLM, in its own interpreter, through Parquet shards.

vLLM and Prefect cannot be installed together, so this side never imports vLLM: it writes shards of token
ids, starts `vllm_worker` with the other environment's Python, and takes in each output shard as soon as it
is whole. The worker dies with this process.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TypeVar

from figa_core.child_log import followed
from figa_core.errors import EngineError
from figa_core.inference import exchange
from figa_core.inference.checkpoint import checkpoint_dtype, weights_bytes
from figa_core.inference.vllm_python import why_not
from figa_core.models.check import require_model
from figa_core.models.role import ModelRole
from figa_core.ports import Generation, GenerationRequest, ScoringRequest
from figa_core.processes import child_environment

_LOGGER = logging.getLogger("figa_core.inference")
PYTHON_VARIABLE = "FIGA_VLLM_PYTHON"
_POLL_S = 0.05
# Below it more than two threads gain nothing, and threads that wait for each other cost a busy machine much.
_SMALL_MODEL_BYTES = 200_000_000
_STOP_WAIT_S = 5.0
_LOG_LINES = 15
# Only read by the CPU build; a variable that is set already wins.
_CPU_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

_T = TypeVar("_T")
_R = TypeVar("_R")


def find_vllm_python() -> Path | None:
    """The interpreter that has vLLM; None without one.

    It is the one that $FIGA_VLLM_PYTHON names, or that of a `.venv-vllm` beside this environment, in the
    working directory or above it.

    Raises:
        EngineError: $FIGA_VLLM_PYTHON names no interpreter that has vLLM.
    """
    named = os.environ.get(PYTHON_VARIABLE)
    if named:
        if reason := why_not(Path(named)):
            raise EngineError(
                f"{PYTHON_VARIABLE} = {named}: cannot run vLLM: {reason}. Correct or unset the variable, or "
                'set engine = "transformers".'
            )
        return Path(named)
    for folder in (Path(sys.prefix).parent, Path.cwd(), *Path.cwd().parents):
        python = folder / ".venv-vllm" / "bin" / "python"
        if python.exists() and why_not(python) is None:  # there is one in which vLLM is not installed yet
            return python
    return None


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """How an engine is started. `max_length` counts prompt and response, in tokens.

    `dtype` None is the checkpoint's own, as with transformers: vLLM's "auto" makes bfloat16 of float32, and
    then neither tokens nor rewards equal those of the other engine.
    """

    model: str
    max_length: int
    dtype: str | None = None
    gpu_memory_share: float = 0.9
    tensor_parallel: int = 1
    rows_per_shard: int = 2000


class VllmGenerator:
    """ports.Generator on vLLM."""

    def __init__(
        self,
        settings: VllmSettings,
        *,
        temperature: float,
        top_p: float,
        max_tokens: int,
        stop_token_ids: Iterable[int],
        scratch: Path,
        python: Path,
    ) -> None:
        """`scratch` holds the shards while a generation runs, and the worker's log after it.

        Raises:
            EngineError: the model is not whole: vLLM would run on memory that nobody has written to.
        """
        require_model(Path(settings.model), ModelRole.POLICY)
        self._settings = settings
        self._sampling = {
            "temperature": temperature,
            "top_p": top_p,
            "max_tokens": max_tokens,
            "stop_token_ids": list(stop_token_ids),
        }
        self._scratch, self._python = scratch, python

    def generate(self, requests: Iterable[GenerationRequest]) -> Iterator[list[Generation]]:
        """See `ports.Generator`. Raises EngineError when the worker fails."""
        job = {"task": "generate", **_engine_settings(self._settings), **self._sampling}
        yield from _run(
            job,
            requests,
            exchange.write_generation_requests,
            exchange.read_generations,
            self._scratch,
            self._python,
        )


class VllmScorer:
    """ports.Scorer on vLLM: raw logits, no sigmoid."""

    def __init__(self, settings: VllmSettings, *, scratch: Path, python: Path) -> None:
        """See `VllmGenerator`. Raises EngineError when it is no whole classifier with one label."""
        require_model(Path(settings.model), ModelRole.REWARD)
        self._settings, self._scratch, self._python = settings, scratch, python

    def score(self, requests: Iterable[ScoringRequest]) -> Iterator[list[tuple[str, float]]]:
        """See `ports.Scorer`. Raises EngineError when the worker fails."""
        job = {"task": "score", **_engine_settings(self._settings)}
        yield from _run(
            job, requests, exchange.write_scoring_requests, exchange.read_scores, self._scratch, self._python
        )


def _engine_settings(settings: VllmSettings) -> dict[str, object]:
    return {**asdict(settings), "dtype": settings.dtype or checkpoint_dtype(Path(settings.model))}


def _run(
    job: dict[str, object],
    requests: Iterable[_T],
    write: Callable[[Path, list[_T]], None],
    read: Callable[[Path], list[_R]],
    scratch: Path,
    python: Path,
) -> Iterator[list[_R]]:
    source, target = scratch / "input", scratch / "output"
    for folder in (source, target):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    names = []
    for index, shard in enumerate(exchange.in_shards(requests, int(str(job["rows_per_shard"])))):
        write(source / exchange.shard_name(index), shard)
        names.append(exchange.shard_name(index))
    if not names:
        return
    job_path = scratch / "job.json"
    job_path.write_text(json.dumps({**job, "input": str(source), "output": str(target)}))
    log_path = scratch / "worker.log"
    _LOGGER.info("vLLM starts: %s, %d shard(s); full log: %s", job["task"], len(names), log_path)
    with log_path.open("wb") as log, followed(log_path, _LOGGER):
        worker = _start(python, job_path, log, _threads(Path(str(job["model"]))))
        try:
            for name in names:
                _wait_for(target / name, worker, log_path)
                yield read(target / name)
                (target / name).unlink()
        finally:
            _stop(worker)
    shutil.rmtree(source)
    shutil.rmtree(target)


def _threads(model: Path) -> int:
    """How many threads the CPU build gets; a GPU's worker does not need them."""
    cores = os.cpu_count() or 1
    return min(2, cores) if weights_bytes(model) < _SMALL_MODEL_BYTES else cores


def _start(python: Path, job: Path, log: IO[bytes], threads: int) -> subprocess.Popen[bytes]:
    environment = child_environment(**_ENVIRONMENT)
    for name, value in {**_CPU_ENVIRONMENT, "OMP_NUM_THREADS": str(threads)}.items():
        environment.setdefault(name, value)
    try:
        return subprocess.Popen(
            [str(python), "-m", "figa_core.inference.vllm_worker", str(job)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise EngineError(
            f"{python}: cannot start the vLLM worker: {error.strerror}. Run `make setup`, "
            f"point {PYTHON_VARIABLE} at "
            'an interpreter with vLLM, or set engine = "transformers".'
        ) from error


def _wait_for(path: Path, worker: subprocess.Popen[bytes], log: Path) -> None:
    while not path.exists():
        code = worker.poll()
        if code is not None and not path.exists():
            lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
            raise EngineError(
                f"the vLLM worker ended with code {code}; its log is {log}. Its last lines:\n"
                + "\n".join(lines)
            )
        time.sleep(_POLL_S)


def _stop(worker: subprocess.Popen[bytes]) -> None:
    if worker.poll() is None:
        worker.terminate()
        try:
            worker.wait(_STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
