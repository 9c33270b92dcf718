"""Settings that cannot work together are reported; others are not."""

import subprocess
import sys
from typing import Any

import pytest

from flows.checks.settings import check_settings

from .conftest import PRICES, MakeFacts


def findings_of(facts: MakeFacts, **sections: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Problems and warnings."""
    found = list(check_settings(facts(**sections)))
    problems = [str(each) for each in found if each.is_problem]
    return problems, [str(each) for each in found if not each.is_problem]


def test_the_defaults_fit_each_other(facts: MakeFacts) -> None:
    assert findings_of(facts) == ([], [])


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        (
            {"prompts": {"prompt_field": "text", "reference_field": "text"}},
            "prompts.reference_field: 'text' is already prompts.prompt_field.",
        ),
        (
            {"generation": {"temperature": 0, "samples_per_prompt": 3}},
            "generation.temperature: at 0 all 3 samples of a prompt are the same",
        ),
        (
            {"training": {"learning_rate": 1e5}},
            "training.learning_rate: 100000 would destroy any model in a few steps.",
        ),
        (
            {"filter": {"response_reward_below": "q0"}},
            'filter: none of the responses can have a reward below "q0" (response_reward_below)',
        ),
        (
            {"filter": {"response_reward_below": "q0.00"}},
            "filter: none of the responses can have a reward below",
        ),
        (
            {"training": {"lora": {"merge": True, "dropout": 0.1}}},
            'training.lora: rank is "none", so all weights are trained, and dropout, merge has no effect.',
        ),
        (
            {"evaluation": {"baselines": ["figa"]}},
            "evaluation.baselines: figa is already the main objective.",
        ),
        (
            {"evaluation": {"baselines": ["sft_revised", "sft_revised"]}},
            "evaluation.baselines: sft_revised is listed 2 times. List it once.",
        ),
        (
            {"loss": {"objective": "sft"}, "prompts": {"reference_field": "none"}},
            'loss.objective: sft trains on references, but prompts.reference_field is "none"',
        ),
        (
            {"evaluation": {"baselines": ["dpo"]}, "training": {"tokens_per_batch": 1500}},
            "evaluation.baselines: dpo takes several answers of a pair into one forward pass, up to 2048 "
            "tokens with weighting.max_length = 1024, but training.tokens_per_batch is 1500. Raise it",
        ),
        (
            {"loss": {"objective": "coh"}, "training": {"tokens_per_batch": 2048}},
            "loss.objective: coh takes several answers of a pair into one forward pass, up to 2087 tokens",
        ),
        (
            {"evaluation": {"baselines": ["sft_best"]}},
            "evaluation.baselines: sft_best trains on the best of several samples of a prompt, but "
            "generation.samples_per_prompt is 1. Raise it",
        ),
        (
            {"loss": {"objective": "dft_reference"}, "prompts": {"reference_field": "none"}},
            "loss.objective: dft_reference trains on references",
        ),
        (
            {"evaluation": {"baselines": ["sft"]}, "prompts": {"reference_field": "none"}},
            "evaluation.baselines: sft trains on references",
        ),
        (
            {"spending": {"budget_usd": 5}},
            "spending.budget_usd needs the price of 'm': add [spending.prices.\"m\"]",
        ),
        (
            {
                "spending": {"budget_usd": 5, "prices": PRICES},
                "revision_prompt": {"leave_out": ["max_tokens"]},
            },
            "revision_prompt.leave_out: without max_tokens an answer may have any length",
        ),
        ({"loss": {"alpha": 0, "beta": 0, "gamma": 0}}, "loss: alpha, beta and gamma are all 0"),
        ({"loss": {"gamma": 0, "gamma_fade_tokens": 4}}, "loss.gamma_fade_tokens: gamma is 0, so nothing"),
        (
            {"training": {"lora": {"rank": 4, "quantize": True}, "zero_stage": 3}},
            "training.lora.quantize: ZeRO-3 splits the weights over the ranks, and 4-bit weights are not",
        ),
        (
            {"training": {"held_out": {"patience": 3}}},
            "training.held_out.patience: no pairs are kept apart to judge the training by. Set",
        ),
        (
            {"training": {"optimizer": {"kind": "adamw_cpu"}}},
            "training.optimizer.kind: adamw_cpu works on an",
        ),
        ({"training": {"held_out": {"result": "best"}}}, "training.held_out.result: no pairs are kept apart"),
        (
            {"training": {"tokens_per_batch": 512}},
            "weighting.max_length is 1024 tokens, but a forward pass takes training.tokens_per_batch = 512",
        ),
    ],
)
def test_what_cannot_work_is_a_problem(
    facts: MakeFacts, sections: dict[str, dict[str, Any]], expected: str
) -> None:
    [problem], warnings = findings_of(facts, **sections)
    assert problem.startswith(expected)
    assert warnings == []


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        (
            {"filter": {"reference_reward_above": "q1"}},
            'filter: none of the prompts with a reference can be above "q1" (reference_reward_above)',
        ),
        (
            {"filter": {"reward_gap_above": "q1.0"}},
            'filter: none of the prompts with a reference can be above "q1" (reward_gap_above)',
        ),
        (
            {"prompts": {"reference_field": "none"}, "filter": {"reward_gap_above": 1.0}},
            'filter: there are no references (prompts.reference_field is "none"), so these settings',
        ),
        (
            {"training": {"rendezvous": {"wait_s": 60, "address": "gpu1:29500"}}},
            "training.rendezvous: training.nodes is 1, so address, wait_s has no effect",
        ),
        (
            {"generation": {"temperature": 20}},
            "generation.temperature: at 20 a model samples nearly at random",
        ),
        (
            {"generation": {"max_tokens": 1024}},
            "weighting.max_length: 1024 tokens of prompt and response are trained on",
        ),
        (
            {"revision": {"max_tokens": 100}},
            "revision.max_tokens: 100 tokens are fewer than a response may have",
        ),
    ],
)
def test_what_works_less_well_than_it_seems_to_is_a_warning(
    facts: MakeFacts, sections: dict[str, dict[str, Any]], expected: str
) -> None:
    problems, [warning] = findings_of(facts, **sections)
    assert problems == []
    assert warning.startswith(expected)


@pytest.mark.parametrize(
    "sections",
    [
        {"generation": {"temperature": 0}},
        {"generation": {"samples_per_prompt": 3}},
        {"training": {"nodes": 2, "rendezvous": {"wait_s": 60}}},
        {"filter": {"response_reward_below": "q1", "reference_reward_above": "q0", "reward_gap_above": -9}},
        {"loss": {"alpha": 0, "beta": 0, "objective": "sft_revised"}},
        {"loss": {"alpha": 0, "beta": 0, "gamma": 0.1}},
        {"prompts": {"reference_field": "none"}},
        {"evaluation": {"baselines": ["sft", "sft_revised", "unlikelihood", "dpo", "rrhf", "coh"]}},
        {"loss": {"objective": "sft_best"}, "generation": {"samples_per_prompt": 2}},
    ],
)
def test_what_works_is_not_refused(facts: MakeFacts, sections: dict[str, dict[str, Any]]) -> None:
    assert findings_of(facts, **sections) == ([], [])


def test_all_problems_are_reported_at_once(facts: MakeFacts) -> None:
    problems, _ = findings_of(
        facts,
        prompts={"reference_field": "prompt"},
        generation={"temperature": 0, "samples_per_prompt": 2},
        evaluation={"baselines": ["figa", "sft", "sft"]},
        training={"tokens_per_batch": 64},
    )
    assert len(problems) == 5


def test_an_interpreter_without_docstrings_is_named() -> None:
    program = "from flows.checks.settings import check_interpreter; print(*check_interpreter(None))"
    done = [
        subprocess.run([sys.executable, *option, "-c", program], capture_output=True, text=True, check=True)
        for option in ([], ["-OO"])
    ]
    assert done[0].stdout.strip() == ""
    assert "Unset PYTHONOPTIMIZE" in done[1].stdout
