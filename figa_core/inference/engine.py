"""The interface of engines, and their registry by name.

An engine makes the generators and scorers that stages ask for. `generation.engine` and `reward.engine` name
it. To add one, write a class with the methods of `Engine` and register it:

    register_engine("mine", MyEngine)       # MyEngine(tell) opens it; tell("…") shows people a line

This module imports no engine; ours are imported when they are opened.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import ClassVar, Self

from figa_core.errors import EngineError
from figa_core.inference.copies import AS_MANY_AS_FIT, Copies
from figa_core.inference.servers import Servers
from figa_core.ports import Generator, Scorer

AUTO = "auto"
"""Not an engine: transformers or vLLM, whichever finishes sooner (`choice.py`)."""
TRANSFORMERS = "transformers"
VLLM = "vllm"
SERVER = "server"
"""vLLM servers that run elsewhere, or here."""

FURTHER = frozenset({"top_k", "min_p", "repetition_penalty", "stop"})
"""The settings of sampling that an engine names in `Engine.samples_by` if it knows them."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Generating:
    """Which model draws samples, and how."""

    task: ClassVar = "generate"
    work: ClassVar = "generating {:,} responses"

    model: Path
    stop_token_ids: Sequence[int]  # every id that ends a sample
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0: all tokens
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()  # texts that end a sample, which may hold more: the generate stage cuts it
    max_tokens: int = 512  # of a sample
    max_prompt_tokens: int = 2048
    rows_per_shard: int = 2000  # rows made durable together, for engines that use files
    gpu_memory_share: float = 0.9  # for engines that reserve a GPU's memory
    tokens_per_batch: int = 16_384  # padded tokens of one forward pass, for engines that pad
    servers: Servers | None = None  # for engines that use some
    copies: Copies = AS_MANY_AS_FIT  # of the model, for engines that run several

    @property
    def max_length(self) -> int:
        """The most tokens of a prompt with its sample."""
        return self.max_prompt_tokens + self.max_tokens

    @property
    def further(self) -> list[str]:
        """The names of settings of sampling that not every engine knows, and that are in use."""
        return [f.name for f in fields(self) if f.name in FURTHER and getattr(self, f.name) != f.default]


@dataclass(frozen=True, slots=True)
class Scoring:
    """Which reward model scores texts of at most `max_length` tokens; see `Generating` for the rest."""

    task: ClassVar = "score"
    work: ClassVar = "scoring {:,} texts"

    model: Path
    max_length: int = 2048
    label: int | None = None  # which value of a server is the reward, if it has a model of several
    rows_per_shard: int = 2000
    gpu_memory_share: float = 0.9
    tokens_per_batch: int = 16_384
    servers: Servers | None = None
    copies: Copies = AS_MANY_AS_FIT


class Engine:
    """Makes generators, scorers or both; a context manager, so that it may hold a server or a pool of them.

    Opening it raises EngineError if it cannot run on this machine, and starts nothing yet: the checks before
    a run open and close every engine that the configuration names.

    Attributes:
        samples_by: the settings of `FURTHER` that it knows; others are refused before the first row.
    """

    samples_by: ClassVar[frozenset[str]] = frozenset()

    def generator(self, _settings: Generating, _scratch: Path, /) -> Generator:
        """A generator that may keep files in the scratch folder. Raises EngineError if there can be none."""
        raise EngineError(f"{type(self).__name__} only scores; set generation.engine to another one.")

    def scorer(self, _settings: Scoring, _scratch: Path, /) -> Scorer:
        raise EngineError(f"{type(self).__name__} only generates; set reward.engine to another one.")

    def is_up(self, _settings: Generating | Scoring, /) -> bool:
        """Whether the model is loaded. If not, all engines are closed first: two may not fit into a GPU."""
        return False

    def close(self) -> None:
        """Release all resources; may be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


Factory = Callable[[Tell], Engine]


def _ours(module: str, name: str) -> Factory:
    return lambda tell: getattr(import_module(module), name)(tell)


_factories: dict[str, Factory] = {
    VLLM: _ours("figa_core.inference.vllm", "VllmEngine"),
    TRANSFORMERS: _ours("figa_core.inference.transformers_engine", "TransformersEngine"),
    SERVER: _ours("figa_core.inference.server.engine", "ServerEngine"),
}


def register_engine(name: str, factory: Factory) -> None:
    _factories[name] = factory


def engine_names() -> tuple[str, ...]:
    return (AUTO, *_factories)


def open_engine(name: str, tell: Tell = lambda _: None) -> Engine:
    """The engine of this name. Raises EngineError if there is none, or it cannot run on this machine."""
    if name not in _factories:
        raise EngineError(f"no engine is called {name!r}; there are {', '.join(engine_names())}.")
    return _factories[name](tell)


def check_engine(name: str, further: Iterable[str] = ()) -> None:
    """Raises EngineError if the engine cannot run on this machine, or knows no such settings of sampling.

    `AUTO` always can, and knows all.
    """
    if name != AUTO:
        with open_engine(name) as engine:
            require_known(name, engine, further)


def require_known(name: str, engine: Engine, further: Iterable[str]) -> None:
    """Raises EngineError if the engine does not know one of these settings of sampling."""
    if unknown := sorted(set(further) - engine.samples_by):
        settings = ", ".join(f"generation.sampling.{each}" for each in unknown)
        raise EngineError(
            f"the engine {name!r} does not know {settings}, and would ignore it. Leave it out, or choose "
            "another generation.engine."
        )
