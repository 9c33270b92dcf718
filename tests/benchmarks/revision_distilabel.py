"""distilabel's OpenAI client in a pipeline of one step, in its own environment."""

import os
from pathlib import Path

from tests.benchmarks.revision_spec import MAX_TOKENS, Outcome, Spec, Watch

os.environ |= {"HF_HUB_OFFLINE": "1"}

from distilabel.models import OpenAILLM  # pyright: ignore[reportMissingImports]
from distilabel.pipeline import Pipeline  # pyright: ignore[reportMissingImports]
from distilabel.steps import LoadDataFromDicts  # pyright: ignore[reportMissingImports]
from distilabel.steps.tasks import ChatGeneration  # pyright: ignore[reportMissingImports]

_BATCH_ROWS = 50  # its default, and the number of concurrent calls


def run(spec: Spec) -> Outcome:
    """Revise all rows; distilabel's cache knows which of them are done."""
    watch = Watch(0)
    rows = [{"id": row["id"], "messages": row["messages"]} for row in spec.read_rows()]
    with Pipeline(name="revision", cache_dir=Path(spec.directory)) as pipeline:
        load = LoadDataFromDicts(data=rows, batch_size=_BATCH_ROWS)
        ask = ChatGeneration(
            llm=OpenAILLM(
                model=spec.model,
                base_url=spec.base_url,
                api_key="none",  # pyright: ignore[reportArgumentType]
                generation_kwargs={"temperature": 0.0, "max_new_tokens": MAX_TOKENS},
            ),
            input_batch_size=_BATCH_ROWS,
        )
        load.connect(ask)
    revised = pipeline.run(use_cache=True)["default"]["train"]
    return watch.outcome(sum(bool(text) for text in revised["generation"]))
