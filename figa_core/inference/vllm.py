"""Generation and scoring by vLLM, in its own interpreter, through Parquet shards.

vLLM and Prefect cannot be installed together, so this side never imports vLLM. It writes shards of token ids,
deals them to workers in the other environment, one for each copy of the model (`vllm_process`), and reads
each output shard as soon as it is complete.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from figa_core.inference import exchange
from figa_core.inference.checkpoint import checkpoint_dtype, model_size, weights_bytes
from figa_core.inference.choice import vllm_start_seconds
from figa_core.inference.copies import places_of
from figa_core.inference.dealing import deal
from figa_core.inference.devices import vllm_device, vllm_gpus
from figa_core.inference.engine import FURTHER, Engine, Generating, Scoring, Tell
from figa_core.inference.vllm_process import VllmKeeper, VllmWorker, WorkerEngine, threads_for
from figa_core.inference.vllm_python import require_vllm_python
from figa_core.models.check import require_model
from figa_core.models.plain_reward import reward_offset
from figa_core.models.role import ModelRole
from figa_core.ports import Generation, GenerationRequest, RowFailure, ScoringRequest

_R = TypeVar("_R")


class VllmEngine(Engine):
    """vLLM in processes that stay up for following stages with the same model."""

    samples_by = FURTHER

    def __init__(self, tell: Tell = lambda _: None, *, python: Path | None = None) -> None:
        """`tell` gets a line whenever workers start, and when one ends before its time.

        Raises EngineError if no environment has vLLM.
        """
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

    def say(self, line: str) -> None:
        self._tell(line)

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
        "tensor_parallel": settings.copies.tensor_parallel,
    }


@dataclass(frozen=True, slots=True)
class VllmGenerator:
    """ports.Generator on vLLM."""

    engine: VllmEngine
    settings: Generating
    scratch: Path

    def generate(self, requests: Iterable[GenerationRequest]) -> Iterator[list[Generation | RowFailure]]:
        """See `ports.Generator`. Raises EngineError when the worker fails."""
        names = ("temperature", "top_p", "max_tokens", "stop_token_ids", *sorted(FURTHER))
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


@dataclass(frozen=True, slots=True)
class VllmCopy:
    """dealing.ShardWorker: a worker with one job, whose shards are files in a folder."""

    worker: VllmWorker
    job: Mapping[str, object]
    source: Path
    target: Path

    @property
    def name(self) -> str:
        return self.worker.place.name

    def is_ready(self) -> bool:
        return True

    def give(self, shard: str) -> None:
        files = {"input": str(self.source / shard), "output": str(self.target / shard)}
        self.worker.send({**self.job, **files})

    def result(self, shard: str) -> Path | None:
        path = self.target / shard
        return path if path.exists() else None

    def trouble(self) -> str | None:
        return self.worker.trouble()


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
    places = places_of(work.settings.copies, vllm_gpus())
    names = exchange.write_request_shards(
        source, requests, work.settings.rows_per_shard, schema, workers=len(places)
    )
    if not names:
        return
    # A copy without a shard would start for nothing.
    places = places[: len(names)]
    with work.engine.keeper.workers(
        worker_engine(work.settings),
        places,
        threads=threads_for(weights_bytes(work.settings.model), len(places)),
        log_path=work.scratch / "worker.log",
    ) as workers:
        copies = [VllmCopy(worker, job, source, target) for worker in workers]
        for _, path in deal(names, copies, work.engine.say):
            yield read(path)
            path.unlink()
    shutil.rmtree(source)
    shutil.rmtree(target)
