"""Generation and scoring by vLLM, in its own interpreter, through Parquet shards.

vLLM and Prefect cannot be installed together, so this side never imports vLLM. It writes shards of token ids,
sends them to a worker in the other environment (`vllm_process`), and reads each output shard as soon as it is
complete.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from figa_core.inference import exchange
from figa_core.inference.checkpoint import checkpoint_dtype, model_size, weights_bytes
from figa_core.inference.choice import vllm_start_seconds
from figa_core.inference.devices import vllm_device
from figa_core.inference.engine import Engine, Generating, Scoring, Tell
from figa_core.inference.vllm_process import VllmKeeper, WorkerEngine, threads_for
from figa_core.inference.vllm_python import require_vllm_python
from figa_core.models.check import require_model
from figa_core.models.plain_reward import reward_offset
from figa_core.models.role import ModelRole
from figa_core.ports import Generation, GenerationRequest, RowFailure, ScoringRequest

_R = TypeVar("_R")


class VllmEngine(Engine):
    """vLLM in a process that stays up for following stages with the same model."""

    def __init__(self, tell: Tell = lambda _: None, *, python: Path | None = None) -> None:
        """`tell` gets a line whenever a worker starts. Raises EngineError if no environment has vLLM."""
        self.keeper = VllmKeeper(python or require_vllm_python(), on_start=self._tell_start)
        self._tell = tell

    def generator(self, settings: Generating, scratch: Path) -> "VllmGenerator":
        """See `Engine`; `scratch` has the shards and the worker's log."""
        # With missing weights vLLM would run on uninitialised memory.
        require_model(settings.model, ModelRole.POLICY)
        return VllmGenerator(self, settings, scratch)

    def scorer(self, settings: Scoring, scratch: Path) -> "VllmScorer":
        """See `generator`. Raises EngineError unless the model is a whole classifier with one label."""
        require_model(settings.model, ModelRole.REWARD)
        return VllmScorer(self, settings, scratch)

    def is_up(self, settings: Generating | Scoring) -> bool:
        """Whether the running worker has this model with these settings."""
        return self.keeper.is_up(worker_engine(settings))

    def close(self) -> None:
        self.keeper.end()

    def _tell_start(self, model: str) -> None:
        seconds = vllm_start_seconds(model_size(Path(model)), vllm_device())
        self._tell(f"starting vLLM for {Path(model).name}; about {seconds:.0f} s")


def worker_engine(settings: Generating | Scoring) -> WorkerEngine:
    """The arguments of a worker.

    The dtype is the checkpoint's, as with transformers: vLLM's "auto" converts float32 to bfloat16, and then
    tokens and rewards differ between the engines.
    """
    return {
        "task": settings.task,
        "model": str(settings.model),
        "dtype": checkpoint_dtype(settings.model),
        "max_length": settings.max_length,
        "gpu_memory_share": settings.gpu_memory_share,
    }


@dataclass(frozen=True, slots=True)
class VllmGenerator:
    """ports.Generator on vLLM."""

    engine: VllmEngine
    settings: Generating
    scratch: Path

    def generate(self, requests: Iterable[GenerationRequest]) -> Iterator[list[Generation | RowFailure]]:
        """See `ports.Generator`. Raises EngineError when the worker fails."""
        names = ("temperature", "top_p", "max_tokens", "stop_token_ids")
        sampling = {name: getattr(self.settings, name) for name in names}
        return _run(self, sampling, requests, exchange.GENERATION_REQUESTS, exchange.read_generations)


@dataclass(frozen=True, slots=True)
class VllmScorer:
    """ports.Scorer on vLLM: raw logits, no sigmoid."""

    engine: VllmEngine
    settings: Scoring
    scratch: Path

    def score(self, requests: Iterable[ScoringRequest]) -> Iterator[list[tuple[str, float] | RowFailure]]:
        """See `ports.Scorer`. Raises EngineError when the worker fails."""
        offset = reward_offset(self.settings.model)
        return _run(
            self,
            {},
            requests,
            exchange.SCORING_REQUESTS,
            lambda path: [
                row if isinstance(row, RowFailure) else (row[0], row[1] + offset)
                for row in exchange.read_scores(path)
            ],
        )


def _run(
    work: VllmGenerator | VllmScorer,
    job: dict[str, object],
    requests: Iterable[GenerationRequest | ScoringRequest],
    schema: pa.Schema,
    read: Callable[[Path], list[_R]],
) -> Iterator[list[_R]]:
    source, target = work.scratch / "input", work.scratch / "output"
    for folder in (source, target):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    names = []
    for shard in exchange.in_shards(requests, work.settings.rows_per_shard):
        names.append(f"shard-{len(names):06d}.parquet")
        exchange.write_requests(source / names[-1], shard, schema)
    if not names:
        return
    with work.engine.keeper.worker(
        worker_engine(work.settings),
        threads=threads_for(weights_bytes(work.settings.model)),
        log_path=work.scratch / "worker.log",
    ) as worker:
        worker.send({**job, "input": str(source), "output": str(target)})
        for name in names:
            worker.wait_for(target / name)
            yield read(target / name)
            (target / name).unlink()
    shutil.rmtree(source)
    shutil.rmtree(target)
