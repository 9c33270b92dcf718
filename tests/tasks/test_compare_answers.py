"""Which methods a comparison can train on a run's pairs, and why not the others."""

from typing import Any

import pytest

from figa_core.config import MethodConfig, PipelineConfig
from figa_core.shards.sizes import ShardSizes
from tasks.compare import samples_for_best, why_unable

NEEDED: dict[str, dict[str, Any]] = {
    "workspace": {"path": "w"},
    "prompts": {"path": "p"},
    "generation": {"model": "g"},
    "reward": {"model": "r"},
    "revision": {"model": "m"},
}
ANSWERED = {"response": 10, "revision": 10, "reference": 0, "best": 10}
SIZES = ShardSizes(10, 100, ANSWERED, dict.fromkeys(ANSWERED, 100))


def config_of(**sections: dict[str, Any]) -> PipelineConfig:
    given = {name: {**NEEDED.get(name, {}), **fields} for name, fields in sections.items()}
    return PipelineConfig.model_validate({**NEEDED, **given})


@pytest.mark.parametrize(
    ("objective", "sections", "pairs", "reason"),
    [
        ("figa", {}, 10, ""),
        ("figa", {}, 11, "there are only 10 pairs"),
        ("sft", {}, 10, "none of the 10 pairs has a reference"),
        ("sft_best", {}, 10, "there is one sample of each prompt (generation.samples_per_prompt), so none"),
        ("sft_best", {"generation": {"samples_per_prompt": 2}}, 10, ""),
        ("dpo", {}, 10, ""),
        (
            "dpo",
            {"training": {"tokens_per_batch": 2047}},
            10,
            "its answers of a pair may have 2048 tokens together, more than training.tokens_per_batch = 2047",
        ),
        ("simpo", {"training": {"tokens_per_batch": 2048}}, 10, ""),
        ("coh", {"training": {"tokens_per_batch": 2048}}, 10, "its answers of a pair may have 2087 tokens"),
    ],
)
def test_a_method_that_cannot_run_on_the_pairs_says_why(
    objective: str, sections: dict[str, dict[str, Any]], pairs: int, reason: str
) -> None:
    found = why_unable(MethodConfig(objective=objective), config_of(**sections), pairs, SIZES)
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


def test_best_samples_are_looked_for_if_a_method_trains_on_them_and_there_are_several() -> None:
    several = {"samples_per_prompt": 4}
    assert samples_for_best(config_of(generation=several)) == 4, "every objective there is"
    assert samples_for_best(config_of()) is None
    assert samples_for_best(config_of(generation=several, compare={"methods": ["figa", "sft"]})) is None
    assert samples_for_best(config_of(generation=several, compare={"methods": ["sft_best"]})) == 4
