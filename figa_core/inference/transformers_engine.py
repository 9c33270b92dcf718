"""The transformers engine; `transformers.py` takes seconds to import, so it is imported when needed."""

import sys
from pathlib import Path

from figa_core.inference.engine import FURTHER, Engine, Generating, Scoring, Tell
from figa_core.ports import Generator, Scorer


class TransformersEngine(Engine):
    """Models in this process."""

    samples_by = FURTHER

    def __init__(self, _tell: Tell) -> None:
        """Nothing is started."""

    def generator(self, settings: Generating, _scratch: Path) -> Generator:
        from figa_core.inference.transformers import TransformersGenerator

        return TransformersGenerator(settings)

    def scorer(self, settings: Scoring, _scratch: Path) -> Scorer:
        """See `Engine`. Raises UnknownHeadError for a kind of classifier that vLLM alone scores."""
        from figa_core.inference.transformers import TransformersScorer

        return TransformersScorer(settings)

    def close(self) -> None:
        """Release the GPU memory that this process holds."""
        if (adapter := sys.modules.get("figa_core.inference.transformers")) is not None:
            adapter.release_memory()
