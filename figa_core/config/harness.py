"""Benchmarks by lm-eval, in an environment of its own (`make harness`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from figa_core.config.decisions import judgement, nothing
from figa_core.config.section import Section
from figa_core.config.values import Name, one_line

HarnessEngine = Literal["vllm", "transformers"]
ChatTemplate = bool | Literal["auto"]
_SEED_MAX = 2**32 - 1  # of numpy


def _each_once(names: Sequence[str]) -> Any:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{twice[0]!r} is in the list twice; name each task once")
    return names


TaskName = Annotated[Name, AfterValidator(one_line)]
TaskNames = Annotated[tuple[TaskName, ...], AfterValidator(_each_once)]


class HarnessConfig(Section):
    """Which benchmarks base and trained models are asked, and how; their scores decide no verdict.

    Results are kept by model, lm-eval's release, task and these settings.
    """

    tasks: TaskNames = judgement((), "Tasks, groups or tags by their names in lm-eval; none by default.")
    engine: HarnessEngine = judgement(
        "vllm", "vllm, or transformers: slower, and enough for small models on a CPU."
    )
    limit: int | None = judgement(
        None, 'Only the first so many questions of each task, to try it; "none" for all.', ge=1
    )
    num_fewshot: int | None = judgement(
        None, 'Examples before each question; "none" for the number that each task says.', ge=0, le=100
    )
    chat_template: ChatTemplate = judgement(
        "auto", "Put questions into the model's chat template; auto: if it has one."
    )
    include_path: Path | None = nothing(
        None,
        "A folder with tasks of your own, in lm-eval's format; paths in them are relative to it. "
        'Its files are part of the id of what uses them. "none" for lm-eval\'s tasks only.',
    )
    seed: int | None = judgement(
        None,
        'Of the choice of examples, and of all else that is random; "none" for lm-eval\'s own.',
        ge=0,
        le=_SEED_MAX,
    )
    batch_size: int = nothing(16, 'Of engine = "transformers"; vLLM takes what fits.', ge=1, le=65_536)
    download: bool = nothing(True, "Whether data of tasks may be fetched from the Hugging Face hub.")
