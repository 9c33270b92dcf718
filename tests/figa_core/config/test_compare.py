"""The methods of a comparison: names, overrides, and what is refused."""

import pytest
from pydantic import ValidationError

from figa_core.config import (
    CompareConfig,
    LossConfig,
    MethodConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainingConfig,
)


def test_a_name_alone_is_a_method_with_the_runs_settings() -> None:
    [method] = CompareConfig.model_validate({"methods": ["sft_revised"]}).methods
    usual = LossConfig(gamma=0.7)
    assert method.loss(usual) == usual.model_copy(update={"objective": "sft_revised"})
    assert method.name == "SFT on Ỹ"


def test_only_settings_that_were_given_differ_from_the_runs_even_if_they_are_defaults() -> None:
    beta, gate = LossConfig().beta, LossConfig().negative_nll_max
    method = MethodConfig.model_validate({"objective": "figa", "beta": beta})
    loss = method.loss(LossConfig(beta=0.1, gamma=0.9, negative_nll_max=2.0))
    assert (loss.beta, loss.gamma, loss.negative_nll_max) == (beta, 0.9, 2.0)
    assert gate != 2.0
    assert method.name == f"FIGA (beta {beta:g})"


def test_a_stored_comparison_is_read_as_it_was_written() -> None:
    methods = ["figa", {"objective": "figa", "negative_nll_max": "none", "scheme": "bag_of_words"}]
    written = CompareConfig.model_validate({"methods": methods, "pairs": [32, "all"]})
    read = CompareConfig.model_validate(written.model_dump(mode="json"))
    usual = LossConfig(negative_nll_max=1.0, beta=0.2)
    assert read == written
    assert [each.loss(usual) for each in read.methods] == [each.loss(usual) for each in written.methods]
    assert read.methods[1].loss(usual).negative_nll_max is None
    assert read.methods[1].name == "FIGA (negative_nll_max none, bag_of_words)"


def test_a_method_may_differ_in_single_settings_of_schedule_and_optimizer() -> None:
    tables = {"schedule": {"kind": "cosine"}, "optimizer": {"epsilon": 1e-4, "weight_decay": 0.0}}
    method = MethodConfig.model_validate({"objective": "figa", **tables})
    usual = TrainingConfig(
        epochs=7,
        schedule=ScheduleConfig(kind="linear", warmup_share=0.1),
        optimizer=OptimizerConfig(beta1=0.8, weight_decay=0.5),
    )
    training = method.training(usual)
    assert training.schedule == ScheduleConfig(kind="cosine", warmup_share=0.1)
    assert training.optimizer == OptimizerConfig(beta1=0.8, epsilon=1e-4, weight_decay=0.0)
    assert training.epochs == 7
    assert method.name == "FIGA (schedule cosine, epsilon 0.0001, weight_decay 0)"
    read = MethodConfig.model_validate(method.model_dump(mode="json"))
    assert read.training(usual) == training
    assert MethodConfig(objective="figa").training(usual) == usual


def test_methods_need_names_of_their_own() -> None:
    with pytest.raises(ValidationError, match="several methods are called 'FIGA'; give each its own label"):
        CompareConfig.model_validate({"methods": ["figa", "figa"]})
    CompareConfig.model_validate({"methods": ["figa", {"objective": "figa", "label": "again"}]})


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("methods", ["fiag"], "figa"),
        ("methods", [{"beta": 1}], "required"),
        ("methods", [{"objective": "figa", "learning_rates": []}], "the list is empty"),
        ("learning_rates", [], "the list is empty"),
        ("learning_rates", [0.0], "greater than 0"),
        ("learning_rates", [1e-5, 1e-5], "listed twice"),
        ("seeds", [], "the list is empty"),
        ("seeds", [1, 1], "listed twice"),
        ("seeds", [-1], "greater than or equal to 0"),
        ("pairs", ["some"], "'all'"),
        ("pairs", [0], "greater than or equal to 1"),
        ("validation_share", 1.0, "less than 1"),
        ("against", "some", "'all' or 'first'"),
    ],
)
def test_what_cannot_be_compared_is_refused(setting: str, value: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        CompareConfig.model_validate({setting: value})


def test_a_method_of_reinforcement_learning_has_a_budget_and_its_name_says_which() -> None:
    methods = CompareConfig.model_validate(
        {
            "methods": [
                "grpo",
                {"objective": "grpo", "token_budget": 5},
                {"objective": "rloo", "kl_weight": 0},
                {"objective": "ppo", "label": "mine", "learning_rates": [1e-6]},
            ]
        }
    ).methods
    assert [method.name for method in methods] == [
        "GRPO",
        "GRPO (5 × the tokens)",
        "RLOO (kl_weight 0)",
        "mine",
    ]
    assert [method.token_budget for method in methods] == [1, 5, 1, 1]
    assert methods[2].kl_weight == 0


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ({"objective": "grpo", "beta": 0.5}, "grpo does not read beta; leave it out"),
        ({"objective": "ppo", "scheme": "bag_of_words", "gamma": 1}, "ppo does not read gamma and scheme"),
        ({"objective": "figa", "token_budget": 1}, "figa does not read token_budget"),
        ({"objective": "grpo", "token_budget": 0}, "greater than 0"),
    ],
)
def test_a_setting_that_a_method_does_not_read_is_refused(method: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        MethodConfig.model_validate(method)


def test_a_run_itself_trains_no_method_of_reinforcement_learning() -> None:
    with pytest.raises(ValidationError, match="figa"):
        LossConfig(objective="grpo")
