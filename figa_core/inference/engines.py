"""The engines of a run: opened by name when they are needed, with at most one model loaded at a time."""

import sys
from contextlib import ExitStack
from pathlib import Path

from figa_core.errors import UnknownHeadError
from figa_core.inference.checkpoint import model_size
from figa_core.inference.choice import Choice, Work, by_transformers, by_vllm, choose
from figa_core.inference.devices import transformers_device, vllm_device
from figa_core.inference.elsewhere import Elsewhere
from figa_core.inference.engine import (
    AUTO,
    SERVER,
    TRANSFORMERS,
    VLLM,
    Engine,
    Factory,
    Generating,
    Scoring,
    Tell,
    open_engine,
    require_known,
)
from figa_core.inference.vllm_python import find_vllm_python
from figa_core.ports import Generator, Scorer


class Engines:
    """Provides generators and scorers, and keeps an engine open for following work with the same model.

    It holds a model's memory: call `end` before something else needs that, and at the end of the run.
    """

    def __init__(
        self,
        tell: Tell = lambda _: None,
        elsewhere: Elsewhere | None = None,
        servers: Factory | None = None,
    ) -> None:
        """`tell` gets a line when "auto" chooses (once per kind of work and model), and when an engine starts
        something that takes a while. `elsewhere`: where all work goes that is not for servers; None for here.
        `servers` opens the engine "server", if it is to know more than how to tell.
        """
        self._tell, self._elsewhere, self._servers = tell, elsewhere, servers
        self._told: set[tuple[str, Path, str]] = set()
        self._open: dict[str, Engine] = {}
        self._stack = ExitStack()

    def generator(self, name: str, settings: Generating, work: Work, scratch: Path) -> Generator:
        """The generator of engine `name`. Raises EngineError if the engine or the model cannot be used."""
        if self._elsewhere is not None and name != SERVER:
            self.end()  # our own servers may have the place for which its runs wait
            return self._elsewhere.generator(name, settings, work, scratch, self._tell)
        resolved = self._resolved(name, settings, work)
        engine = self._engine(resolved, settings)
        require_known(resolved, engine, settings.further)
        return engine.generator(settings, scratch)

    def scorer(self, name: str, settings: Scoring, work: Work, scratch: Path) -> Scorer:
        if self._elsewhere is not None and name != SERVER:
            self.end()  # our own servers may have the place for which its runs wait
            return self._elsewhere.scorer(name, settings, work, scratch, self._tell)
        try:
            return self._engine(self._resolved(name, settings, work), settings).scorer(settings, scratch)
        except UnknownHeadError:
            if name != AUTO or find_vllm_python() is None:
                raise
        self._tell(f"{settings.model.name} is a kind of classifier that vLLM alone scores")
        return self._engine(VLLM, settings).scorer(settings, scratch)

    def end(self) -> None:
        """Close the open engine; a later request opens one again."""
        self._open.clear()
        self._stack.close()

    def __enter__(self) -> "Engines":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _is_up(self, name: str, settings: Generating | Scoring) -> bool:
        return name in self._open and self._open[name].is_up(settings)

    def _engine(self, name: str, settings: Generating | Scoring) -> Engine:
        if not self._is_up(name, settings):
            self.end()
            self._open[name] = self._stack.enter_context(self._opened(name))
        return self._open[name]

    def _opened(self, name: str) -> Engine:
        if name == SERVER and self._servers is not None:
            return self._servers(self._tell)
        return open_engine(name, self._tell)

    def _resolved(self, name: str, settings: Generating | Scoring, work: Work) -> str:
        """The name itself, or the choice of "auto"."""
        if name != AUTO:
            return name
        if find_vllm_python() is None:
            return TRANSFORMERS
        choice = _choice(settings, work, vllm_is_up=self._is_up(VLLM, settings))
        chosen = VLLM if choice.vllm else TRANSFORMERS
        choice_made = (settings.work, settings.model, chosen)
        if choice_made not in self._told:
            self._told.add(choice_made)
            by = "vLLM" if choice.vllm else "transformers"
            self._tell(f"{settings.work.format(work.rows)} by {by}: {choice.reason}")
        return chosen


def _choice(settings: Generating | Scoring, work: Work, *, vllm_is_up: bool) -> Choice:
    size, tokens = model_size(settings.model), settings.tokens_per_batch
    imported = "transformers" in sys.modules and "torch" in sys.modules
    ours = by_transformers(work, size, transformers_device(), tokens, imported=imported)
    theirs = by_vllm(work, size, vllm_device(), tokens)
    return choose(ours, theirs, vllm_is_up=vllm_is_up)
