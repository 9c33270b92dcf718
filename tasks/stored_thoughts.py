"""Held-out answers of a thinking model that an earlier version stored with their thoughts in them."""

from collections.abc import Mapping

from figa_core.chat.thinking import thoughts_of
from figa_core.config import PipelineConfig
from figa_core.errors import EvaluationError
from figa_core.records import Split
from figa_core.storage import responses
from figa_core.storage.responses import Samples
from tasks.chat_formats import generation_chat
from tasks.evaluate import held_out_sampling
from tasks.generate import generator_id
from tasks.workspace import Workspace


def check_comparable(
    workspace: Workspace, run_id: str, config: PipelineConfig, generators: Mapping[str, str]
) -> None:
    """Whether the base model's answers and those of these models (by label) are stored in the same way.

    Raises:
        EvaluationError: those of the base hold its thoughts, and those of another model do not, or will not.
    """
    thoughts = thoughts_of(generation_chat(config.generation))
    if thoughts is None:
        return
    base = generator_id(
        workspace, config.generation, held_out_sampling(config.evaluation, config.generation.model)
    )
    database, stored = workspace.database, _held_out(run_id, config, base)
    whole = list(responses.unsplit_ids(database, stored))
    with_thought = sum(thoughts.split(ids).thought is not None for ids in whole)
    if not with_thought:
        return
    for label, generator in {"the base model": base, **generators}.items():
        samples = _held_out(run_id, config, generator)
        if responses.count_split(database, samples) or responses.count_missing_samples(database, samples):
            raise EvaluationError(
                f"{with_thought:,} of the base model's {len(whole):,} held-out answers were stored by an "
                f"earlier version, with its thoughts in them; thoughts are cut from those of {label}. Scores "
                "of the one and of the other do not compare. Change evaluation.temperature a little, such as "
                f"to {config.evaluation.temperature + 0.001:g}: then all models answer these prompts anew, "
                "and nothing is trained or revised again."
            )


def _held_out(run_id: str, config: PipelineConfig, generator: str) -> Samples:
    return Samples(run_id, generator, Split.HELD_OUT, max_prompts=config.evaluation.max_prompts)
