"""The calls to judges that a plan announces are as many as a run may make."""

from pathlib import Path
from typing import Any

import pytest

from figa_core.config.file import parse_config
from figa_core.records import Message, Prompt, Split
from flows.plan_judging import judging_lines, plan_judging

TRAIN, HELD_OUT = 5, 2
REWARDS = [{"name": "helpful", "model": "models/reward"}, {"name": "tone", "judge": "m"}]


def prompts() -> list[Prompt]:
    splits = [Split.TRAIN] * TRAIN + [Split.HELD_OUT] * HELD_OUT
    return [
        Prompt(str(i), (Message("user", f"question {i}"),), split, "good", f"reference-{i}")
        for i, split in enumerate(splits)
    ]


@pytest.mark.parametrize(
    ("uses", "calls"),
    [
        # Responses, references and revisions of the prompts, and answers of the base and the trained model.
        ({"filter": "tone"}, 3 * TRAIN + 2 * HELD_OUT),
        ({"filter": "combined"}, 3 * TRAIN + 2 * HELD_OUT),
        ({"filter": "helpful", "admission": "tone", "evaluation": "helpful"}, 2 * TRAIN),
        ({"filter": "helpful", "evaluation": "tone"}, 2 * HELD_OUT),
        # The scale of the combined reward is taken over the responses.
        ({"filter": "helpful", "evaluation": "combined"}, TRAIN + 2 * HELD_OUT),
    ],
)
def test_a_plan_counts_the_answers_that_a_judge_rates_in_each_use(
    tmp_path: Path, uses: dict[str, Any], calls: int
) -> None:
    data = {
        "workspace": {"path": "workspace"},
        "prompts": {"path": "prompts.jsonl"},
        "generation": {"model": "base"},
        "revision": {"model": "m"},
        "rewards": REWARDS,
        **{section: {"reward": name} for section, name in uses.items()},
    }
    [plan] = plan_judging(parse_config(data, source="a test", base=tmp_path), prompts, "An answer.")
    assert plan.calls == calls


def test_a_plan_counts_both_orders_of_every_answer_that_is_compared(tmp_path: Path) -> None:
    data = {
        "workspace": {"path": "workspace"},
        "prompts": {"path": "prompts.jsonl"},
        "generation": {"model": "base"},
        "revision": {"model": "m"},
        "reward": {"model": "models/reward"},
        "evaluation": {"judge": {"model": "j"}, "baselines": ["sft"], "max_prompts": 1},
    }
    [plan] = plan_judging(parse_config(data, source="a test", base=tmp_path), prompts, "An answer.")
    assert (plan.calls, plan.model) == (1 * 2 * 2, "j")
    assert plan.prompt_tokens > 0
    assert next(judging_lines(plan)).startswith("at most 4 calls to the judge of evaluation.judge (j)")
