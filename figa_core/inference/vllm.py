"""Generation and scoring by vLLM, in its own interpreter, through Parquet shards.

vLLM and Prefect cannot be installed together, so this side never imports vLLM: it writes shards of token
ids, has a worker of the other environment's Python take them (`vllm_process`), and takes in each output
shard as soon as it is whole.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from figa_core.inference import exchange
from figa_core.inference.checkpoint import checkpoint_dtype, model_size, weights_bytes
from figa_core.inference.choice import vllm_start_seconds
from figa_core.inference.devices import vllm_device
from figa_core.inference.engine import Engine, Generating, Scoring, Tell
from figa_core.inference.vllm_process import VllmKeeper, WorkerEngine, threads_for
from figa_core.inference.vllm_python import require_vllm_python, vllm_package
from figa_core.models.check import require_model
from figa_core.models.role import ModelRole
from figa_core.ports import Generation, GenerationRequest, RowFailure, ScoringRequest

_T = TypeVar("_T")
_R = TypeVar("_R")


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

    def engine(self, task: str) -> WorkerEngine:
        """What a worker that generates ("generate") or scores ("score") is started with.

        Raises:
            EngineError: the model has no readable config.json.
        """
        settings = {**asdict(self), "task": task, "dtype": self.dtype or checkpoint_dtype(Path(self.model))}
        del settings["rows_per_shard"]  # how the rows travel is no business of the engine
        return settings


class VllmEngine(Engine):
    """vLLM in a process of its own, which stays up for what follows with the same model."""

    def __init__(self, tell: Tell) -> None:
        """`tell` gets a line whenever a worker starts.

        Raises:
            EngineError: there is no environment with vLLM.
        """
        self._python = require_vllm_python()
        self._tell = tell
        self._keeper = VllmKeeper(on_start=self._tell_start)

    def generator(self, settings: Generating, scratch: Path) -> "VllmGenerator":
        """See `Engine`; `scratch` keeps the worker's log."""
        return VllmGenerator(
            _settings(settings),
            temperature=settings.temperature,
            top_p=settings.top_p,
            max_tokens=settings.max_tokens,
            stop_token_ids=settings.stop_token_ids,
            scratch=scratch,
            python=self._python,
            keeper=self._keeper,
        )

    def scorer(self, settings: Scoring, scratch: Path) -> "VllmScorer":
        """See `Engine`."""
        return VllmScorer(_settings(settings), scratch=scratch, python=self._python, keeper=self._keeper)

    def is_up(self, settings: Generating | Scoring) -> bool:
        """Whether the worker that is up has this model, started in the same way."""
        task = "generate" if isinstance(settings, Generating) else "score"
        return self._keeper.is_up(self._python, _settings(settings).engine(task))

    def close(self) -> None:
        """End the worker."""
        self._keeper.end()

    def _tell_start(self, model: str) -> None:
        seconds = vllm_start_seconds(model_size(Path(model)), vllm_device(vllm_package()))
        self._tell(f"starting vLLM for {Path(model).name}; about {seconds:.0f} s")


def _settings(settings: Generating | Scoring) -> VllmSettings:
    if isinstance(settings, Scoring):
        return VllmSettings(
            model=str(settings.model),
            max_length=settings.max_length,
            gpu_memory_share=settings.gpu_memory_share,
        )
    return VllmSettings(
        model=str(settings.model),
        max_length=settings.max_prompt_tokens + settings.max_tokens,
        gpu_memory_share=settings.gpu_memory_share,
        rows_per_shard=settings.rows_per_shard,
    )


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
        keeper: VllmKeeper | None = None,
    ) -> None:
        """`scratch` holds the shards while a generation runs, and the worker's log after it.

        The worker is `keeper`'s and stays up; without one it ends with the generation.

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
        self._place = _Place(scratch, python, keeper)

    def generate(self, requests: Iterable[GenerationRequest]) -> Iterator[list[Generation | RowFailure]]:
        """See `ports.Generator`. Raises EngineError when the worker fails."""
        shards = exchange.in_shards(requests, self._settings.rows_per_shard)
        write, read = exchange.write_generation_requests, exchange.read_generations
        yield from _run(self._settings.engine("generate"), self._sampling, shards, write, read, self._place)


class VllmScorer:
    """ports.Scorer on vLLM: raw logits, no sigmoid."""

    def __init__(
        self, settings: VllmSettings, *, scratch: Path, python: Path, keeper: VllmKeeper | None = None
    ) -> None:
        """See `VllmGenerator`. Raises EngineError when it is no whole classifier with one label."""
        require_model(Path(settings.model), ModelRole.REWARD)
        self._settings, self._place = settings, _Place(scratch, python, keeper)

    def score(self, requests: Iterable[ScoringRequest]) -> Iterator[list[tuple[str, float] | RowFailure]]:
        """See `ports.Scorer`. Raises EngineError when the worker fails."""
        shards = exchange.in_shards(requests, self._settings.rows_per_shard)
        write, read = exchange.write_scoring_requests, exchange.read_scores
        yield from _run(self._settings.engine("score"), {}, shards, write, read, self._place)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a job runs: its folder, the interpreter, and whose worker it is."""

    scratch: Path
    python: Path
    keeper: VllmKeeper | None


def _run(
    engine: WorkerEngine,
    job: dict[str, object],
    shards: Iterable[list[_T]],
    write: Callable[[Path, list[_T]], None],
    read: Callable[[Path], list[_R]],
    place: _Place,
) -> Iterator[list[_R]]:
    source, target = place.scratch / "input", place.scratch / "output"
    for folder in (source, target):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    names = []
    for index, shard in enumerate(shards):
        write(source / exchange.shard_name(index), shard)
        names.append(exchange.shard_name(index))
    if not names:
        return
    threads = threads_for(weights_bytes(Path(str(engine["model"]))))
    log_path = place.scratch / "worker.log"
    with (
        _keeper(place) as keeper,
        keeper.worker(place.python, engine, threads=threads, log_path=log_path) as worker,
    ):
        worker.send({**job, "input": str(source), "output": str(target)})
        for name in names:
            worker.wait_for(target / name)
            yield read(target / name)
            (target / name).unlink()
    shutil.rmtree(source)
    shutil.rmtree(target)


@contextmanager
def _keeper(place: _Place) -> Iterator[VllmKeeper]:
    if place.keeper is not None:
        yield place.keeper
        return
    keeper = VllmKeeper()
    try:
        yield keeper
    finally:
        keeper.end()
